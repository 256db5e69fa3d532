"""Turns texts into token ids, and groups token ids into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from flagvec.engine.cuts import FindCut, cut_finder
from flagvec.engine.forking import no_fork
from flagvec.engine.unicode import valid_unicode

TokenIds = NDArray[np.int64]

# A token has four characters of English, and fewer of most other languages.
_CHARACTERS_A_TOKEN = 8
# A beginning has so many tokens more than are used.
_MARGIN = 16


class TokenizedTexts(NamedTuple):
    """The tokens of some texts.

    Args:
        ids: For each text its token ids, (tokens,) int64.
        truncated: Positions of the texts that had more tokens than the limit, ascending.
    """

    ids: list[TokenIds]
    truncated: list[int]


class TokenWindow(NamedTuple):
    """Some texts, and how they are run together.

    Args:
        ids: For each text its token ids, (tokens,) int64, at least one.
        batches: For each forward pass the positions of its texts.
    """

    ids: list[TokenIds]
    batches: list[NDArray[np.intp]]


class TokenSpans(NamedTuple):
    """The tokens of one text, with their places.

    Args:
        ids: Token ids, (tokens,) int64.
        pieces: The tokens as the vocabulary writes them.
        spans: For each token where it starts and ends in the text, in characters; None for a special token.
        words: For each token the number of the word that the tokenizer divided; None for a special token.
        truncated: Whether the text has more tokens.
    """

    ids: TokenIds
    pieces: list[str]
    spans: list[tuple[int, int] | None]
    words: list[int | None]
    truncated: bool


class TextTokenizer:
    """Turns texts into token ids with special tokens, truncated, without padding. Threads may share it.

    Args:
        backend: A ``tokenizers.Tokenizer``.
        truncation_side: The end of a long text to cut off, ``"right"`` or ``"left"``.

    Attributes:
        tokens: How many tokens it has returned so far.
    """

    # It copies the Rust tokenizer, and never changes the copy's settings. The user's tokenizer changes its truncation
    # at every call, which fails under threads ("Already borrowed").

    def __init__(self, backend: Any, truncation_side: str = "right") -> None:
        self._tokenizer = Tokenizer.from_str(backend.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._truncation_side = truncation_side
        self.tokens = 0
        self._prefix, self._suffix = self._count_special_tokens()

    def __call__(self, texts: Sequence[str], max_length: int) -> TokenizedTexts:
        """Return at most `max_length` token ids of each text, and which texts had more."""
        used = [self._beginning(text, _CHARACTERS_A_TOKEN * max_length) for text in texts]
        ids = self._encode(used)
        while short := [
            position
            for position, tokens in enumerate(ids)
            if len(tokens) < max_length + _MARGIN and len(used[position]) < len(texts[position])
        ]:
            for position in short:
                used[position] = self._beginning(texts[position], 4 * len(used[position]))
            for position, tokens in zip(short, self._encode([used[position] for position in short]), strict=True):
                ids[position] = tokens
        truncated = [position for position, tokens in enumerate(ids) if len(tokens) > max_length]
        for position in truncated:
            ids[position] = self._truncate(ids[position], max_length)
        self.tokens += sum(map(len, ids))
        return TokenizedTexts(ids, truncated)

    def spans(self, text: str, max_length: int) -> TokenSpans:
        """Return the tokens that this gives for a text, each with its place in the text."""
        with no_fork:
            encoding = self._tokenizer.encode(valid_unicode(text))
        kept = self._truncate(np.arange(len(encoding.ids)), max_length) if len(encoding.ids) > max_length else None
        chosen = range(len(encoding.ids)) if kept is None else kept.tolist()
        pieces, offsets, words = encoding.tokens, encoding.offsets, encoding.word_ids
        special = encoding.special_tokens_mask
        return TokenSpans(
            np.array([encoding.ids[at] for at in chosen], dtype=np.int64),
            [pieces[at] for at in chosen],
            [None if special[at] else offsets[at] for at in chosen],
            [words[at] for at in chosen],
            kept is not None,
        )

    def _encode(self, texts: Sequence[str]) -> list[TokenIds]:
        with no_fork:
            encodings = self._tokenizer.encode_batch_fast([valid_unicode(text) for text in texts])
        return [np.array(encoding.ids, dtype=np.int64) for encoding in encodings]

    def _beginning(self, text: str, length: int) -> str:
        """Return the beginning of a long text, of about `length` characters or more, which has the text's own tokens.

        A text that is not much longer, or that cannot be cut, is returned whole.
        """
        if len(text) <= 2 * length or self._find_cut is None:
            return text
        while 2 * length < len(text):
            if (cut := self._find_cut(text, length // 2, length)) is not None:
                return text[:cut]
            length *= 2
        return text

    @cached_property
    def _find_cut(self) -> FindCut | None:
        # It reads the whole vocabulary, so it is made when the first long text comes.
        return cut_finder(self._tokenizer) if self._truncation_side == "right" else None

    def _count_special_tokens(self) -> tuple[int, int]:
        mask = self._tokenizer.encode("a").special_tokens_mask
        prefix = mask.index(0) if 0 in mask else len(mask)
        suffix = mask[::-1].index(0) if 0 in mask else 0
        return prefix, suffix

    def _truncate(self, ids: TokenIds, max_length: int) -> TokenIds:
        kept = max(max_length - self._prefix - self._suffix, 0)
        body = ids[self._prefix : len(ids) - self._suffix]
        body = body[len(body) - kept :] if self._truncation_side == "left" else body[:kept]
        return np.concatenate([ids[: self._prefix], body, ids[len(ids) - self._suffix :]])


def batches_by_length(
    lengths: NDArray[np.int64], batch_size: int, token_budget: int, padded: bool
) -> Iterator[NDArray[np.intp]]:
    """Yield batches as positions of texts of similar length, longest first. Each text is in exactly one batch.

    A batch has at most `batch_size` texts and at most `token_budget` tokens. If `padded`, each text counts as long as
    the longest in its batch. A text that is longer than the budget is a batch of its own. Without padding, batches have
    about the same number of tokens, so that no small one is left over.
    """
    order = np.argsort(-lengths, kind="stable")
    ends = np.cumsum(lengths[order])
    start = 0
    while start < len(order):
        if padded:
            fitting = token_budget // max(int(lengths[order[start]]), 1)
        else:
            fitting = _even_share(ends[start:] - (ends[start - 1] if start else 0), token_budget)
        size = min(batch_size, max(fitting, 1))
        yield order[start : start + size]
        start += size


def _even_share(ends: NDArray[np.int64], token_budget: int) -> int:
    """Return how many of the remaining texts make up the next of as few batches as possible; `ends` are their ends."""
    tokens = int(ends[-1])
    share = tokens / max(-(-tokens // token_budget), 1)
    return int(min(ends.searchsorted(share) + 1, ends.searchsorted(token_budget, "right")))
