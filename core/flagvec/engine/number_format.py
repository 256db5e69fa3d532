"""Chooses between float32 and bfloat16 on a CPU, by the time that a product of the model's own width takes in each.

A CPU's flags do not say which is faster: some CPUs with AVX512-BF16 multiply bfloat16 at half the rate of float32.
"""

from __future__ import annotations

import ctypes
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from flagvec.engine.forking import no_fork
from flagvec.engine.kernels.availability import openmp_function
from flagvec.engine.prepacked import PrepackedLinear, can_prepack

MANY_ROWS = 128
FEW_ROWS = 12

# Formats whose times differ by less are equally fast. Then float32 is taken, so that noise does not decide.
_TIE_FACTOR = 1.1
_TIE_SECONDS = 10e-6  # half of what torch takes to call a product, however small
# These bound the time. A wider model is measured at this width, and with the first of its outputs only.
_WIDEST = 1_024
_MOST_OUTPUTS = 512
_SHORTEST_SECONDS = 0.015
_FEWEST_ROUNDS = 2
_CALLS_A_ROUND = {MANY_ROWS: 1, FEW_ROWS: 4}
# The CPU time of a thread leaves out the times when other processes run. Windows counts it in steps of 15 ms.
_clock = time.thread_time if sys.platform == "linux" else time.perf_counter
_CPU = torch.device("cpu")
_measuring = threading.Lock()


@dataclass(frozen=True)
class Seconds:
    """The time of one product in one number format.

    Args:
        many_rows: With `MANY_ROWS` rows, as in bulk.
        few_rows: With `FEW_ROWS` rows, as in a short query.
    """

    many_rows: float
    few_rows: float


@dataclass(frozen=True)
class Measurement:
    """What was measured on this machine, on one thread.

    Args:
        width: Inputs of the product.
        float32: Its time in float32.
        bfloat16: Its time in bfloat16.
    """

    width: int
    float32: Seconds
    bfloat16: Seconds

    @property
    def choice(self) -> torch.dtype:
        """The format to run in."""
        return faster_format(self.float32, self.bfloat16)

    def __str__(self) -> str:
        many, few = (
            f"{rows} rows at {self._rate(rows, left):.0f} and {self._rate(rows, right):.0f} GFLOP/s"
            for rows, left, right in (
                (MANY_ROWS, self.float32.many_rows, self.bfloat16.many_rows),
                (FEW_ROWS, self.float32.few_rows, self.bfloat16.few_rows),
            )
        )
        choice = str(self.choice).removeprefix("torch.")
        return (
            f"{choice}, because one thread multiplies {self.width} x {_outputs(self.width)} weights in float32 and "
            f"bfloat16 with {many}, with {few}"
        )

    def _rate(self, rows: int, seconds: float) -> float:
        return 2e-9 * rows * self.width * _outputs(self.width) / seconds


def faster_format(float32: Seconds, bfloat16: Seconds) -> torch.dtype:
    """Return the format that is faster in bulk and not slower for a short query; float32 if there is no clear winner.

    A model has its weights in one format, which serves both. Times that differ by less than 10 %, or 10 us, are equal.
    """
    is_faster_in_bulk = _is_less(bfloat16.many_rows, float32.many_rows)
    is_slower_in_short = _is_less(float32.few_rows, bfloat16.few_rows)
    return torch.bfloat16 if is_faster_in_bulk and not is_slower_in_short else torch.float32


def _is_less(seconds: float, others: float) -> bool:
    return seconds * _TIE_FACTOR < others and seconds + _TIE_SECONDS < others


def model_width(directory: Path) -> int:
    """Return ``hidden_size`` of a checkpoint's ``config.json``, or 1,024 if it names none that makes sense."""
    try:
        config = json.loads((directory / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return _WIDEST  # loading refuses such a checkpoint, and says why
    width = config.get("hidden_size") if isinstance(config, dict) else None
    return width if isinstance(width, int) and width > 0 else _WIDEST


def measured(width: int) -> Measurement:
    """Return the times of a product of so many inputs, and as many outputs up to 512.

    The first call for a width takes 15 to 25 ms of CPU time. Later calls in the process return the same.
    """
    with no_fork, _measuring:  # two threads at once would disturb each other's measurement
        return _measured(min(width, _WIDEST))


@cache
def _measured(width: int) -> Measurement:
    with _on_one_thread(), torch.inference_mode():
        seconds = _best_seconds(width)
    return Measurement(width, seconds[torch.float32], seconds[torch.bfloat16])


def _best_seconds(width: int) -> dict[torch.dtype, Seconds]:
    """Return the best times of several rounds. Formats take turns, so that a busy machine slows down both."""
    began = _clock()
    products = {dtype: _product(width, dtype) for dtype in (torch.float32, torch.bfloat16)}
    states = {
        (dtype, rows): torch.full((rows, width), 0.5, dtype=dtype)
        for dtype in products
        for rows in (MANY_ROWS, FEW_ROWS)
    }
    for (dtype, _), own in states.items():
        products[dtype](own)  # oneDNN compiles the product at the first call
    best = dict.fromkeys(states, float("inf"))
    rounds = 0
    while rounds < _FEWEST_ROUNDS or _clock() - began < _SHORTEST_SECONDS:
        for key, own in states.items():
            dtype, rows = key
            times = [_seconds(products[dtype], own) for _ in range(_CALLS_A_ROUND[rows])]
            best[key] = min(best[key], *times)
        rounds += 1
    return {dtype: Seconds(best[dtype, MANY_ROWS], best[dtype, FEW_ROWS]) for dtype in products}


def _product(width: int, dtype: torch.dtype) -> nn.Module:
    """Return the product that the engine would use, with weights that no random generator has to make."""
    outputs = _outputs(width)
    linear = nn.Linear(width, outputs, device="meta")
    linear.weight = nn.Parameter(torch.full((outputs, width), 0.01, dtype=dtype), requires_grad=False)
    linear.bias = nn.Parameter(torch.zeros(outputs, dtype=dtype), requires_grad=False)
    return PrepackedLinear(linear) if can_prepack(_CPU, dtype) else linear


def _outputs(width: int) -> int:
    return min(width, _MOST_OUTPUTS)


def _seconds(product: nn.Module, states: Tensor) -> float:
    started = _clock()
    product(states)
    return _clock() - started


@contextmanager
def _on_one_thread() -> Iterator[None]:
    """Let the calling thread compute alone: a process with OpenMP threads cannot fork and go on computing.

    `torch.set_num_threads` would do it for other threads of the process as well. OpenMP's own function does it for the
    calling thread only. Windows and macOS do not look up its name, and there nobody forks a process with a model.
    """
    threads = torch.get_num_threads()
    address = openmp_function("omp_set_num_threads") if sys.platform == "linux" else 0
    if not address:
        yield
        return
    set_threads = ctypes.CFUNCTYPE(None, ctypes.c_int)(address)
    set_threads(1)
    try:
        yield
    finally:
        set_threads(threads)
