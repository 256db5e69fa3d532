"""A full disk under Milvus Lite: `add` raises, and nothing that was acknowledged is lost."""

import json

import pytest

from stores import acknowledged

MEGABYTE = 2**20


def failed(lines):
    return [said["error"] for said in map(json.loads, lines) if isinstance(said, dict)]


@pytest.fixture
def nearly_full(small_disk):
    """A function that makes a disk of a kind with 4 MB left, and the file that takes the rest."""

    def make(kind):
        disk = small_disk(kind, 32)
        return disk, disk.fill(leave_bytes=4 * MEGABYTE)

    return make


@pytest.mark.parametrize("kind", ["ext4", "tmpfs"])
def test_a_store_goes_on_once_there_is_space_and_has_lost_nothing(nearly_full, child, read, kind):
    disk, ballast = nearly_full(kind)
    writer = child("store_process.py", "write", "lite", disk.path, "--batch", 60)
    lines = writer.wait_for(lambda lines: len(failed(lines)) >= 3)
    assert all("No space left on device" in error for error in failed(lines)), writer.errors
    ballast.unlink()
    before = len(acknowledged(writer.lines))
    writer.wait_for(lambda lines: len(acknowledged(lines)) > before + 300)
    writer.kill()
    found = read("lite", disk.path)
    assert set(found["right"]) >= acknowledged(writer.lines)
    assert (found["wrong"], found["count"]) == ([], len(found["right"]))


def test_a_store_can_be_opened_and_read_on_a_full_disk(nearly_full, child, read):
    disk, _ = nearly_full("ext4")
    writer = child("store_process.py", "write", "lite", disk.path, "--batch", 60)
    writer.wait_for(lambda lines: len(failed(lines)) >= 3)
    writer.kill()
    disk.fill()
    found = read("lite", disk.path)
    assert set(found["right"]) >= acknowledged(writer.lines)
    assert (found["wrong"], found["count"]) == ([], len(found["right"]))
