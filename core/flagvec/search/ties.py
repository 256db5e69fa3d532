"""`best_with_ties`: the best results of a database that orders equal scores as it likes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Found = TypeVar("Found")

# Two documents that only one leg found, at the same rank, have the same fused score. A third hardly ever has it too. So
# the last result may tie with the next one, and the one after that shows where the tie ends.
_BEYOND_LAST = 2


def best_with_ties(
    first: Callable[[int], Sequence[Found]], limit: int, most: int, score: Callable[[Found], float]
) -> Sequence[Found]:
    """Return the best `limit` results and those that tie with the last of them, so that the caller breaks the tie.

    Args:
        first: Asks the database for up to so many results, best first. It is called again if all results beyond `limit`
            tie.
        limit: How many results are wanted.
        most: The most results that there can be.
        score: Returns a result's score.

    Example:
        >>> best_with_ties(lambda count: [3.0, 2.0, 2.0, 1.0][:count], limit=2, most=4, score=float)
        [3.0, 2.0, 2.0]
    """
    asked = min(limit + _BEYOND_LAST, most)
    found = first(asked)
    if len(found) == asked < most and score(found[-1]) == score(found[limit - 1]):
        found = first(most)
    if len(found) <= limit:
        return found
    last = score(found[limit - 1])
    return [one for one in found if score(one) >= last]
