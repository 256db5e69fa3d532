"""Worker processes. Each makes something once, and then answers tasks one after the other."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
import weakref
from collections import Counter, deque
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
import torch.multiprocessing  # registers how tensors travel through shared memory
from torch import Tensor

from flagvec.errors import FlagvecError, WorkerError
from flagvec.workers.process import NO_TASK, Build, answer_tasks

# A worker ends with it if the program's main module asked for workers while the worker imported it.
UNGUARDED = 86
# Seconds that all workers together get to end by themselves, and then to be dead.
_LONGEST_END = 1.0


def shared(tensor: Tensor) -> Tensor:
    """Return a copy of a tensor in memory that travels to another process without being copied again."""
    copy = torch.empty_like(tensor, device="cpu")
    copy.share_memory_()  # type: ignore[no-untyped-call]  # torch's own
    return copy.copy_(tensor)


class Workers:
    """Processes that are started at the first task and kept until `close`. They end with this process too.

    Threads may share it. Their calls of `run` come one after the other.

    Args:
        builds: For each worker what makes its answers.
        names: What errors call the workers.
    """

    def __init__(self, builds: Sequence[Build], names: Sequence[str]) -> None:
        self._builds = list(zip(builds, names, strict=True))
        self._workers: dict[int, _Worker] = {}
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._next_number = 0
        weakref.finalize(self, _end, self._workers, self._process)
        _all_workers.add(self)

    def close(self) -> None:
        """End all workers. A later `run` starts new ones."""
        _end(self._workers, self._process)

    def run(self, tasks: Sequence[Any]) -> Iterator[tuple[int, bool, Any]]:
        """Let the workers answer tasks, the first ones first.

        If a worker dies, its task goes to another one, once, whose results come in addition. The next call replaces
        the dead worker.

        Yields:
            The position of a task, whether this is its last result, and the result. Those of several tasks are mixed.

        Raises:
            WorkerError: A worker could not start, all have died, or two died at one task.
            FlagvecError: This process cannot have workers, or this thread is inside a `run`.
            Exception: What a task raised, with the worker's traceback as its cause.
        """
        with self._owned():
            self._start()
            first, self._next_number = self._next_number, self._next_number + len(tasks)
            waiting, left, deaths = deque(range(len(tasks))), set(range(len(tasks))), Counter[int]()
            while left:
                self._hand_out(tasks, waiting, first)
                for worker in self._ready():
                    try:
                        with self._whole_message(worker):
                            kind, number, value = worker.receive()
                    except (EOFError, OSError):  # it died
                        lost = self._bury(worker) - first
                        if lost in left:
                            deaths[lost] += 1
                            waiting.appendleft(lost)
                        if not self._workers or deaths[lost] > 1:
                            raise WorkerError(worker.obituary("while it encoded")) from None
                        continue
                    # A call that ended early may have left results.
                    if kind not in ("result", "end", "error") or number - first not in left:
                        continue
                    if kind == "error":
                        raise value
                    if kind == "end":
                        left.discard(number - first)
                    yield number - first, kind == "end", value

    @contextmanager
    def _owned(self) -> Iterator[None]:
        if self._thread == threading.get_ident():
            raise FlagvecError("this thread encodes already, and a signal's handler or a callback in it cannot encode")
        with self._lock:
            self._thread = threading.get_ident()
            try:
                yield
            finally:
                self._thread = None

    def _start(self) -> None:
        process = multiprocessing.current_process()
        if getattr(process, "_inheriting", False):
            os._exit(UNGUARDED)
        if process.daemon:
            raise FlagvecError(
                f"{process.name} is a daemonic process, which cannot start the workers of several devices: give the "
                "model one device there"
            )
        for place, (build, name) in enumerate(self._builds):
            if place not in self._workers:
                self._workers[place] = _Worker(build, name)

    def _hand_out(self, tasks: Sequence[Any], waiting: deque[int], first: int) -> None:
        for worker in self._workers.values():
            if waiting and worker.is_idle:
                position = waiting.popleft()
                # A worker that died meanwhile is found by `_ready`, which gives its task to another one.
                with suppress(OSError), self._whole_message(worker):
                    worker.give(first + position, tasks[position])

    def _ready(self) -> list[_Worker]:
        """Wait until a worker has sent something or has died, and return all such."""
        ready = wait([one for worker in self._workers.values() for one in worker.waited_for])
        return [worker for worker in [*self._workers.values()] if any(one in ready for one in worker.waited_for)]

    def _bury(self, worker: _Worker) -> int:
        """Forget a dead worker, and return the number of its task.

        Raises:
            WorkerError: It died before it was ready.
        """
        worker.process.join(_LONGEST_END)
        self._forget(worker)
        if worker.is_starting:
            self.close()
            raise WorkerError(worker.obituary("while it started"))
        return worker.number

    def _forget(self, worker: _Worker) -> None:
        for place in [place for place, one in self._workers.items() if one is worker]:
            del self._workers[place]

    @contextmanager
    def _whole_message(self, worker: _Worker) -> Iterator[None]:
        # A signal's handler may raise in the middle of a message, as Ctrl-C does. The rest would be read as the next.
        try:
            yield
        except (EOFError, OSError):
            raise
        except BaseException:
            self._forget(worker)
            _end_all([worker])
            raise

    def _renew(self) -> None:
        """Leave the workers to the parent, because this process was forked from it."""
        for worker in self._workers.values():
            worker.leave()
        self._process, self._workers = os.getpid(), {}
        # Another thread of the parent may have held it.
        self._lock, self._thread = threading.Lock(), None
        weakref.finalize(self, _end, self._workers, self._process)


class _Worker:
    """A process, and what it does at present."""

    def __init__(self, build: Build, name: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, its_end = context.Pipe()
        self._name = name
        self.is_starting = True
        self.number = NO_TASK
        log_level = logging.getLogger().getEffectiveLevel()
        self.process = context.Process(
            target=answer_tasks, args=(its_end, build, log_level), daemon=True, name=f"flagvec {name}"
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

    def obituary(self, when: str) -> str:
        """Return what became of a process that died."""
        code = self.process.exitcode
        if code == UNGUARDED:
            return (
                "the model runs on several devices, whose worker processes import the program's main module, and it "
                'encodes while it is imported: put what the program does under `if __name__ == "__main__":`'
            )
        how = f"was killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with {code}"
        return (
            f"the worker on {self._name} {how} {when}: it may have run out of memory; a smaller batch_size or fewer "
            "devices take less"
        )

    def leave(self) -> None:
        """Close this process's end of the connection, at which the worker ends if no other process has the end."""
        self._connection.close()


def _end(workers: MutableMapping[int, _Worker], process: int) -> None:
    # In a forked child they are the parent's.
    if process == os.getpid():
        ended = [*workers.values()]
        workers.clear()
        _end_all(ended)


def _end_all(workers: Sequence[_Worker]) -> None:
    """End workers. One in the middle of a forward pass is killed, because nobody waits for its results."""
    for worker in workers:
        worker.leave()
    end = time.monotonic() + _LONGEST_END
    for worker in workers:
        worker.process.join(max(end - time.monotonic(), 0.0))
    for worker in workers:
        worker.process.kill()
    for worker in workers:
        worker.process.join(_LONGEST_END)


# All that exist. Their workers stay with the parent when this process is forked.
_all_workers: weakref.WeakSet[Workers] = weakref.WeakSet()


def _after_in_child() -> None:
    for workers in _all_workers:
        workers._renew()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_after_in_child)


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
