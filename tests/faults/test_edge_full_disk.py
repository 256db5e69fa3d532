"""An edge store on a full disk refuses what does not fit, and keeps what it has acknowledged."""

from __future__ import annotations

import json
import random

import pytest

from flagvec import StoreError, WriteError
from flagvec_qdrant import edge
from stores import acknowledged, documents, open_store

MEGABYTE = 2**20


@pytest.fixture(params=["ext4", "tmpfs"])
def full_disk(request, small_disk):
    """A function that makes a disk with room for a store and so many megabytes more, and the file that takes the rest.

    On tmpfs, opening a store takes 96 MB, because the engine reads its files whole.
    """

    def make(megabytes):
        disk = small_disk(request.param, 256)
        return disk, disk.fill(megabytes * MEGABYTE)

    return make


@pytest.mark.parametrize("seed", range(3))
def test_a_store_is_filled_up_to_an_error_and_keeps_what_it_has_acknowledged(full_disk, child, read, seed):
    chosen = random.Random(seed)
    disk, ballast = full_disk(130 + chosen.randint(0, 4))
    writer = child(
        "store_process.py", "write", "edge", disk.path, "--batch", chosen.choice([300, 700, 1500]), "--batches", 30
    )
    writer.wait_for(lambda lines: len(lines) > 1)
    more = disk.fill(chosen.randint(18, 24) * MEGABYTE)
    assert writer.finish() == 0, writer.errors
    assert "MB free on its disk, and writing" in writer.lines[-1]
    ballast.unlink()
    more.unlink()
    found = read("edge", disk.path)
    assert set(found["right"]) >= acknowledged(writer.lines[1:])
    assert (found["wrong"], found["count"]) == ([], len(found["right"]))


@pytest.mark.parametrize("free_kilobytes", [0, 16, 128, 2048, 30_000])
@pytest.mark.parametrize("is_killed", [False, True])
def test_a_store_is_read_on_a_full_disk_or_the_error_says_how_much_space_it_takes(
    full_disk, child, read, free_kilobytes, is_killed
):
    disk, _ = full_disk(200)
    writer = child("store_process.py", "write", "edge", disk.path, "--batches", 3, *["--stay"] * is_killed)
    writer.wait_for(lambda lines: len(acknowledged(lines[1:])) == 300)
    writer.kill() if is_killed else writer.finish()
    ballast_of_now = disk.fill(free_kilobytes * 1024)
    found = read("edge", disk.path)
    assert found.get("right") == [*range(300)] or "opening it needs" in found["error"], found
    ballast_of_now.unlink()
    assert read("edge", disk.path)["right"] == [*range(300)]


def test_a_store_that_was_refused_goes_on_once_there_is_space(full_disk):
    disk, _ = full_disk(200)
    with open_store("edge", disk.path) as store:
        store.create()
        store.add(documents(range(100)))
        more = disk.fill(10 * MEGABYTE)
        with pytest.raises(
            WriteError, match=r"has 10\.0 MB free on its disk, and writing 100 more documents needs 1\d"
        ):
            store.add(documents(range(100, 200)))
        report = store.add(documents(range(100, 200)), on_error="report")
        assert ([one.id for one in report.failed], report.ok) == ([one.id for one in documents(range(100, 200))], ())
        assert {one.retryable for one in report.failed} == {False}
        assert store.count() == 100
        more.unlink()
        store.add(documents(range(100, 200)))
        assert store.count() == 200


@pytest.mark.parametrize("megabytes", [0, 1, 3, 15])
def test_creating_a_store_on_a_full_disk_is_refused_and_leaves_no_half_of_one(full_disk, megabytes):
    disk, ballast = full_disk(megabytes)
    with pytest.raises(StoreError, match=r"MB free on its disk, and creating it needs 16\.0 MB free to be safe"):
        open_store("edge", disk.path).create()
    ballast.unlink()
    with open_store("edge", disk.path) as store:
        store.create()
        assert store.count() == 0


def test_optimizing_is_refused_without_the_space_of_a_second_copy(full_disk):
    disk, _ = full_disk(200)
    with open_store("edge", disk.path) as store:
        store.create()
        store.add(documents(range(100)))
        disk.fill(10 * MEGABYTE)
        with pytest.raises(StoreError, match="and optimizing it needs"):
            store.optimize()
        assert store.count() == 100


def test_an_add_without_the_space_of_an_index_warns_and_keeps_its_documents(full_disk, caplog, monkeypatch):
    monkeypatch.setattr(edge, "MOST_UNINDEXED_BYTES", 0)
    disk, _ = full_disk(200)
    with open_store("edge", disk.path) as store:
        store.create()
        store.add(documents(range(100)))
        # Enough to write one more, which is checked against 16 MB.
        disk.fill(16 * MEGABYTE + 300_000)
        store.add(documents([100]))
        assert store.count() == 101
    assert "got no index over its dense vectors, so searches stay slow: " in caplog.text
    assert "and optimizing it needs" in caplog.text


def test_a_store_on_a_full_disk_is_dropped(full_disk, child):
    disk, _ = full_disk(200)
    writer = child("store_process.py", "write", "edge", disk.path, "--batches", 1)
    assert writer.finish() == 0, json.dumps(writer.lines)
    disk.fill()
    open_store("edge", disk.path).drop()
    assert not (disk.path / "edge").exists()
