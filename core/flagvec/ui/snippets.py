"""The part of a text that a hit shows, cut into marked and plain pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_LENGTH = 320
_BEFORE = 40
# A window begins at one of the first marks only, so that a long text of nothing else takes little time.
_MOST_STARTS = 150

Mark = tuple[int, int, float]


def snippet(text: str, marks: Sequence[Mark]) -> dict[str, Any]:
    """Return the part of a text whose marks weigh most.

    Args:
        text: The whole text.
        marks: Beginning, end and weight of each marked word, ascending.

    Returns:
        ``segments``, pairs of a text and its weight, 0 for plain text; ``cut_before`` and ``cut_after``, whether the
        text goes on there.
    """
    start = _best_start(text, marks)
    end = min(len(text), start + _LENGTH)
    if end < len(text):
        end = max(text.rfind(" ", start + _LENGTH // 2, end), start + _LENGTH // 2) if " " in text[start:end] else end
    return {"segments": segments(text, marks, start, end), "cut_before": start > 0, "cut_after": end < len(text)}


def segments(text: str, marks: Sequence[Mark], start: int, end: int) -> list[tuple[str, float]]:
    """Return the pieces of ``text[start:end]`` with the weight of each; plain text has a weight of 0."""
    found, at = [], start
    for begin, stop, weight in marks:
        if begin < at or stop > end:
            continue
        if begin > at:
            found.append((text[at:begin], 0.0))
        found.append((text[begin:stop], round(weight, 4)))
        at = stop
    if at < end:
        found.append((text[at:end], 0.0))
    return found


def _best_start(text: str, marks: Sequence[Mark]) -> int:
    """Return where the window begins: at the text's beginning, unless marks further on weigh more."""
    starts = [0, *(max(0, begin - _BEFORE) for begin, _, _ in marks[:_MOST_STARTS])]
    best = max(starts, key=lambda start: _weight(text, marks[:_MOST_STARTS], start))
    return _word_start(text, best)


def _weight(text: str, marks: Sequence[Mark], start: int) -> float:
    """Return the sum of the weights of the different words that are marked in the window at `start`."""
    inside = (mark for mark in marks if mark[0] >= start and mark[1] <= start + _LENGTH)
    return sum({text[begin:end].casefold(): weight for begin, end, weight in inside}.values())


def _word_start(text: str, position: int) -> int:
    """Return where the word around a position begins; the position itself if it is within a very long word."""
    for start in range(position, max(0, position - 30), -1):
        if text[start - 1].isspace():
            return start
    return 0 if position <= 30 else position
