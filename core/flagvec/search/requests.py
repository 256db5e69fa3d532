"""Requests of one search that are made in threads, so that the next ones are on their way while an answer is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Self

Part = TypeVar("Part")
Answer = TypeVar("Answer")


class Requests:
    """Makes requests in threads, in a `with` block, which ends when the last one has ended.

    After a request has failed, those that have not begun raise its error instead. So a server that does not answer is
    waited for once.

    Args:
        at_once: How many threads make requests.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._threads = ThreadPoolExecutor(at_once, "flagvec-search")
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._error = self._error or error
        self._threads.shutdown()

    def submit(self, request: Callable[[], Answer]) -> Future[Answer]:
        """Make a request as soon as a thread is free."""
        return self._threads.submit(self._made, request)

    def ahead(self, request: Callable[[Part], Answer], parts: Iterable[Part]) -> Iterator[Answer]:
        """Yield the answer for each part in order, while the threads already request those of the next ones.

        Args:
            request: Makes the request of a part, and returns its answer.
            parts: What to request. So many more than were yielded are taken as there are threads, and one.
        """
        waiting: deque[Future[Answer]] = deque()
        for part in parts:
            waiting.append(self.submit(partial(request, part)))
            if len(waiting) > self._at_once:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _made(self, request: Callable[[], Answer]) -> Answer:
        if self._error is not None:
            raise self._error
        try:
            return request()
        except BaseException as error:
            self._error = self._error or error
            raise
