"""Directories that one process at a time writes to, and whose names survive a power loss."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flagvec.errors import SourceError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # checked before use


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other processes from writing here; the lock ends with the process.

    Raises:
        SourceError: Another process writes.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise SourceError(f"another process is writing into {str(directory)!r}: wait until it has ended") from error
    finally:
        os.close(descriptor)


def sync(directory: Path) -> None:
    """Flush the names in a directory to the disk."""
    # Windows has no such call for directories.
    if os.name != "nt":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
