"""Free space on the disk, checked before the engine writes.

The engine maps its files into memory. If such a file cannot grow because the disk is full, the kernel ends the process
by SIGBUS, which nothing can catch. A check beforehand is all that helps, and it does not hold what it finds: another
program may fill the disk between the check and the write.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from flagvec.errors import StoreError

_MEGABYTE = 2**20
# What the engine writes besides documents: pages of its own tables, directories, and a new file of each kind. Less than
# 1 MB was seen (tests/faults/test_edge_full_disk.py).
MARGIN = 16 * _MEGABYTE
# Less than `MARGIN`, so that what was written can also be flushed.
FLUSH_MARGIN = 4 * _MEGABYTE
# A write takes less, because its vectors have to fit into memory.
PLENTY = 2**34
# An optimised copy of a segment takes up to 1.7 times its space, and is there beside it for a while.
_OPTIMIZING = 2
_BLOCK = 512


class DiskFullError(StoreError):
    """The disk has too little space for what was to be done, and nothing of it was done."""


def free_bytes(path: Path) -> int:
    """Return how many bytes an ordinary user can still write to the disk of a path that exists."""
    return shutil.disk_usage(path).free


def require(path: Path, needed: int, name: str, what: str) -> None:
    """Raise a `DiskFullError` if there are fewer bytes free.

    Args:
        path: A path on the disk, which exists.
        needed: How many bytes have to be free.
        name: What messages call the store.
        what: What is to be done, for messages.
    """
    free = free_bytes(path)
    if free < needed:
        raise DiskFullError(
            f"{name} has {free / _MEGABYTE:,.1f} MB free on its disk, and {what} needs {needed / _MEGABYTE:,.1f} MB "
            "free to be safe: free space there"
        )


def require_to_open(shard: Path, name: str) -> None:
    """Raise a `DiskFullError` if opening a shard might fill the disk."""
    # After a crash the engine repeats what is in the log.
    needed = MARGIN + _allocated(shard / "wal")
    require(shard, needed, name, "opening it")
    if _reading_allocates(shard):
        # The engine reads its files whole.
        needed += sum(max(0, file.st_size - _blocks(file)) for file in _files(shard / "segments"))
        require(shard, needed, name, "opening it")


def require_to_optimize(shard: Path, name: str) -> None:
    """Raise a `DiskFullError` if optimising a shard might fill the disk."""
    require(shard, MARGIN + _OPTIMIZING * _allocated(shard / "segments"), name, "optimizing it")


def _allocated(directory: Path) -> int:
    return sum(map(_blocks, _files(directory)))


def _blocks(file: os.stat_result) -> int:
    # On Windows a file that cannot grow is an error of the engine's, so that 0 does no harm.
    return _BLOCK * getattr(file, "st_blocks", 0)


def _files(directory: Path) -> Iterator[os.stat_result]:
    for path in directory.rglob("*"):
        try:
            yield path.lstat()
        except FileNotFoundError:
            continue


def _reading_allocates(directory: Path) -> bool:
    """Return whether a file system gives space to what was never written once it is read, as Linux' tmpfs does."""
    with tempfile.TemporaryFile(dir=directory) as file:
        file.truncate(mmap.PAGESIZE)
        with mmap.mmap(file.fileno(), mmap.PAGESIZE) as pages:
            _ = pages[0]
        return _blocks(os.fstat(file.fileno())) > 0
