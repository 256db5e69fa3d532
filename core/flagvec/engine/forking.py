"""Keeps encoding usable in a child process that ``os.fork`` made.

A child has one thread, the one that forked. A lock that another thread held stays locked for ever.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
import warnings
from pathlib import Path
from types import TracebackType

_HARD = 2  # omp_pause_hard, in the OpenMP specification 5.0, section 3.2.44
# Seconds. A thread of another language may come and go without an end, so the wait for it has one.
_LONGEST_WAIT = 1.0
_END_OF_WORKERS = 0.05
_RAYON_SWITCH = "TOKENIZERS_PARALLELISM"


class ForkGate:
    """A context manager for steps that no fork may interrupt. Any number of threads may be inside at once.

    oneDNN, tokenizers and the allocators have locks of their own, which would stay locked in the child. So a fork waits
    until every thread has left, and threads wait for the fork before they enter.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._inside: list[int] = []  # a thread for each time that it entered
        self._forks = 0
        self._seen: set[int] = set()  # native ids of the threads that entered

    def __enter__(self) -> None:
        thread = threading.get_ident()
        with self._lock:
            if self._forks:
                # A thread enters twice if a signal's handler encodes. It must not wait for itself.
                self._changed.wait_for(lambda: not self._forks or thread in self._inside)
            self._inside.append(thread)
            self._seen.add(threading.get_native_id())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside.remove(threading.get_ident())
            if self._forks:
                self._changed.notify_all()

    def close(self) -> None:
        """Wait until all other threads have left, and let none in."""
        thread = threading.get_ident()
        with self._changed:
            self._forks += 1
            self._changed.wait_for(lambda: all(other == thread for other in self._inside))
        # Before Python 3.13 the thread that a child begins with has the native id of the parent's.
        alive = {threading.get_native_id(), *(other.native_id or 0 for other in threading.enumerate())}
        _wait_for_ended(self._seen - alive)
        self._seen &= alive

    def reopen(self) -> None:
        """Let threads in again, after `close`."""
        with self._changed:
            self._forks = max(self._forks - 1, 0)
            self._changed.notify_all()

    def renew(self) -> None:
        """Forget the threads that the child does not have."""
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._inside = [thread for thread in self._inside if thread == threading.get_ident()]
        self._forks = 0
        self._seen = set()


def _wait_for_ended(threads: set[int]) -> None:
    """Wait until threads that Python has ended have ended for the system too, as far as it says so, and their workers.

    A thread frees MKL's memory at its very end, and so do its OpenMP workers. Meanwhile they hold a lock of MKL.
    """
    end = time.monotonic() + _LONGEST_WAIT
    while any(Path(f"/proc/self/task/{thread}").exists() for thread in threads) and time.monotonic() < end:
        time.sleep(0.001)
    if threads and sys.platform == "linux":
        time.sleep(_END_OF_WORKERS)


no_fork = ForkGate()
_this_thread = threading.local()
_is_slowed = False


def warn_if_slowed() -> None:
    """Warn, once in a process, if it has one thread because it was forked."""
    global _is_slowed
    if _is_slowed:
        _is_slowed = False
        warnings.warn(
            "this process was forked after OpenMP had started, so it encodes on one thread: more would wait for "
            "threads that only the parent has. For all cores start workers by 'spawn' or 'forkserver', or install a "
            "torch whose OpenMP library has omp_pause_resource_all",
            stacklevel=2,
        )


def _has_gnu_openmp() -> bool:
    """Return whether torch uses GNU's OpenMP library. LLVM's and Intel's start anew in a child by themselves."""
    # Without torch there are no threads of OpenMP, and importing this module must not import torch.
    if sys.platform != "linux" or "torch" not in sys.modules:
        return False
    from flagvec.engine.kernels.availability import openmp_function

    return bool(openmp_function("GOMP_parallel")) and not openmp_function("kmp_set_blocktime")


def _before_fork() -> None:
    no_fork.close()
    _this_thread.has_no_workers = _has_gnu_openmp() and _end_workers()


def _end_workers() -> bool:
    """End the calling thread's OpenMP workers, which it starts anew when it needs them; return whether that worked.

    A child would wait for them for ever in ``gomp_team_barrier_wait_end``, because they are threads of the parent.
    """
    from flagvec.engine.kernels.availability import openmp_function

    address = openmp_function("omp_pause_resource_all")  # not in libgomp before GCC 9
    return bool(address) and ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(address)(_HARD) == 0


def _after_in_child() -> None:
    global _is_slowed
    no_fork.renew()
    # A program in C may fork without calling `_before_fork`.
    if _has_gnu_openmp() and not getattr(_this_thread, "has_no_workers", False):
        sys.modules["torch"].set_num_threads(1)
        _is_slowed = True
    _this_thread.has_no_workers = False
    # tokenizers starts its threads once in a process. By itself it does without them in a child only if the variable
    # is unset.
    if _RAYON_SWITCH in os.environ:
        os.environ[_RAYON_SWITCH] = "false"


def _after_in_parent() -> None:
    _this_thread.has_no_workers = False
    no_fork.reopen()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
