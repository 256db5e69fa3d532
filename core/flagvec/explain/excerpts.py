"""The part of a text that is worth showing, and the words in it that a query has too."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

# What a search for marks reads of a text.
_READ = 20_000
_WORD = re.compile(r"[^\W_]+(?:[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0dff]+[^\W_]*)*")
# Words of these scripts are found by their pairs of characters.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
# Words of three small letters or fewer are mostly function words.
_SHORT = 3


class Mark(NamedTuple):
    """A part of a text that is marked.

    Args:
        start: Where it begins, in characters.
        end: Where it ends, exclusive.
        strength: From 0 to 1.
        title: What it says when it is pointed at.
    """

    start: int
    end: int
    strength: float
    title: str = ""


def shared_words(query: str, text: str) -> list[Mark]:
    """Return the words of a text that a query has too, whatever their case.

    No model reads them: `flagvec.explain.explain` says which tokens two texts share. Words of three small letters or
    fewer are left out if the query has longer ones, because most of them say little.
    """
    query, text = query[:_READ], text[:_READ]
    every = _WORD.findall(query)
    telling = [word for word in every if len(word) > _SHORT or not word.islower()]
    words = {_folded(word) for word in telling or every}
    pairs = {run[at : at + 2] for run in _UNSPACED.findall(query) for at in range(len(run) - 1)}
    found = [
        Mark(match.start(), match.end(), 0.8)
        for match in _WORD.finditer(text)
        if not _UNSPACED.search(match[0]) and _folded(match[0]) in words
    ]
    for run in _UNSPACED.finditer(text):
        found += _runs_of_pairs(run[0], run.start(), pairs)
    return sorted(found)


def excerpt(text: str, marks: Sequence[Mark], most: int) -> tuple[int, int]:
    """Return start and end of the part of a text of at most `most` characters whose marks are strongest."""
    if len(text) <= most:
        return 0, len(text)
    starts = {0, *(max(mark.start - most // 6, 0) for mark in marks)}

    def strength(start: int) -> float:
        return sum(mark.strength for mark in marks if mark.start >= start and mark.end <= start + most)

    start = min(min(starts, key=lambda start: (-strength(start), start)), len(text) - most)
    return _word_start(text, start), _word_end(text, start + most)


def _runs_of_pairs(run: str, offset: int, pairs: set[str]) -> list[Mark]:
    marked = [False] * len(run)
    for at in range(len(run) - 1):
        if run[at : at + 2] in pairs:
            marked[at] = marked[at + 1] = True
    found, start = [], 0
    for at in range(1, len(run) + 1):
        if at == len(run) or marked[at] != marked[start]:
            if marked[start]:
                found.append(Mark(offset + start, offset + at, 0.8))
            start = at
    return found


def _folded(word: str) -> str:
    return unicodedata.normalize("NFKC", word).casefold()


def _word_start(text: str, at: int) -> int:
    if not at or text[at - 1].isspace():
        return at
    space = re.search(r"\s", text[at : at + 24])
    return _whole(text, at + space.end() if space else at)


def _word_end(text: str, at: int) -> int:
    if at >= len(text) or text[at].isspace():
        return at
    spaces = list(re.finditer(r"\s", text[max(at - 24, 0) : at]))
    return max(at - 24, 0) + spaces[-1].start() if spaces else _whole(text, at)


def _whole(text: str, at: int) -> int:
    """Return the nearest place from `at` on that does not divide a character from its combining marks."""
    while at < len(text) and unicodedata.category(text[at]).startswith("M"):
        at += 1
    return at
