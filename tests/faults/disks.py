"""Disks that lose power or become full: file systems in an image behind a loop device, or in memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEGABYTE = 2**20
_JOURNAL_SECONDS = 1
# The journal is written for some time after a process was paused.
_COPIES = 20


class Disk:
    """A mounted file system.

    Args:
        path: Where it is mounted.
        image: The file that holds an ext4 file system; None for a tmpfs.
    """

    def __init__(self, path: Path, image: Path | None = None) -> None:
        self.path = path
        self.image = image

    def copy_as_after_power_loss(self, image: Path) -> None:
        """Copy what is on the disk now, without what the kernel still holds in memory, to the file `image`.

        Processes that write to it have to be paused, so that the copy is of one moment.
        """
        assert self.image is not None, "only a disk with an image loses power"
        for _ in range(_COPIES):
            changed = self.image.stat().st_mtime_ns
            # The loop device writes into this file's pages, so that a reader of the file sees what reached the disk.
            _run("cp", "--sparse=always", str(self.image), str(image))
            if self.image.stat().st_mtime_ns == changed:
                return
        raise AssertionError("the disk is written to all the time: pause the processes that write, and copy then")

    def wait_for_journal(self) -> None:
        """Wait until the file system has committed its journal, which brings new names and sizes onto the disk.

        The contents of files that nobody synced stay in memory for up to 30 seconds more. That makes this the worst
        moment to lose power.
        """
        time.sleep(_JOURNAL_SECONDS + 0.5)

    def fill(self, leave_bytes: int = 0) -> Path:
        """Write a file until only so many bytes are free, and return it; deleting it frees the space."""
        ballast = self.path / f"ballast-{uuid.uuid4().hex}"
        with ballast.open("wb", buffering=0) as file:
            size = max(0, self.free_bytes() - leave_bytes)
            try:
                while size > 0:
                    size -= file.write(bytes(min(size, MEGABYTE)))
            except OSError:
                # It is full.
                pass
        return ballast

    def free_bytes(self) -> int:
        """Return how many bytes an ordinary user can still write."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize


@contextmanager
def ext4_disk(directory: Path, megabytes: int = 512) -> Iterator[Disk]:
    """Make an ext4 file system of a size in an image below `directory`, and mount it for the block."""
    image = directory / f"{uuid.uuid4().hex}.ext4"
    with image.open("wb") as file:
        file.truncate(megabytes * MEGABYTE)
    _run("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
    with mounted(image) as disk:
        # What was made before the fault must not depend on it.
        os.sync()
        yield disk
    image.unlink()


@contextmanager
def mounted(image: Path) -> Iterator[Disk]:
    """Mount an image with an ext4 file system for the block; the journal of one that lost power is recovered."""
    path = image.with_suffix(".mounted")
    path.mkdir()
    _run("mount", "-o", f"loop,commit={_JOURNAL_SECONDS}", str(image), str(path))
    try:
        yield Disk(path, image)
    finally:
        _unmount(path)


@contextmanager
def tmpfs_disk(directory: Path, megabytes: int) -> Iterator[Disk]:
    """Mount a file system in memory, of a size, below `directory` for the block."""
    path = directory / f"{uuid.uuid4().hex}.tmpfs"
    path.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path))
    try:
        yield Disk(path)
    finally:
        _unmount(path)


def why_not(directory: Path) -> str | None:
    """Return why disks cannot be made here; None if they can."""
    if os.geteuid() != 0:
        return "mounting a disk needs root"
    for program in ("mkfs.ext4", "mount", "umount"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    try:
        with ext4_disk(directory, megabytes=8), tmpfs_disk(directory, megabytes=1):
            return None
    except subprocess.CalledProcessError as error:
        return f"a disk cannot be mounted: {error.stderr.strip()}"


def _unmount(path: Path) -> None:
    try:
        _run("umount", str(path))
    except subprocess.CalledProcessError:
        # Something still has a file open there: the mount, and its loop device, end with it.
        _run("umount", "--lazy", str(path))
    path.rmdir()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
