"""Worker processes. Each makes something once, and then answers tasks one after the other."""

from __future__ import annotations

import multiprocessing
import os
import threading
import weakref
from collections import Counter, deque
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from typing import Any

import torch
import torch.multiprocessing  # registers how tensors travel through shared memory
from torch import Tensor

from flagvec.errors import FlagvecError, WorkerError
from flagvec.workers.process import Build
from flagvec.workers.watch import LONGEST_IDLE, Watch
from flagvec.workers.worker import LONGEST_END, UNGUARDED, Worker, end_all


def shared(tensor: Tensor) -> Tensor:
    """Return a copy of a tensor in memory that travels to another process without being copied again."""
    # `Tensor.share_memory_` would copy what is not yet written.
    bytes_needed = tensor.numel() * tensor.element_size()
    storage = torch.UntypedStorage._new_shared(bytes_needed)  # type: ignore[no-untyped-call]  # torch's own
    return torch.empty(0, dtype=tensor.dtype).set_(storage).view(tensor.shape).copy_(tensor)


class Workers:
    """Processes that are started at the first task and kept until `close`. They end with this process too.

    Threads may share it. Their calls of `run` come one after the other.

    Args:
        builds: For each worker what makes its answers.
        names: What errors call the workers.
        longest_idle: A worker that has something to do, and shows no sign of life for so many seconds, is killed.
    """

    def __init__(self, builds: Sequence[Build], names: Sequence[str], longest_idle: float = LONGEST_IDLE) -> None:
        self._longest_idle = longest_idle
        self._builds = list(zip(builds, names, strict=True))
        self._workers: dict[int, Worker] = {}
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._next_number = 0
        weakref.finalize(self, _end, self._workers, self._process)
        _all_workers.add(self)

    def close(self) -> None:
        """End all workers. A later `run` starts new ones."""
        _end(self._workers, self._process)

    def run(self, tasks: Iterable[Any]) -> Iterator[tuple[int, bool, Any]]:
        """Let the workers answer tasks, the first ones first. A task is asked for when a worker is free.

        If a worker dies, its task goes to another one, once, whose results come in addition. The next call replaces
        the dead worker, as it does one that is killed while it starts. One that is stuck is killed; see
        `flagvec.workers.watch`.

        Yields:
            The position of a task, whether this is its last result, and the result. Those of several tasks are mixed.

        Raises:
            WorkerError: A worker could not start, all have died, or two died at one task.
            FlagvecError: This process cannot have workers, or this thread is inside a `run`.
            Exception: What a task raised, with the worker's traceback as its cause.
        """
        with self._owned():
            self._start()
            with Watch(self._workers, self._longest_idle) as watch:
                for result in self._results(iter(tasks)):
                    with watch.paused():
                        yield result

    def _results(self, tasks: Iterator[Any]) -> Iterator[tuple[int, bool, Any]]:
        # Numbers go on from call to call, because a call that ended early may have left results.
        first = self._next_number
        left: dict[int, Any] = {}
        again, deaths = deque[int](), Counter[int]()
        while self._hand_out(tasks, again, left) or left:
            for worker in self._ready():
                try:
                    with self._whole_message(worker):
                        kind, number, value = worker.receive()
                except (EOFError, OSError):  # it died
                    lost = self._bury(worker)
                    if lost in left:
                        deaths[lost] += 1
                        again.append(lost)
                    if not self._workers or deaths[lost] > 1:
                        raise WorkerError(worker.obituary("while it encoded")) from None
                    continue
                if kind not in ("result", "end", "error") or number not in left:
                    continue
                if kind == "error":
                    raise value
                if kind == "end":
                    del left[number]
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
            if place not in self._workers or not self._workers[place].process.is_alive():
                self._workers[place] = Worker(build, name)

    def _hand_out(self, tasks: Iterator[Any], again: deque[int], left: dict[int, Any]) -> bool:
        """Give a task to each idle worker, and return whether there may be more tasks.

        Args:
            tasks: Those that nobody has had.
            again: The numbers of those whose worker died.
            left: The tasks that are not done, by their numbers.
        """
        for worker in self._workers.values():
            if not worker.is_idle:
                continue
            if again:
                number = again.popleft()
            else:
                try:
                    task = next(tasks)
                except StopIteration:
                    return False
                number, self._next_number = self._next_number, self._next_number + 1
                left[number] = task
            # A worker that died meanwhile is found by `_ready`, which gives its task to another one.
            with suppress(OSError), self._whole_message(worker):
                worker.give(number, left[number])
        return True

    def _ready(self) -> list[Worker]:
        """Wait until a worker has sent something or has died, and return all such."""
        ready = wait([one for worker in self._workers.values() for one in worker.waited_for])
        return [worker for worker in [*self._workers.values()] if any(one in ready for one in worker.waited_for)]

    def _bury(self, worker: Worker) -> int:
        """Forget a dead worker, and return the number of its task.

        Raises:
            WorkerError: It ended before it was ready, or was killed then and no other worker is left.
        """
        worker.process.join(LONGEST_END)
        self._forget(worker)
        # One that ends by itself would do so in every call.
        if worker.is_starting and not (worker.killed_by and self._workers):
            self.close()
            raise WorkerError(worker.obituary("while it started"))
        return worker.number

    def _forget(self, worker: Worker) -> None:
        for place in [place for place, one in self._workers.items() if one is worker]:
            del self._workers[place]

    @contextmanager
    def _whole_message(self, worker: Worker) -> Iterator[None]:
        # A signal's handler may raise in the middle of a message, as Ctrl-C does. The rest would be read as the next.
        try:
            yield
        except (EOFError, OSError):
            raise
        except BaseException:
            self._forget(worker)
            end_all([worker])
            raise

    def _renew(self) -> None:
        """Leave the workers to the parent, because this process was forked from it."""
        for worker in self._workers.values():
            worker.leave()
        self._process, self._workers = os.getpid(), {}
        # Another thread of the parent may have held it.
        self._lock, self._thread = threading.Lock(), None
        weakref.finalize(self, _end, self._workers, self._process)


def _end(workers: MutableMapping[int, Worker], process: int) -> None:
    # In a forked child they are the parent's.
    if process == os.getpid():
        ended = [*workers.values()]
        workers.clear()
        end_all(ended)


# All that exist. Their workers stay with the parent when this process is forked.
_all_workers: weakref.WeakSet[Workers] = weakref.WeakSet()


def _after_in_child() -> None:
    for workers in _all_workers:
        workers._renew()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_after_in_child)
