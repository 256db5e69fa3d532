"""`Watch`: kills workers that are stuck, so that nobody waits for them without an end."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from flagvec.workers.worker import Worker

# Seconds without any CPU time, page fault or message. A slow machine lets a worker have some of these.
LONGEST_IDLE = 300.0
# Seconds without a message, however busy a worker is. It sends one for each batch of texts.
LONGEST_SILENCE = 4 * 3_600.0
_SECONDS_BETWEEN_LOOKS = 1.0
# In /proc/PID/stat after the name: page faults and CPU time, of the process and of its children.
_USE = slice(7, 15)


class Watch:
    """Looks after workers during a ``with`` block, in a thread, because the waiting thread may be inside a message.

    Args:
        workers: Those at work. They may change meanwhile.
        longest_idle: After so many seconds without any sign of life a worker is killed, if it has something to do.
            Systems without ``/proc`` give no such signs.
        longest_silence: The same for seconds without a message.
    """

    def __init__(
        self,
        workers: Mapping[int, Worker],
        longest_idle: float = LONGEST_IDLE,
        longest_silence: float = LONGEST_SILENCE,
    ) -> None:
        self._workers = workers
        self._longest_idle, self._longest_silence = longest_idle, longest_silence
        self._seen: dict[Worker, _Signs] = {}
        self._is_paused = False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flagvec watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Blame no worker during a ``with`` block, because nobody reads what they send."""
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused = False

    def _run(self) -> None:
        # Looks are counted instead of asking a clock, which goes on while all processes are stopped, as by Ctrl-Z.
        while not self._end.wait(_SECONDS_BETWEEN_LOOKS):
            if not self._is_paused:
                self._look([worker for worker in [*self._workers.values()] if not worker.is_idle])

    def _look(self, busy: Collection[Worker]) -> None:
        self._seen = {worker: self._seen.get(worker) or _Signs() for worker in busy}
        for worker, signs in self._seen.items():
            signs.note((worker.messages, worker.number), _use_of(worker.process.pid))
            if signs.idle > self._longest_idle:
                worker.kill_as_stuck(f"showed no sign of life for {signs.idle:.0f} s")
            elif signs.silence > self._longest_silence:
                worker.kill_as_stuck(f"sent nothing for {signs.silence:.0f} s")


class _Signs:
    """What a worker was last seen with, and for how many seconds that has not changed."""

    def __init__(self) -> None:
        self.idle = self.silence = 0.0
        self._messages: tuple[int, int] | None = None
        self._use: list[str] | None = None

    def note(self, messages: tuple[int, int], use: list[str] | None) -> None:
        """Note what a worker has now: messages, and its use of the machine, or None if that is not known."""
        is_silent = messages == self._messages
        is_idle = is_silent and use is not None and use == self._use
        self.silence = self.silence + _SECONDS_BETWEEN_LOOKS if is_silent else 0.0
        self.idle = self.idle + _SECONDS_BETWEEN_LOOKS if is_idle else 0.0
        self._messages, self._use = messages, use


def _use_of(pid: int | None) -> list[str] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[_USE]
    except OSError:
        return None
