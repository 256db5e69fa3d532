"""Cutting a stream into bounded batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def batches(
    items: Iterable[Item],
    count: int,
    size: Callable[[Item], int] | None = None,
    total: int = 0,
) -> Iterator[list[Item]]:
    """Yield `items` in order, in lists that are bounded both in number and in summed size.

    Args:
        items: Any iterable; only one batch of it is held at a time.
        count: The most items in a batch.
        size: The size of one item, in any unit; None bounds batches by `count` alone.
        total: The most that a batch's sizes may add up to. A larger item is a batch of its own.

    Example:
        >>> list(batches(["aa", "b", "cccc", "d"], count=2, size=len, total=3))
        [['aa', 'b'], ['cccc'], ['d']]
    """
    batch: list[Item] = []
    filled = 0
    for item in items:
        item_size = size(item) if size else 0
        if batch and (len(batch) == count or filled + item_size > total):
            yield batch
            batch, filled = [], 0
        batch.append(item)
        filled += item_size
    if batch:
        yield batch
