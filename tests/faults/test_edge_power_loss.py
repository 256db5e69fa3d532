"""What an edge store has acknowledged is there after a power loss."""

from __future__ import annotations

import pytest

from flagvec_qdrant import edge
from stores import acknowledged, documents, open_store


@pytest.fixture
def write(child, disk):
    """A function that adds batches of documents, keeps the store open, and returns what was acknowledged."""

    def acknowledge(batches, kind="edge", size=100):
        writer = child("store_process.py", "write", kind, disk.path, "--batches", batches, "--batch", size, "--stay")
        lines = writer.wait_for(
            lambda lines: "ready" in "".join(lines) and len(acknowledged(lines[1:])) == size * batches
        )
        assert len(acknowledged(lines[1:])) == size * batches, writer.errors
        return acknowledged(lines[1:])

    return acknowledge


@pytest.mark.parametrize(
    ("kind", "batches", "size"),
    [("edge", 0, 100), ("edge", 1, 100), ("edge", 5, 100), ("edge-compact", 5, 100), ("edge-indexed", 1, 1500)],
)
@pytest.mark.parametrize("is_journaled", [False, True])
def test_all_that_was_acknowledged_is_there_after_a_power_loss(
    disk, write, read, after_power_loss, kind, batches, size, is_journaled
):
    written = write(batches, kind, size)
    if is_journaled:
        disk.wait_for_journal()
    found = read(kind, after_power_loss(disk).path)
    assert "error" not in found
    assert set(found["right"]) == written
    assert (found["wrong"], found["count"]) == ([], len(written))


def test_a_long_add_loses_little_to_a_power_loss(disk, read, after_power_loss, monkeypatch):
    monkeypatch.setattr(edge, "COMMIT_SECONDS", 0.0)
    found = []

    def until_the_power_fails():
        yield from documents(range(4_000))
        found.append(read("edge", after_power_loss(disk).path))

    with open_store("edge", disk.path) as store:
        store.create()
        store.add(until_the_power_fails())
    # One batch may be on its way, and the second is what commits the first.
    assert set(found[0]["right"]) >= set(range(1_024))
    assert found[0]["wrong"] == []
