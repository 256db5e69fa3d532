"""Overlaps tokenising and copies to the host with the forward pass on an accelerator."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Item = TypeVar("Item")
Made = TypeVar("Made")


class HostCopy:
    """Tensors that are copied to the host, without blocking on CUDA.

    Args:
        tensors: The tensors by name. They are on one device, or already on the host.
        staying: The names of the tensors to leave on the device.
    """

    def __init__(self, tensors: Mapping[str, Tensor], staying: Collection[str] = ()) -> None:
        self._on_device = {name: tensor for name, tensor in tensors.items() if name in staying}
        leaving = {name: tensor for name, tensor in tensors.items() if name not in staying}
        devices = [tensor.device for tensor in leaving.values() if tensor.is_cuda]
        self._copied = _cuda_event() if devices else None
        # Only CUDA orders a non-blocking copy with the host's reads, through the event below.
        self._on_host = {
            name: tensor.to("cpu", non_blocking=self._copied is not None) for name, tensor in leaving.items()
        }
        if self._copied is not None:
            # The stream of the tensors' device, which need not be the current device.
            self._copied.record(torch.cuda.current_stream(devices[0]))

    def wait(self) -> dict[str, Tensor]:
        """Wait for the copies, and return all tensors by name."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._on_device | self._on_host


def _cuda_event() -> torch.cuda.Event:
    event: torch.cuda.Event = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch types few of its own
    return event


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """Return an array as a tensor on a device. The copy to CUDA is non-blocking."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def write_rows(positions: NDArray[np.intp], rows: Tensor, matrix: Tensor) -> None:
    """Write `rows` to their `positions` in a matrix on the same device."""
    if matrix.is_cpu:
        # For a short query, torch's indexing takes much longer.
        matrix.numpy()[positions] = rows.numpy()
    else:
        matrix[to_device(positions, matrix.device)] = rows


def one_ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """Yield ``make(item)`` for each item. A thread makes the next one while the caller uses the current one."""
    with ThreadPoolExecutor(1) as thread:
        waiting: Future[Made] | None = None
        for item in items:
            following = thread.submit(make, item)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


def one_behind(items: Iterable[Item]) -> Iterator[Item]:
    """Yield each item after the next one was requested, so that the device computes that one in the meantime."""
    waiting: list[Item] = []
    for item in items:
        yield from waiting
        waiting = [item]
    yield from waiting
