"""`Worker`: one worker process, seen from the process that gives it tasks."""

from __future__ import annotations

import logging
import multiprocessing
import pickle
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from flagvec.workers.process import NO_TASK, Build, answer_tasks

# A worker ends with it if the program's main module asked for workers while the worker imported it.
UNGUARDED = 86
# Seconds that all workers together get to end by themselves, and then to be dead.
LONGEST_END = 1.0


class Worker:
    """A process, and what it does at present.

    Args:
        build: Makes what answers its tasks.
        name: What errors call it.

    Attributes:
        process: The process.
        is_starting: Whether it has not yet said that it is ready.
        number: Its task, or ``NO_TASK``.
        messages: How many it has sent.
    """

    def __init__(self, build: Build, name: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, its_end = context.Pipe()
        self._name = name
        self._end_as_stuck: str | None = None
        self.is_starting = True
        self.number = NO_TASK
        self.messages = 0
        log_level = logging.getLogger().getEffectiveLevel()
        self.process = context.Process(
            target=answer_tasks, args=(its_end, pickle.dumps(build), log_level), daemon=True, name=f"flagvec {name}"
        )
        with _without_interrupts():
            self.process.start()
        # Otherwise a worker that dies would not end the connection.
        its_end.close()

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a task."""
        return not self.is_starting and self.number == NO_TASK

    @property
    def killed_by(self) -> signal.Signals | None:
        """The signal that ended its process, if one did."""
        code = self.process.exitcode
        return signal.Signals(-code) if code is not None and code < 0 else None

    @property
    def waited_for(self) -> tuple[Connection, int]:
        """What `wait` takes: one of them is ready when the worker has sent something or has died."""
        return self._connection, self.process.sentinel

    def give(self, number: int, task: Any) -> None:
        """Send a task with its number to an idle worker."""
        self.number = number
        self._connection.send((number, task))

    def receive(self) -> tuple[str, int, Any]:
        """Return what it sent: the kind of a message, the number of its task, and its value.

        Raises:
            EOFError, OSError: It died.
        """
        # It may have died with messages unread.
        if not self._connection.poll() and not self.process.is_alive():
            raise EOFError
        kind, number, value = self._connection.recv()
        self.messages += 1
        match kind:
            case "ready":
                self.is_starting = False
            case "warning":
                warnings.warn(value, stacklevel=2)
            case "log":
                logging.getLogger(value.name).handle(value)
            case "error" | "end":
                self.number = NO_TASK
        return kind, number, value

    def kill_as_stuck(self, why: str) -> None:
        """Kill it, which ends the wait for it as if it had died."""
        self._end_as_stuck = why
        self.process.kill()

    def obituary(self, when: str) -> str:
        """Return what became of a process that died."""
        if self._end_as_stuck is not None:
            return f"the worker on {self._name} {self._end_as_stuck} {when}, so it was killed as stuck: try again"
        code = self.process.exitcode
        if code == UNGUARDED:
            return (
                "the model runs on several devices, whose worker processes import the program's main module, and it "
                'encodes while it is imported: put what the program does under `if __name__ == "__main__":`'
            )
        how = f"was killed by {self.killed_by.name}" if self.killed_by else f"ended with {code}"
        return (
            f"the worker on {self._name} {how} {when}: it may have run out of memory; a smaller batch_size or fewer "
            "devices take less"
        )

    def leave(self) -> None:
        """Close this process's end of the connection, at which the worker ends if no other process has the end."""
        self._connection.close()


def end_all(workers: Sequence[Worker]) -> None:
    """End workers. One in the middle of a forward pass is killed, because nobody waits for its results."""
    for worker in workers:
        worker.leave()
    end = time.monotonic() + LONGEST_END
    for worker in workers:
        worker.process.join(max(end - time.monotonic(), 0.0))
    for worker in workers:
        worker.process.kill()
    for worker in workers:
        worker.process.join(LONGEST_END)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    # A terminal's Ctrl-C reaches all processes. A worker inherits that this thread blocks the signal.
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
