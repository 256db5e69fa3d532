"""The shards that are open in this process. Store objects on one directory share one of them."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from contextlib import suppress
from pathlib import Path

import qdrant_edge

from flagvec.errors import StoreError
from flagvec_qdrant import edge_space
from flagvec_qdrant.edge_files import exclusive

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # checked before use

# Held by whoever opens, closes or drops a shard. It is reentrant, because garbage collection may close one store while
# another is opened.
LOCK = threading.RLock()
# The engine locks this directory of a shard.
_LOCKED = "wal"


class SharedShard:
    """An open shard. It closes once the last object that refers to it lets go of it, or is garbage-collected.

    Attributes:
        shard: The open shard.
        process: The id of the process that opened it, which is the only one that may use it.
        dropped: Whether it was closed for all, because its directory is deleted.
        one_call: Held during a call that may take long. The engine holds the GIL then, and threads that wait for this
            lock leave the GIL to other threads.
    """

    def __init__(self, shard: qdrant_edge.EdgeShard) -> None:
        self.shard = shard
        self.process = os.getpid()
        self.dropped = False
        self.one_call = threading.Lock()
        self.close = weakref.finalize(self, _close, shard, self.process)


_open: weakref.WeakValueDictionary[Path, SharedShard] = weakref.WeakValueDictionary()
# The engine of each, which outlives its owner while another thread's garbage collection waits for the lock.
_engines: dict[Path, qdrant_edge.EdgeShard] = {}


def acquire(path: Path, name: str) -> SharedShard:
    """Return the shard in a directory. It is opened if this process does not have it open.

    Args:
        path: The shard's directory.
        name: What messages call the store.

    Raises:
        StoreError: Another process has it open, it is damaged, or the disk is full.
    """
    with LOCK:
        key = path.resolve()
        shared = _open.get(key)
        if shared is None:
            _close_garbage(key)
            # The engine repairs files before it finds them locked, which ruins those of the process that has them open.
            with exclusive(path.parent):
                _refuse_open_elsewhere(path, name)
                engine = _engines[key] = _load(path, name)
            shared = _open[key] = SharedShard(engine)
        return shared


def forget(path: Path) -> bool:
    """Close a shard for all who share it, because its directory is deleted. Return whether it was open."""
    with LOCK:
        key = path.resolve()
        shared = _open.pop(key, None)
        if shared is None:
            _close_garbage(key)
            return False
        shared.dropped = True
        shared.close()
        return True


def close_for_all(path: Path, name: str) -> None:
    """Close a shard for all who share it, to be deleted. It may be damaged.

    Raises:
        StoreError: Another process has it open.
    """
    with LOCK:
        if not forget(path):
            _refuse_open_elsewhere(path, name)


def _close(shard: qdrant_edge.EdgeShard, process: int) -> None:
    if process != os.getpid():
        return
    with LOCK:
        shard.close()
        for key in [key for key, engine in _engines.items() if engine is shard]:
            del _engines[key]


def _close_garbage(key: Path) -> None:
    if key in _engines:
        _close(_engines[key], os.getpid())


def _load(path: Path, name: str) -> qdrant_edge.EdgeShard:
    # A damaged shard may lack anything.
    with suppress(OSError):
        edge_space.require_to_open(path, name)
    try:
        return qdrant_edge.EdgeShard.load(str(path))
    except Exception as error:  # the engine raises no narrower class
        if "WouldBlock" in str(error):
            raise _open_elsewhere(name) from error
        raise StoreError(f"{name} cannot be opened: {error}") from error


def _refuse_open_elsewhere(path: Path, name: str) -> None:
    if fcntl is None:
        return
    with suppress(FileNotFoundError):
        file = os.open(path / _LOCKED, os.O_RDONLY)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _open_elsewhere(name) from error
        finally:
            os.close(file)


def _open_elsewhere(name: str) -> StoreError:
    return StoreError(
        f"{name} is open in another process: close it there first, or use a Qdrant server and QdrantStore for several "
        "processes"
    )


def _abandon_engines() -> None:
    """In a forked child, let go of the parent's engines without closing them, because closing writes their files."""
    for path, engine in _engines.items():
        # Its deallocation would close it.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine))
        _close_lock_file(path)
    _engines.clear()
    _open.clear()
    LOCK.release()


def _close_lock_file(path: Path) -> None:
    # Otherwise the lock would outlive the parent's engine for as long as the child runs.
    with suppress(OSError):
        locked = (path / _LOCKED).stat()
        for file in [int(one.name) for one in Path("/dev/fd").iterdir()]:
            # One of them was that of the iteration itself.
            with suppress(OSError):
                if os.path.samestat(os.fstat(file), locked):
                    os.close(file)


if hasattr(os, "register_at_fork"):  # Windows has no fork
    # A fork waits until no thread opens or closes a shard, so that the child has none that is half open.
    os.register_at_fork(
        before=lambda: LOCK.acquire(), after_in_parent=lambda: LOCK.release(), after_in_child=_abandon_engines
    )
