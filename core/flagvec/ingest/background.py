"""Tasks that run one after another in another thread, with a bound on how many are unfinished."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from types import TracebackType


class Background:
    """Runs tasks one after another in a thread of its own; use it in a ``with`` block, whose end waits for them.

    Args:
        name: What the thread is called.
        most: How many tasks may be unfinished at once. With so many, `submit` waits for the first.
    """

    def __init__(self, name: str, most: int = 1) -> None:
        self._most = most
        self._is_left = False
        self._thread = ThreadPoolExecutor(1, name)
        self._unfinished: deque[Future[object]] = deque()

    def submit(self, task: Callable[[], object]) -> None:
        """Run a task, in the caller's context, after those that were submitted before.

        Raises:
            BaseException: What an earlier task raised. The new one is then not run.
        """
        self.settle(self._most - 1)
        self._unfinished.append(self._thread.submit(copy_context().run, task))

    def settle(self, left: int = 0) -> None:
        """Wait until at most `left` tasks are unfinished.

        Raises:
            BaseException: What a task raised. Later ones go on, and a second call waits for them.
        """
        while len(self._unfinished) > left:
            # If this is interrupted, the task stays among the unfinished ones.
            wait([self._unfinished[0]])
            self._unfinished.popleft().result()

    def leave(self) -> None:
        """Cancel the tasks that have not begun. The end of the block then does not wait for the one that runs."""
        self._is_left = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Background:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=not self._is_left)
