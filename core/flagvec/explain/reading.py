"""A text as a model reads it: its tokens with their places, merged to the words that a reader sees."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from flagvec.engine.unicode import valid_unicode
from flagvec.forward_pass import instructed

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

# Han, Hiragana and Katakana, Thai, Lao, Burmese and Khmer have no spaces between words, so each token is a word.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_JOINER = "\u200d"
# What vocabularies put in front of a token: WordPiece inside a word, SentencePiece and byte-level BPE at its beginning.
_PIECE_MARKS = re.compile("^(##|\u2581|\u0120)")


@dataclass(frozen=True, slots=True)
class Word:
    """A word in a text.

    Args:
        start: Where it begins in the text, in characters.
        end: Where it ends, exclusive.
        tokens: The positions of its tokens, ascending.
    """

    start: int
    end: int
    tokens: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class ReadText:
    """A text and how a model reads it.

    Args:
        text: The text with its instruction, as valid Unicode.
        ids: The token ids, special ones included.
        pieces: The tokens as the vocabulary writes them.
        words: The words, in the order of the text. Special tokens belong to none.
        vectors: The positions of the tokens that have a ColBERT vector, in order.
        truncated: Whether the model reads only the beginning.
    """

    text: str
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    words: tuple[Word, ...]
    vectors: tuple[int, ...]
    truncated: bool

    def word(self, number: int) -> str:
        """Return a word as it stands in the text."""
        return self.text[self.words[number].start : self.words[number].end]

    def piece(self, position: int) -> str:
        """Return a token without the marks of the vocabulary: ``##ing`` is ``ing``."""
        return _PIECE_MARKS.sub("", self.pieces[position]) or self.pieces[position]

    @cached_property
    def word_of_token(self) -> dict[int, int]:
        """The number of each token's word, by the token's position."""
        return {position: number for number, word in enumerate(self.words) for position in word.tokens}

    @cached_property
    def words_of_id(self) -> dict[int, tuple[int, ...]]:
        """The numbers of the words that hold a token, by its id."""
        found: dict[int, list[int]] = {}
        for number, word in enumerate(self.words):
            for position in word.tokens:
                found.setdefault(self.ids[position], []).append(number)
        return {token: tuple(dict.fromkeys(numbers)) for token, numbers in found.items()}


def read_text(model: AbsEmbedder, text: str, *, is_query: bool, for_colbert: bool = False) -> ReadText:
    """Return how a model reads a text.

    Args:
        model: Any flagvec model.
        text: Any text; it gets the model's instruction, as when it is encoded.
        is_query: Whether it is a query or a document.
        for_colbert: Whether the ColBERT model of a `CombinedModel` reads it, or the dense one.
    """
    reader: Any = getattr(model, "colbert_model" if for_colbert else "dense_model", model)
    kind = "query" if is_query else "passage"
    instruction = getattr(reader, f"{kind}_instruction_for_retrieval")
    [given] = instructed([text], instruction, getattr(reader, f"{kind}_instruction_format"))
    given = valid_unicode(given)
    longest = getattr(reader, f"{kind}_max_length")
    marked = getattr(reader, f"_tokenize_{'query' if is_query else 'document'}", None)
    if marked is None:
        read = reader._tokenize.spans(given, longest)
        vectors = tuple(range(1, len(read.ids)))
        return _read(given, read.ids.tolist(), read.pieces, read.spans, read.words, vectors, read.truncated)
    # A ColBERT checkpoint strips texts, puts a marker behind the first token, and fills up queries.
    given = given.strip()
    read = marked.tokenize.spans(given, longest - (marked.marker_id is not None))
    ids, pieces, spans, words = read.ids.tolist(), read.pieces, read.spans, read.words
    if marked.marker_id is not None:
        for values, value in ((ids, marked.marker_id), (pieces, "[MARKER]"), (spans, None), (words, None)):
            values.insert(1, value)
    if marked.filling_id is not None:
        for values, value in ((ids, marked.filling_id), (pieces, "[MASK]"), (spans, None), (words, None)):
            values.extend([value] * (longest - len(values)))
    skipped = set() if is_query else set(np.asarray(reader._skipped_ids.cpu()).tolist())
    vectors = tuple(position for position, token in enumerate(ids) if token not in skipped)
    return _read(given, ids, pieces, spans, words, vectors, read.truncated)


def _read(
    text: str,
    ids: list[int],
    pieces: list[str],
    spans: list[tuple[int, int] | None],
    numbers: list[int | None],
    vectors: tuple[int, ...],
    truncated: bool,
) -> ReadText:
    words = tuple(_merged(text, spans, numbers))
    return ReadText(text, tuple(ids), tuple(pieces), words, vectors, truncated)


def _merged(text: str, spans: list[tuple[int, int] | None], numbers: list[int | None]) -> Iterator[Word]:
    """Yield the words: neighbouring tokens of what the tokenizer calls one word, unless a word boundary is between."""
    word: Word | None = None
    last: int | None = None
    for position, (span, number) in enumerate(zip(spans, numbers, strict=True)):
        if span is None or not (trimmed := _trimmed(text, *span)):
            continue
        start, end = trimmed
        if word is not None and _goes_on(text, word, start, number == last):
            word = Word(word.start, max(word.end, end), (*word.tokens, position))
        else:
            if word is not None:
                yield word
            word = Word(start, end, (position,))
        word, last = Word(word.start, _after_marks(text, word.end), word.tokens), number
    if word is not None:
        yield word


def _trimmed(text: str, start: int, end: int) -> tuple[int, int] | None:
    part = text[start:end]
    start += len(part) - len(part.lstrip())
    end -= len(part) - len(part.rstrip())
    return (start, end) if start < end else None


def _goes_on(text: str, word: Word, start: int, is_same_word: bool) -> bool:
    if start < word.end:  # a character of several tokens
        return True
    if start > word.end:
        return False
    before, after = text[start - 1], text[start]
    if before == _JOINER or after == _JOINER or unicodedata.category(after).startswith("M"):
        return not _UNSPACED.match(after)
    if _UNSPACED.match(before) or _UNSPACED.match(after):
        return False
    return is_same_word and _is_of_word(before) and _is_of_word(after)


def _is_of_word(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character).startswith("M") or character == _JOINER


def _after_marks(text: str, end: int) -> int:
    """Return where a word ends with the combining marks behind it, which a tokenizer may have dropped."""
    while end < len(text) and unicodedata.category(text[end]).startswith("M"):
        end += 1
    return end
