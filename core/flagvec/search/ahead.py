"""Requests that are on their way while the answer to an earlier one is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

Part = TypeVar("Part")
Answer = TypeVar("Answer")


def ahead(
    threads: Executor, request: Callable[[Part], Answer], parts: Iterable[Part], at_once: int
) -> Iterator[Answer]:
    """Yield the answer for each part in order, while `threads` already request those of the next ones.

    Args:
        threads: Where the requests are made.
        request: Makes one, and returns its answer.
        parts: What to request.
        at_once: So many answers are waited for or kept at most, beside the one that was yielded.
    """
    waiting: deque[Future[Answer]] = deque()
    for part in parts:
        waiting.append(threads.submit(request, part))
        if len(waiting) > at_once:
            yield waiting.popleft().result()
    for last in waiting:
        yield last.result()
