"""Store objects on one directory: they share one engine, however the older ones are still held."""

import gc
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from time import sleep

import pytest

from flagvec import StoreError
from flagvec_qdrant import QdrantEdgeStore, shared_shards

OPENS = "import sys, qdrant_edge; qdrant_edge.EdgeShard.load(sys.argv[1]).close()"


def other_process_can_open(store):
    arguments = [sys.executable, "-c", OPENS, str(store.path / "shard")]
    return subprocess.run(arguments, capture_output=True, timeout=60).returncode == 0


@pytest.fixture
def open_store(seeded, tmp_path):
    """A function that opens the store in one directory; all are closed in the end."""
    stores = []

    def make(path=tmp_path / "index", **options):
        stores.append(QdrantEdgeStore(seeded(), path, **options))
        stores[-1].create()
        return stores[-1]

    yield make
    for store in stores:
        store.close()


def test_a_second_store_object_finds_what_the_first_writes(open_store):
    first, second = open_store(), open_store()
    first.add("one two")
    assert [hit.text for hit in second.search("one")] == ["one two"]
    second.add("three")
    assert first.count() == 2


def test_one_directory_by_two_names_is_shared(open_store, tmp_path, monkeypatch):
    first = open_store()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("index")
    assert [open_store(name)._edge._shared for name in ("index", "link")] == [first._edge._shared] * 2


def test_a_cell_that_is_run_twice_opens_the_store_that_a_traceback_still_holds(seeded, tmp_path):
    def cell():
        store = QdrantEdgeStore(seeded(), tmp_path / "index")
        store.create()
        store.add("one two")
        raise KeyError(store.count())

    for _ in range(2):
        with pytest.raises(KeyError) as held:
            cell()
        assert held.value.args == (1,)


def test_the_engine_closes_with_the_last_store_object(open_store):
    first, second = open_store(), open_store()
    first.close()
    assert second.count() == 0
    assert not other_process_can_open(second)
    second.close()
    assert other_process_can_open(second)


def test_the_engine_closes_once_the_last_store_object_is_garbage(seeded, tmp_path):
    closed, forgotten = (QdrantEdgeStore(seeded(), tmp_path / "index") for _ in range(2))
    forgotten.create()
    closed.create()
    closed.close()
    forgotten.cycle = forgotten
    del forgotten
    gc.collect()
    assert other_process_can_open(closed)


def can_take_the_lock():
    taken = shared_shards.LOCK.acquire(blocking=False)
    if taken:
        shared_shards.LOCK.release()
    return taken


class Engine:
    """An engine whose `close` notes whether another thread could take the lock."""

    could_open = None

    def close(self):
        with ThreadPoolExecutor(1) as threads:
            self.could_open = threads.submit(can_take_the_lock).result()


def test_the_engine_closes_while_no_other_thread_can_open_it():
    engine = Engine()
    shared = shared_shards.SharedShard(engine)
    del shared
    assert engine.could_open is False


def test_a_store_is_opened_while_another_threads_garbage_collection_is_about_to_close_it(seeded, tmp_path):
    stores = [QdrantEdgeStore(seeded(), tmp_path / "index")]
    stores[0].create()
    stores[0].add("one two")
    with ThreadPoolExecutor(1) as threads:
        with shared_shards.LOCK:
            collecting = threads.submit(stores.clear)
            while stores:
                sleep(0.01)
            with QdrantEdgeStore(seeded(), tmp_path / "index") as again:
                assert again.count() == 1
        collecting.result()


def test_a_store_of_another_schema_is_refused_beside_an_open_one(open_store):
    first = open_store()
    with pytest.raises(StoreError, match="open it with colbert=True"):
        open_store(colbert=False)
    assert first.count() == 0


def test_a_store_object_with_an_index_of_another_type_is_refused_and_holds_nothing(open_store, seeded):
    first = open_store(filter_fields={"n": "integer"})
    with pytest.raises(StoreError, match="has an index of type 'integer'") as held:
        open_store(filter_fields={"n": "bool"})
    first.close()
    assert other_process_can_open(first), held


def test_all_who_share_a_dropped_store_hear_of_it(open_store):
    first, second = open_store(), open_store()
    second.drop()
    for use in (first.count, lambda: first.add("one"), lambda: first.search("one"), lambda: first.get("a")):
        with pytest.raises(StoreError, match=r"was dropped or deleted, .* make a new QdrantEdgeStore"):
            use()


def test_a_dropped_store_is_made_anew_beside_objects_of_the_old_one(open_store):
    old, dropping = open_store(), open_store()
    old.add("old")
    dropping.drop()
    new = open_store()
    dropping.create()
    new.add(["one", "two"])
    assert dropping.count() == 2
    old.create()
    with pytest.raises(StoreError, match="this object cannot open a new one there: make a new QdrantEdgeStore, and"):
        old.count()


def test_a_store_is_dropped_by_an_object_that_never_opened_it(open_store, seeded):
    first = open_store()
    QdrantEdgeStore(seeded(), first.path).drop()
    assert not first.path.exists()
    with pytest.raises(StoreError, match="was dropped"):
        first.count()


def test_a_directory_that_somebody_deleted_becomes_a_new_store_beside_objects_of_the_old_one(open_store, seeded):
    old = open_store()
    old.add(["one", "two"])
    shutil.rmtree(old.path)
    new = open_store()
    assert new.count() == 0
    new.add("three")
    with pytest.raises(StoreError, match="was dropped"):
        old.count()
    new.close()
    with QdrantEdgeStore(seeded(), new.path) as again:
        assert [document.text for document in again.scroll()] == ["three"]


def test_an_object_whose_directory_somebody_deleted_creates_it_again(open_store):
    store = open_store()
    store.add(["one", "two"])
    shutil.rmtree(store.path)
    store.create()
    store.add("three")
    assert store.count() == 1


def in_a_forked_child(work):
    """Return what `work` returned in a child, as text."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(writer, str(work()).encode())
        except StoreError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


@forks
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_does_not_use_the_engine_of_its_parent(open_store):
    first = open_store()
    opened = in_a_forked_child(lambda: shared_shards.acquire(first.path / "shard", "the store"))
    assert "is open in another process" in opened


@forks
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("verb", ["create", "drop", "count", "optimize"])
def test_a_forked_child_is_told_to_make_the_store_after_forking(open_store, verb):
    first = open_store()
    said = in_a_forked_child(lambda: getattr(first, verb)())
    assert f"was opened in process {os.getpid()}, from which this one, " in said
    assert "make the store after forking" in said
    assert first.count() == 0


@forks
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_that_was_forked_while_a_thread_opens_a_store_opens_its_own(open_store, seeded, tmp_path):
    with ThreadPoolExecutor(1) as threads:
        holding, release = Event(), Event()

        def hold():
            with shared_shards.LOCK:
                holding.set()
                release.wait(0.2)

        held = threads.submit(hold)
        holding.wait()

        def count():
            with QdrantEdgeStore(seeded(), tmp_path / "own") as store:
                store.create()
                return store.count()

        assert in_a_forked_child(count) == "0"
        release.set()
        held.result()
