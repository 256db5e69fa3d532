"""The texts of one call on their way through a model's worker processes."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.utils.logging import disable_progress_bar

from flagvec.engine.tokens import TokenWindow
from flagvec.finite import keeping_not_finite, raise_for_not_finite
from flagvec.forward_pass import Settings
from flagvec.progress import progress_bar
from flagvec.token_windows import GivenWindow, TokenizedWindows
from flagvec.workers.pool import Workers, shared
from flagvec.workers.process import Answer

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

# What a task has about at least and at most, in tokens. On a CPU a forward pass takes up to 4,096 tokens, and a task of
# several brings nothing. On an accelerator a pass takes up to 65,536.
_FEWEST, _MOST = 2_048, 4_096
_FEWEST_ON_ACCELERATOR, _MOST_ON_ACCELERATOR = 16_384, 131_072
# Each worker gets so many tasks or more, so that all end at about the same time.
_TASKS_A_WORKER = 4
# A stream encodes so many texts at once for each device.
TEXTS_A_DEVICE = 4_096
# About so many characters are a token, of ASCII texts and of others.
_CHARACTERS_A_TOKEN, _OTHERS_A_TOKEN = 4.0, 1.5
# What changes a model's results and can be set after it was made.
_CHANGEABLE = ("pooling_method", "normalize_embeddings", "truncate_dim")
# Tensors that stay on the device if the caller wants tensors.
_RESULTS = ("dense_vecs", "colbert_vecs", "kept")


@dataclass(frozen=True)
class _Task:
    """Texts for a worker.

    Args:
        tokens: The texts, in batches that one device would run too.
        settings: How to encode them, with results on the host.
        arguments: Further ones of the model's `_pass`.
        changed: The model's `_CHANGEABLE` attributes.
    """

    tokens: GivenWindow
    settings: Settings
    arguments: tuple[Any, ...]
    changed: dict[str, Any]


@dataclass(eq=False)
class SharedPass:
    """The results of one call from a model's workers, as `ForwardPass` gives those of one device.

    This process tokenises the texts and makes the batches, so that they are those of one device, and equal results are
    equal bit for bit.

    Args:
        tokens: The texts.
        settings: How to encode them.
        model: Has the workers.
        arguments: Further ones of the model's `_pass`.

    Raises:
        NotFiniteError: A text has a result that is not finite in float32 either.
        WorkerError: A worker died, and the one after it too.
    """

    tokens: TokenizedWindows
    settings: Settings
    model: AbsEmbedder
    arguments: tuple[Any, ...]
    _positions: list[NDArray[np.intp]] = field(default_factory=list, init=False)

    def __iter__(self) -> Iterator[tuple[NDArray[np.intp], dict[str, Tensor]]]:
        not_finite: list[int] = []
        with progress_bar(len(self.tokens), "encode", "text", self.settings.show_progress) as progress:
            for number, is_last, value in self.model._started_workers().run(self._tasks()):
                positions = self._positions[number]
                if not is_last:
                    places, found = value
                    yield positions[places], self._placed(found)
                    continue
                progress.update(len(positions))
                not_finite.extend(positions[value].tolist())
        raise_for_not_finite(not_finite, len(self.tokens))

    def _tasks(self) -> Iterator[_Task]:
        """Yield a task when a worker is free, and keep the positions of its texts."""
        settings = replace(self.settings, to_numpy=True, show_progress=False)
        changed = {name: getattr(self.model, name) for name in _CHANGEABLE}
        start = 0
        for window in self.tokens.windows(ahead=True):
            for batches in batches_of_tasks(window, self.model.target_devices):
                places = np.concatenate(batches)
                self._positions.append(start + places)
                ends = np.cumsum([len(batch) for batch in batches])
                part = TokenWindow([window.ids[place] for place in places], np.split(np.arange(len(places)), ends[:-1]))
                yield _Task(GivenWindow(part), settings, self.arguments, changed)
            start += len(window.ids)

    def _placed(self, found: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.settings.to_numpy:
            return found
        device = self.model.target_devices[0]
        return {name: tensor.to(device) if name in _RESULTS else tensor for name, tensor in found.items()}


def is_worth_workers(tokens: TokenizedWindows, devices: Sequence[str]) -> bool:
    """Return whether there seem to be texts for more than one task."""
    # One text is one task. Dividing it would take 1 % of the time of a short query (`benchmarks/workers.py`).
    if len(devices) < 2 or len(tokens) < 2:
        return False
    fewest, _ = _sizes(devices)
    return sum(min(_tokens_of(text), tokens.max_length) for text in tokens.texts) > fewest


def batches_of_tasks(window: TokenWindow, devices: Sequence[str]) -> list[list[NDArray[np.intp]]]:
    """Return the batches of each task of a window, in the order in which one device would run them.

    Args:
        window: The texts.
        devices: One for each worker.
    """
    tokens = np.array([sum(len(window.ids[place]) for place in batch) for batch in window.batches])
    size = np.clip(tokens.sum() / (_TASKS_A_WORKER * len(devices)), *_sizes(devices))
    task_of_batch = (np.cumsum(tokens) - tokens) // size
    starts = np.flatnonzero(np.diff(task_of_batch, prepend=-1))
    return [window.batches[start:end] for start, end in pairwise([*starts.tolist(), len(window.batches)])]


def _sizes(devices: Sequence[str]) -> tuple[int, int]:
    on_host = all(torch.device(device).type == "cpu" for device in devices)
    return (_FEWEST, _MOST) if on_host else (_FEWEST_ON_ACCELERATOR, _MOST_ON_ACCELERATOR)


def _tokens_of(text: str) -> float:
    # Two special tokens.
    return 2 + len(text) / (_CHARACTERS_A_TOKEN if text.isascii() else _OTHERS_A_TOKEN)


def make_workers(model: AbsEmbedder) -> Workers:
    """Return the workers of a model, one for each of its devices. They start at the first call.

    A worker makes the same model on its device. Workers on a CPU share the threads that this process has.
    """
    devices = model.target_devices
    hosts = sum(torch.device(device).type == "cpu" for device in devices)
    threads = max(torch.get_num_threads() // max(hosts, 1), 1)
    builds = [partial(_make_answer, partial(type(model), **_keywords(model, device)), threads) for device in devices]
    return Workers(builds, devices)


def _keywords(model: AbsEmbedder, device: str) -> dict[str, Any]:
    """Return the arguments that make the same model on another device."""
    arguments, keywords = model._arguments
    bound = inspect.signature(type(model)).bind(*arguments, **keywords)
    given = {
        name: value
        for name, value in bound.arguments.items()
        if bound.signature.parameters[name].kind is not inspect.Parameter.VAR_KEYWORD
    }
    given |= next(
        (
            bound.arguments.get(name, {})
            for name, parameter in bound.signature.parameters.items()
            if parameter.kind is inspect.Parameter.VAR_KEYWORD
        ),
        {},
    )
    given.pop("device", None)
    # This process has found the checkpoint, and may have downloaded it.
    given |= {"devices": device, "local_files_only": True}
    first = torch.device(model.target_devices[0])
    if first.type == "cpu" == torch.device(device).type:
        # Each worker would measure by itself, and two could choose different formats.
        is_half = model.checkpoint.backbone.dtype is torch.bfloat16
        given |= {"use_fp16": False, "use_bf16": is_half}
    return given


def _make_answer(make: partial[AbsEmbedder], threads: int) -> Answer:
    torch.set_num_threads(threads)
    disable_progress_bar()  # type: ignore[no-untyped-call]  # of loading weights, one for each worker
    return partial(_encoded, make())


def _encoded(model: AbsEmbedder, task: _Task) -> Generator[tuple[NDArray[np.intp], dict[str, Tensor]], None, list[int]]:
    """Yield the positions of a batch's texts in the task, and its results in shared memory.

    Returns:
        Positions of the texts without a finite result.
    """
    for name, value in task.changed.items():
        setattr(model, name, value)
    # Whether such a text is refused is for the other process to say.
    with keeping_not_finite():
        forward_pass = model._pass(task.tokens, task.settings, *task.arguments)
        for positions, found in forward_pass:
            yield positions, {name: shared(tensor) for name, tensor in found.items()}
    return forward_pass.not_finite
