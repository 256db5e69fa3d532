"""The texts of one call as token ids, window by window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from flagvec.engine.hidden_states import HiddenStateEncoder
from flagvec.engine.overlap import one_ahead
from flagvec.engine.tokens import TokenIds, TokenizedTexts, TokenWindow

# Texts that are tokenised and sorted by length together. Larger windows give batches of more even length.
WINDOW = 4_096
# An accelerator starts only when the first window is tokenised, so this one is smaller.
WINDOW_ON_ACCELERATOR = 1_024


class Tokenize(Protocol):
    """What a `TextTokenizer` does."""

    def __call__(self, texts: Sequence[str], max_length: int) -> TokenizedTexts:
        """Return at most `max_length` token ids of each text, and which texts had more."""


class TokenWindows(Protocol):
    """What a forward pass runs."""

    def __len__(self) -> int:
        """Return the number of texts."""

    def windows(self) -> Iterator[TokenWindow]:
        """Yield all texts, window by window."""

    def ids(self, positions: Sequence[int]) -> list[TokenIds]:
        """Return the token ids of some texts again."""


@dataclass(frozen=True, eq=False)
class TokenizedWindows:
    """Tokenises texts as a forward pass asks for them.

    Args:
        texts: With their instruction.
        tokenize: Turns texts into token ids, as a `TextTokenizer` does.
        encoder: Divides the texts of a window into batches.
        max_length: The longest text in tokens; the rest is cut off.
        batch_size: The most texts in one forward pass.

    Attributes:
        truncated: Positions of the texts that were longer than ``max_length``, ascending; complete after `windows`.
    """

    texts: Sequence[str]
    tokenize: Tokenize
    encoder: HiddenStateEncoder
    max_length: int
    batch_size: int
    truncated: list[int] = field(default_factory=list, init=False)

    def __len__(self) -> int:
        return len(self.texts)

    def windows(self, ahead: bool = False) -> Iterator[TokenWindow]:
        """Yield all texts, window by window.

        Args:
            ahead: Let a thread tokenise the next window meanwhile, on a CPU too.
        """
        on_host = self.encoder.is_on_host
        size = WINDOW if on_host else WINDOW_ON_ACCELERATOR
        starts = range(0, len(self.texts), size)
        texts = (self.texts[start : start + size] for start in starts)
        tokenize = partial(self.tokenize, max_length=self.max_length)
        # On a CPU the forward pass uses all cores, so tokenising beside it would slow both down.
        tokenized = one_ahead(tokenize, texts) if ahead or not on_host else map(tokenize, texts)
        for start, tokens in zip(starts, tokenized, strict=True):
            self.truncated.extend(start + position for position in tokens.truncated)
            yield self.encoder.window(tokens.ids, self.batch_size)

    def ids(self, positions: Sequence[int]) -> list[TokenIds]:
        """Return the token ids of some texts, which are tokenised again."""
        return self.tokenize([self.texts[position] for position in positions], self.max_length).ids


@dataclass(frozen=True)
class GivenWindow:
    """Texts that another process tokenised and divided into batches.

    Args:
        window: The texts.
    """

    window: TokenWindow

    def __len__(self) -> int:
        return len(self.window.ids)

    def windows(self) -> Iterator[TokenWindow]:
        """Yield the one window."""
        yield self.window

    def ids(self, positions: Sequence[int]) -> list[TokenIds]:
        """Return the token ids of some texts."""
        return [self.window.ids[position] for position in positions]
