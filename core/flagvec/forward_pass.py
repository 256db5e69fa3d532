"""The texts of one call on their way through the backbone."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flagvec.arguments import checked_batch_size, checked_format, checked_max_length
from flagvec.engine.hidden_states import HiddenBatch, HiddenStateEncoder
from flagvec.engine.overlap import HostCopy, one_behind
from flagvec.engine.tokens import TokenWindow
from flagvec.errors import FlagvecError
from flagvec.finite import raise_for_not_finite, texts_not_finite, warn_of_wider_formats
from flagvec.progress import progress_bar
from flagvec.token_windows import TokenWindows

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder


@dataclass(frozen=True)
class Settings:
    """How one call encodes.

    Args:
        batch_size: The most texts in one forward pass.
        max_length: The longest text in tokens, special ones included; the rest is cut off.
        to_numpy: Give numpy arrays, else torch tensors on the model's device.
        show_progress: See `flagvec.progress.progress_bar`.
    """

    batch_size: int
    max_length: int
    to_numpy: bool
    show_progress: bool | None

    @classmethod
    def of(
        cls,
        model: AbsEmbedder,
        batch_size: int | None,
        max_length: int | None,
        convert_to_numpy: bool | None,
        show_progress: bool | None,
    ) -> Settings:
        """Return the settings of a call, the model's own in the place of None.

        Raises:
            ValueError: ``batch_size`` or ``max_length`` is out of range.
            FlagvecError: The process that loaded the model on a GPU forked this one.
        """
        _refuse_parents_gpu(model)
        longest = model.passage_max_length
        return cls(
            batch_size=model.batch_size if batch_size is None else checked_batch_size(batch_size),
            max_length=longest
            if max_length is None
            else checked_max_length("max_length", max_length, model.max_length),
            to_numpy=model.convert_to_numpy if convert_to_numpy is None else convert_to_numpy,
            show_progress=show_progress,
        )


def _refuse_parents_gpu(model: AbsEmbedder) -> None:
    """Refuse a model that the parent process loaded on a GPU, which a forked process cannot use."""
    device = model.target_devices[0]
    if device != "cpu" and os.getpid() != model._process:
        raise FlagvecError(
            f"this model is on {device} in process {model._process}, which forked this one: a GPU cannot be used "
            "after a fork; load the model in the child and not before, or start workers by 'spawn' or 'forkserver'"
        )


def instructed(texts: Sequence[str], instruction: str | None, instruction_format: str) -> Sequence[str]:
    """Return the texts, each joined to the instruction if there is one.

    Raises:
        TypeError: The instruction is not a ``str``.
        ValueError: The format is not a str with two ``{}``.
    """
    if instruction is None:
        return texts
    if not isinstance(instruction, str):
        raise TypeError(f"instruction takes a str, not {type(instruction).__name__}")
    checked_format("instruction_format", instruction_format)
    return [join_instruction(instruction_format, instruction, text) for text in texts]


def join_instruction(instruction_format: str, instruction: str, text: str) -> str:
    r"""Join instruction and text by the format. A literal ``\n`` in the format is a line break, as in FlagEmbedding."""
    return instruction_format.replace("\\n", "\n").format(instruction, text)


@dataclass(eq=False)
class ForwardPass:
    """The results of one call, batch by batch; iterate over it once.

    Each item is the positions of a batch's texts, and the tensors that `reduce` made of the batch. Batches come in no
    particular order. A text with a result that is not finite comes again, after all others, in a wider number format.

    Args:
        tokens: The texts.
        settings: How to encode them.
        encoder: The model's backbone.
        reduce: Makes the results of a batch from its hidden states, with their `row_sums`, under the names that
            `texts_not_finite` knows.

    Attributes:
        not_finite: Positions of the texts without a finite result, complete after the iteration.

    Raises:
        NotFiniteError: A text has a result that is not finite in float32 either.
    """

    tokens: TokenWindows
    settings: Settings
    encoder: HiddenStateEncoder
    reduce: Callable[[HiddenBatch], HostCopy]
    not_finite: list[int] = field(default_factory=list, init=False)

    def __iter__(self) -> Iterator[tuple[NDArray[np.intp], dict[str, Tensor]]]:
        not_finite: list[int] = []
        with progress_bar(len(self.tokens), "encode", "text", self.settings.show_progress) as progress:
            for positions, found, bad in self._results(self.encoder, self.tokens.windows()):
                if len(bad):
                    not_finite.extend(positions[bad])
                yield positions, found
                progress.update(len(positions))
        if not_finite:
            self.not_finite = yield from self._run_again(not_finite)
            raise_for_not_finite(self.not_finite, len(self.tokens))

    def _run_again(
        self, not_finite: list[int]
    ) -> Generator[tuple[NDArray[np.intp], dict[str, Tensor]], None, list[int]]:
        """Run some texts in wider formats, and return those that are not finite in any."""
        counts: dict[torch.dtype, int] = {}
        encoders = self.encoder.for_single_texts()
        # The next encoder is a copy of all weights, so it is made only if texts are left, and after the last is gone.
        while not_finite and (encoder := next(encoders, None)) is not None:
            ran, not_finite = np.sort(not_finite), []
            counts[encoder.dtype] = len(ran)
            # On a CPU, attention multiplies keys of the next text by 0, which gives NaN if they are infinite.
            batch_size = 1 if encoder.is_on_host else self.settings.batch_size
            window = encoder.window(self.tokens.ids(ran.tolist()), batch_size)
            for places, found, bad in self._results(encoder, [window]):
                not_finite.extend(ran[places[bad]])
                yield ran[places], found
            del encoder
        if self.encoder.dtype is not torch.float32:
            warn_of_wider_formats(counts, len(self.tokens), self.encoder.dtype)
        return not_finite

    def _results(
        self, encoder: HiddenStateEncoder, windows: Iterable[TokenWindow]
    ) -> Iterator[tuple[NDArray[np.intp], dict[str, Tensor], NDArray[np.intp]]]:
        """Yield a batch's positions, its tensors, and which of its texts have a result that is not finite."""
        results = encoder.run(windows, self.reduce)
        for positions, copy in results if encoder.is_on_host else one_behind(results):
            found = copy.wait()
            yield positions, found, texts_not_finite(found)
