"""The part of a text that a hit shows, cut into marked and plain pieces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flagvec.engine.unicode import valid_unicode
from flagvec.explain.excerpts import Mark, excerpt
from flagvec.explain.reading import read_text

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

_LENGTH = 320
# Marks beyond this are not looked for, because a snippet is short.
_READ = 8_000
# A snippet begins at one of the first marks only, so that a long text of nothing else takes little time.
_MOST_STARTS = 150


def shared_marks(model: AbsEmbedder, weights: Mapping[int, float], text: str) -> list[Mark]:
    """Return where the words are that share tokens with a query, ascending.

    Args:
        model: What encoded the query.
        weights: The query's lexical weights. The largest counts as 1.
        text: A document. Only its beginning is read.
    """
    largest = max(weights.values(), default=0.0)
    if not largest:
        return []
    begin = valid_unicode(text[:_READ])
    read = read_text(model, begin, is_query=False)
    # The model may read an instruction around the text.
    before = max(read.text.find(begin), 0)
    found = []
    for word in read.words:
        strength = max(weights.get(read.ids[position], 0.0) for position in word.tokens) / largest
        if strength and word.start >= before and word.end <= before + len(begin):
            found.append(Mark(word.start - before, word.end - before, strength))
    return found


def snippet(text: str, marks: Sequence[Mark]) -> dict[str, Any]:
    """Return the part of a text whose marks weigh most.

    Args:
        text: The whole text.
        marks: The marked words, ascending.

    Returns:
        ``segments``, pairs of a text and its weight, 0 for plain text; ``cut_before`` and ``cut_after``, whether the
        text goes on there.
    """
    # Only the first of equal words counts, so that one repeated word does not outweigh several different ones.
    first = {text[mark.start : mark.end].casefold(): mark for mark in reversed(marks[:_MOST_STARTS])}
    start, end = excerpt(text, sorted(first.values()), _LENGTH)
    return {"segments": segments(text, marks, start, end), "cut_before": start > 0, "cut_after": end < len(text)}


def segments(text: str, marks: Sequence[Mark], start: int, end: int) -> list[tuple[str, float]]:
    """Return the pieces of ``text[start:end]`` with the weight of each; plain text has a weight of 0."""
    found, at = [], start
    for mark in marks:
        if mark.start < at or mark.end > end:
            continue
        if mark.start > at:
            found.append((text[at : mark.start], 0.0))
        found.append((text[mark.start : mark.end], round(mark.strength, 4)))
        at = mark.end
    if at < end:
        found.append((text[at:end], 0.0))
    return found
