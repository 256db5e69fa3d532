"""The texts of one call on their way through tokenizer and backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from flagvec.arguments import checked_batch_size, checked_format, checked_max_length
from flagvec.engine.hidden_states import HiddenBatch, HiddenStateEncoder
from flagvec.engine.overlap import HostCopy, one_ahead, one_behind
from flagvec.engine.tokens import TextTokenizer, TokenIds
from flagvec.progress import progress_bar

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

# Texts that are tokenised and sorted by length together. Larger windows give batches of more even length.
WINDOW = 4_096
# An accelerator starts only when the first window is tokenised, so this one is smaller.
WINDOW_ON_ACCELERATOR = 1_024


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
        model._refuse_parents_gpu()
        longest = model.passage_max_length
        return cls(
            batch_size=model.batch_size if batch_size is None else checked_batch_size(batch_size),
            max_length=longest
            if max_length is None
            else checked_max_length("max_length", max_length, model.max_length),
            to_numpy=model.convert_to_numpy if convert_to_numpy is None else convert_to_numpy,
            show_progress=show_progress,
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
    particular order.

    Args:
        texts: With their instruction.
        settings: How to encode them.
        tokenize: The model's tokenizer.
        encoder: The model's backbone.
        reduce: Makes the results of a batch from its hidden states.

    Attributes:
        truncated: Positions of the texts that were longer than ``max_length``, ascending; complete after the iteration.
    """

    texts: Sequence[str]
    settings: Settings
    tokenize: TextTokenizer
    encoder: HiddenStateEncoder
    reduce: Callable[[HiddenBatch], HostCopy]
    truncated: list[int] = field(default_factory=list, init=False)

    def __iter__(self) -> Iterator[tuple[NDArray[np.intp], dict[str, Tensor]]]:
        results = self.encoder.run(self._tokens(), self.settings.batch_size, self.reduce)
        with progress_bar(len(self.texts), "encode", "text", self.settings.show_progress) as progress:
            for positions, copy in results if self.encoder.is_on_host else one_behind(results):
                yield positions, copy.wait()
                progress.update(len(positions))

    def _tokens(self) -> Iterator[list[TokenIds]]:
        on_host = self.encoder.is_on_host
        window = WINDOW if on_host else WINDOW_ON_ACCELERATOR
        starts = range(0, len(self.texts), window)
        windows = (self.texts[start : start + window] for start in starts)
        tokenize = partial(self.tokenize, max_length=self.settings.max_length)
        # On a CPU the forward pass uses all cores, so tokenising beside it would slow both down.
        tokenized = map(tokenize, windows) if on_host else one_ahead(tokenize, windows)
        for start, tokens in zip(starts, tokenized, strict=True):
            self.truncated.extend(start + position for position in tokens.truncated)
            yield tokens.ids
