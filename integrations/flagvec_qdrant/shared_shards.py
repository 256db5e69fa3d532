"""The shards that are open in this process. Store objects on one directory share one of them."""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path

import qdrant_edge

from flagvec.errors import StoreError

# Held by whoever opens, closes or drops a shard. It is reentrant, because garbage collection may close one store while
# another is opened.
LOCK = threading.RLock()


class _OpenElsewhereError(StoreError):
    """Another process has the shard open."""


class SharedShard:
    """An open shard. It closes once the last object that refers to it lets go of it, or is garbage-collected.

    Attributes:
        shard: The open shard.
        dropped: Whether it was closed for all, because its directory is deleted.
    """

    def __init__(self, shard: qdrant_edge.EdgeShard) -> None:
        self.shard = shard
        self.dropped = False
        self.close = weakref.finalize(self, _close, shard)


# Keys have the process's id, because a forked child must not use its parent's engine.
_open: weakref.WeakValueDictionary[tuple[int, Path], SharedShard] = weakref.WeakValueDictionary()
# The engine of each, which outlives its owner while another thread's garbage collection waits for the lock.
_engines: dict[tuple[int, Path], qdrant_edge.EdgeShard] = {}


def acquire(path: Path, name: str) -> SharedShard:
    """Return the shard in a directory. It is opened if this process does not have it open.

    Args:
        path: The shard's directory.
        name: What messages call the store.

    Raises:
        StoreError: Another process has it open, or it is damaged.
    """
    with LOCK:
        key = _key(path)
        shared = _open.get(key)
        if shared is None:
            _close_garbage(key)
            shared = _open[key] = SharedShard(_load(path, name))
            _engines[key] = shared.shard
        return shared


def forget(path: Path) -> bool:
    """Close a shard for all who share it, because its directory is deleted. Return whether it was open."""
    with LOCK:
        key = _key(path)
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
        if forget(path):
            return
        try:
            _load(path, name).close()
        except _OpenElsewhereError:
            raise
        except StoreError:
            # It is damaged.
            return


def _close(shard: qdrant_edge.EdgeShard) -> None:
    with LOCK:
        shard.close()
        for key in [key for key, engine in _engines.items() if engine is shard]:
            del _engines[key]


def _close_garbage(key: tuple[int, Path]) -> None:
    if key in _engines:
        _close(_engines[key])


def _key(path: Path) -> tuple[int, Path]:
    return os.getpid(), path.resolve()


def _load(path: Path, name: str) -> qdrant_edge.EdgeShard:
    try:
        return qdrant_edge.EdgeShard.load(str(path))
    except Exception as error:  # the engine raises no narrower class
        if "WouldBlock" in str(error):
            raise _OpenElsewhereError(
                f"{name} is open in another process: close it there first, or use a Qdrant server and QdrantStore for "
                "several processes"
            ) from error
        raise StoreError(f"{name} cannot be opened: {error}") from error
