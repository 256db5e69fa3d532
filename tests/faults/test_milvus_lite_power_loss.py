"""What Milvus Lite has acknowledged is there after a power loss."""

import pytest

from stores import acknowledged


@pytest.fixture
def write(child, disk):
    """A function that adds batches of 100 documents, keeps the store open, and returns what was acknowledged."""

    def acknowledge(batches):
        writer = child("store_process.py", "write", "lite", disk.path, "--batches", batches, "--stay")
        lines = writer.wait_for(lambda lines: len(acknowledged(lines)) == 100 * batches)
        assert len(acknowledged(lines)) == 100 * batches, writer.errors
        return acknowledged(lines)

    return acknowledge


def test_all_that_was_acknowledged_is_there_after_a_power_loss(disk, write, read, after_power_loss):
    written = write(3)
    found = read("lite", after_power_loss(disk).path)
    assert set(found["right"]) == written


def test_a_power_loss_after_the_engine_has_merged_its_files_loses_nothing(disk, write, read, after_power_loss):
    # It merges four files in a thread of its own.
    written = write(6)
    disk.wait_for_journal()
    found = read("lite", after_power_loss(disk).path)
    assert set(found["right"]) == written


def test_a_power_loss_after_the_process_has_ended_loses_nothing(disk, child, read, after_power_loss):
    writer = child("store_process.py", "write", "lite", disk.path, "--batches", 2)
    assert writer.finish() == 0
    disk.wait_for_journal()
    found = read("lite", after_power_loss(disk).path)
    assert set(found["right"]) == acknowledged(writer.lines)
