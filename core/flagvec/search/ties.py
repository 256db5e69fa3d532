"""`best_with_ties`: the best of what a database finds that orders equal scores as it likes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Found = TypeVar("Found")

# What is in some place of one leg alone ties with what is in that place of the other, and hardly ever with a third: so
# the last result may tie with the next, and the one after that shows whether it is done.
_BEYOND_LAST = 2


def best_with_ties(
    first: Callable[[int], Sequence[Found]], limit: int, most: int, score: Callable[[Found], float]
) -> Sequence[Found]:
    """Return the best `limit` results and those that tie with the last of them, so that whoever sorts cuts no tie.

    Fused ranks tie often: what one leg has in a place scores as what another has there.

    Args:
        first: Asks the database for up to so many results, best first. It is asked a second time where the first few
            beyond `limit` all tie.
        limit: How many results are wanted.
        most: The most that there can be.
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
