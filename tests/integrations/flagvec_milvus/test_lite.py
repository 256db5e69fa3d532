"""What flagvec adds to the engine of Milvus Lite: syncs before its manifest, whole indexes, and rows that are kept."""

import errno
import os
import sys
from pathlib import Path

import pytest
from milvus_lite.engine.collection import Collection
from milvus_lite.index.brute_force import BruteForceIndex
from milvus_lite.server_manager import server_manager_instance

from flagvec import Document, WriteError
from flagvec_milvus import MilvusStore, lite, lite_client


@pytest.fixture
def path(tmp_path):
    """The path of a database, whose engine ends after the test."""
    path = str(tmp_path / "articles.db")
    yield path
    server_manager_instance.release_server(path)


@pytest.fixture
def store(path, seeded):
    store = MilvusStore(seeded(), lite_client(path), "articles")
    store.create()
    return store


@pytest.fixture
def reopened(path, seeded):
    """A function that ends the engine, and opens the store anew."""

    def reopen():
        server_manager_instance.release_server(path)
        return MilvusStore(seeded(), lite_client(path), "articles")

    return reopen


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the paths of descriptors are read from /proc")
def test_a_file_and_its_name_are_synced_before_the_manifest_that_names_it(store, path, monkeypatch):
    synced, sync = [], os.fsync

    def record(descriptor):
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(Path(path).resolve()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    store.add(Document("a", "one"))
    collection = Path("collections/articles")
    data = collection / "partitions/_default/data"
    manifest = synced.index(collection / "manifest.json.tmp")
    assert {data / "data_000001_000001.parquet", data, data.parent, data.parent.parent, collection} <= {
        *synced[:manifest]
    }


def test_an_index_that_cannot_be_saved_leaves_no_file_and_is_built_again(store, path, monkeypatch, reopened, caplog):
    def fail(index, path):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    store.add([Document("a", "one two"), Document("b", "three")])
    assert store.search("one two", mode="dense")[0].id == "a"
    server_manager_instance.release_server(path)
    for file in Path(path).rglob("*.idx"):
        file.unlink()
    monkeypatch.setattr(BruteForceIndex, "save", lite._at_once(fail))
    assert reopened().search("one two", mode="dense")[0].id == "a"
    assert "could not be saved, and is built again" in caplog.text
    assert not [*Path(path).rglob("*.idx"), *Path(path).rglob("*.new")]


def test_what_a_flush_could_not_write_is_found_and_written_later(store, monkeypatch, reopened):
    store.add(Document("a", "one"))

    def fail(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("milvus_lite.engine.flush.write_data_file", fail)
        with pytest.raises(WriteError, match="No space left on device") as caught:
            store.add([Document("b", "two"), Document("a", "one three")])
    assert set(caught.value.report.ok) == {"a", "b"}
    assert [hit.id for hit in store.search("two", mode="sparse")] == ["b"]
    store.add(Document("c", "four"))
    again = reopened()
    assert {document.id: document.text for document in again.scroll()} == {"a": "one three", "b": "two", "c": "four"}


def test_the_engine_is_changed_once(store):
    flush = Collection._trigger_flush
    lite.make_durable()
    assert Collection._trigger_flush is flush


def test_an_engine_that_is_not_known_is_left_as_it_is_with_a_warning(store, monkeypatch, caplog):
    monkeypatch.delattr("milvus_lite.storage.manifest.Manifest.save")
    lite.change_engine.__wrapped__()
    assert "this version of milvus-lite is not known" in caplog.text
