"""The texts of one call on their way through a model's worker processes."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.utils.logging import disable_progress_bar

from flagvec.finite import keeping_not_finite, raise_for_not_finite
from flagvec.forward_pass import Settings
from flagvec.progress import progress_bar
from flagvec.workers.pool import Workers, shared
from flagvec.workers.process import Answer

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

# What a task has at least and at most, in tokens. On an accelerator a forward pass takes up to 65,536.
_FEWEST, _MOST = 2_048, 16_384
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
        texts: With their instruction.
        settings: How to encode them, with results on the host.
        arguments: Further ones of the model's `_pass`.
        changed: The model's `_CHANGEABLE` attributes.
    """

    texts: list[str]
    settings: Settings
    arguments: tuple[Any, ...]
    changed: dict[str, Any]


@dataclass(frozen=True)
class _Summary:
    """What a worker says at the end of a task, with positions in the task."""

    truncated: list[int]
    not_finite: list[int]
    tokens: int


@dataclass(eq=False)
class SharedPass:
    """The results of one call from a model's workers, as `ForwardPass` gives those of one device.

    Args:
        texts: With their instruction.
        settings: How to encode them.
        model: Has the workers.
        arguments: Further ones of the model's `_pass`.

    Attributes:
        truncated: Positions of the texts that were longer than ``max_length``, ascending; complete after the iteration.

    Raises:
        NotFiniteError: A text has a result that is not finite in float32 either.
        WorkerError: A worker died, and the one after it too.
    """

    texts: Sequence[str]
    settings: Settings
    model: AbsEmbedder
    arguments: tuple[Any, ...]
    truncated: list[int] = field(default_factory=list, init=False)

    def __iter__(self) -> Iterator[tuple[NDArray[np.intp], dict[str, Tensor]]]:
        parts = parts_by_length(self.texts, self.settings.max_length, self.model.target_devices)
        not_finite: list[int] = []
        with progress_bar(len(self.texts), "encode", "text", self.settings.show_progress) as progress:
            for number, is_last, value in self.model._started_workers().run([*map(self._task, parts)]):
                if not is_last:
                    places, found = value
                    yield parts[number][places], self._placed(found)
                    continue
                progress.update(len(parts[number]))
                self.truncated.extend(parts[number][value.truncated].tolist())
                not_finite.extend(parts[number][value.not_finite].tolist())
                self.model._tokenize.tokens += value.tokens
        self.truncated.sort()
        raise_for_not_finite(not_finite, len(self.texts))

    def _task(self, part: NDArray[np.intp]) -> _Task:
        settings = replace(self.settings, to_numpy=True, show_progress=False)
        changed = {name: getattr(self.model, name) for name in _CHANGEABLE}
        return _Task([self.texts[position] for position in part], settings, self.arguments, changed)

    def _placed(self, found: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.settings.to_numpy:
            return found
        device = self.model.target_devices[0]
        return {name: tensor.to(device) if name in _RESULTS else tensor for name, tensor in found.items()}


def is_worth_workers(texts: Sequence[str], max_length: int, devices: Sequence[str]) -> bool:
    """Return whether there are texts for more than one task."""
    # One text is one task. Dividing it would take 1 % of the time of a short query (`benchmarks/workers.py`).
    return len(devices) > 1 and len(texts) > 1 and len(parts_by_length(texts, max_length, devices)) > 1


def parts_by_length(texts: Sequence[str], max_length: int, devices: Sequence[str]) -> list[NDArray[np.intp]]:
    """Return the positions of the texts of each task, the longest texts first.

    Args:
        texts: All texts of a call. Their tokens are estimated, because workers tokenise them.
        max_length: The most tokens that are read of a text.
        devices: One for each worker.
    """
    if not len(texts):
        return []
    lengths = np.array([_tokens_of(text) for text in texts])
    lengths = np.minimum(lengths, max_length)
    order = np.argsort(-lengths, kind="stable")
    on_host = all(torch.device(device).type == "cpu" for device in devices)
    fewest, most = (_FEWEST, _MOST) if on_host else (_FEWEST_ON_ACCELERATOR, _MOST_ON_ACCELERATOR)
    size = float(np.clip(lengths.sum() / (_TASKS_A_WORKER * len(devices)), fewest, most))
    task_of_text = (np.cumsum(lengths[order]) - lengths[order]) // size
    starts = np.flatnonzero(np.diff(task_of_text)) + 1
    return np.split(order, starts)


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


def _encoded(model: AbsEmbedder, task: _Task) -> Generator[tuple[NDArray[np.intp], dict[str, Tensor]], None, _Summary]:
    """Yield the positions of a batch's texts in the task, and its results in shared memory."""
    for name, value in task.changed.items():
        setattr(model, name, value)
    before = model._tokenize.tokens
    # Whether such a text is refused is for the other process to say.
    with keeping_not_finite():
        forward_pass = model._pass(task.texts, task.settings, *task.arguments)
        for positions, found in forward_pass:
            yield positions, {name: shared(tensor) for name, tensor in found.items()}
    return _Summary(forward_pass.truncated, forward_pass.not_finite, model._tokenize.tokens - before)
