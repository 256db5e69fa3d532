"""Power loss, full disks, SIGKILL and fork, each in child processes on disks of their own.

`disks.py`, `children.py`, `stores.py` and `forks.py` have the parts, which ``benchmarks/faults.py`` uses too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

# The scripts that run in child processes import these modules by name too.
sys.path.append(str(Path(__file__).parent))
import disks
from children import Child


@pytest.fixture(scope="session")
def disks_allowed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip where disks cannot be mounted."""
    if (reason := disks.why_not(tmp_path_factory.mktemp("disks"))) is not None:
        pytest.skip(reason)


@pytest.fixture
def disk(disks_allowed: None, tmp_path: Path) -> Iterator[disks.Disk]:
    """An empty ext4 disk of 512 MB, which takes space only as it is written to."""
    with disks.ext4_disk(tmp_path) as made:
        yield made


@pytest.fixture
def small_disk(disks_allowed: None, tmp_path: Path) -> Iterator[Callable[[str, int], disks.Disk]]:
    """A function that makes a small disk, from ``"ext4"`` or ``"tmpfs"`` and a number of megabytes."""
    makers = {"ext4": disks.ext4_disk, "tmpfs": disks.tmpfs_disk}
    with ExitStack() as stack:
        yield lambda kind, megabytes: stack.enter_context(makers[kind](tmp_path, megabytes))


@pytest.fixture
def after_power_loss(tmp_path: Path) -> Iterator[Callable[[disks.Disk], disks.Disk]]:
    """A function that returns a disk as it would be if the power failed now, and everything were started again."""
    with ExitStack() as stack:
        images = iter(range(1000))

        def lose_power(disk: disks.Disk) -> disks.Disk:
            image = tmp_path / f"after-power-loss-{next(images)}.ext4"
            disk.copy_as_after_power_loss(image)
            return stack.enter_context(disks.mounted(image))

        yield lose_power


@pytest.fixture
def child() -> Iterator[Callable[..., Child]]:
    """A function that starts a `Child`, which ends with the test."""
    with ExitStack() as stack:
        yield lambda script, *arguments, **options: stack.enter_context(Child(script, *arguments, **options))


@pytest.fixture
def read(child: Callable[..., Child]) -> Callable[[str, Path], dict[str, Any]]:
    """A function that reads the store of a kind in a directory, in a process of its own, as `store_process` says."""

    def in_a_process(kind: str, directory: Path) -> dict[str, Any]:
        reader = child("store_process.py", "read", kind, directory)
        assert reader.finish() == 0, f"reading ended with {reader.process.returncode}: {reader.errors}"
        answer: dict[str, Any] = json.loads(reader.lines[-1])
        return answer

    return in_a_process
