"""The words of a text as a model reads it: its tokens with their places, merged to what a reader calls a word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flagvec.engine.unicode import valid_unicode

# Scripts without spaces between words. SentencePiece calls a whole sentence of them one word.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


@dataclass(frozen=True, slots=True)
class Word:
    """A word in a text.

    Args:
        start: Where it begins in the text.
        end: Where it ends, exclusive.
        tokens: Positions of its tokens, ascending, counted with the special ones.
        ids: The ids of these tokens.
    """

    start: int
    end: int
    tokens: tuple[int, ...]
    ids: tuple[int, ...]


def words_of(tokenizer: Any, texts: Sequence[str], longest: int) -> list[list[Word]]:
    """Return the words of each text, in order.

    Args:
        tokenizer: A fast tokenizer of transformers.
        texts: Any texts, without an instruction.
        longest: How many tokens the model reads, special ones included. Later words are left out.
    """
    # The copy has settings of its own, because the model's tokenizer may be in use in another thread.
    backend = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    encodings = backend.encode_batch([valid_unicode(text) for text in texts])
    return [_words(encoding, text, longest) for encoding, text in zip(encodings, texts, strict=True)]


def _words(encoding: Any, text: str, longest: int) -> list[Word]:
    found: list[Word] = []
    before = None
    suffix = _special_at_end(encoding.special_tokens_mask)
    readable = min(len(encoding.ids), longest) - suffix
    for position, (token, word, (start, end)) in enumerate(
        zip(encoding.ids[:readable], encoding.word_ids[:readable], encoding.offsets[:readable], strict=True)
    ):
        if word is None or start == end:
            continue
        start += len(text[start:end]) - len(text[start:end].lstrip())
        if start == end:  # the piece of a space alone
            continue
        last = found[-1] if found else None
        if last and _is_one_word(text, last, start, end, word == before):
            found[-1] = Word(last.start, max(end, last.end), (*last.tokens, position), (*last.ids, token))
        else:
            found.append(Word(start, end, (position,), (token,)))
        before = word
    return found


def _is_one_word(text: str, last: Word, start: int, end: int, is_same: bool) -> bool:
    """Return whether a piece belongs to the word before it."""
    if start < last.end:  # SentencePiece gives the mark of a word's beginning the place of the first character
        return True
    unspaced = _UNSPACED.search(text[last.start : last.end]) or _UNSPACED.search(text[start:end])
    return is_same and start == last.end and unspaced is None


def _special_at_end(mask: Sequence[int]) -> int:
    return mask[::-1].index(0) if 0 in mask else 0
