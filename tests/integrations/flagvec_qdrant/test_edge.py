import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import qdrant_edge as engine

from flagvec import ColbertStorage, Document, StoreError, WriteError
from flagvec_qdrant import QdrantEdgeStore, edge, edge_files, edge_models

# A process of its own that opens the store at argv[1] with a model that gives two-dimensional vectors.
PREAMBLE = """
import os, signal, sys
import numpy as np
from flagvec import Document, StoreError
from flagvec_qdrant import QdrantEdgeStore

class Model:
    model_name_or_path, representations, dimension, colbert_dimension = "two", frozenset({"dense"}), 2, None
    def encode_corpus(self, texts, convert_to_numpy=True):
        angles = np.array([len(text) for text in texts], np.float32)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)
    encode_queries = encode_corpus

store = QdrantEdgeStore(Model(), sys.argv[1])
"""


def run(code, path):
    return subprocess.run(
        [sys.executable, "-c", PREAMBLE + code, str(path)], capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def store(seeded, tmp_path):
    with QdrantEdgeStore(seeded(), tmp_path / "index") as store:
        store.create()
        yield store


def test_what_was_added_survives_the_death_of_its_process(tmp_path):
    dying = run(
        "store.create(); store.add([Document(str(n), 'x' * n) for n in range(1, 500)]); "
        "store.delete(['7']); os.kill(os.getpid(), signal.SIGKILL)",
        tmp_path,
    )
    assert dying.returncode == -9, dying.stderr
    reading = run("print(store.count(), store.get('9')[0].text, store.search('x' * 20)[0].id)", tmp_path)
    assert reading.stdout.split() == ["498", "x" * 9, "20"], reading.stderr


def test_a_store_is_read_in_another_process_once_it_is_closed(tmp_path):
    assert run("store.create(); store.add(['a', 'bb']); store.close()", tmp_path).returncode == 0
    assert run("print(store.count())", tmp_path).stdout.strip() == "2"


def test_a_second_process_is_refused_while_a_store_is_open(store):
    second = run(
        "store._opening._wanted = store.schema.__class__('seeded', 16, True, 16)\n"
        "try: store.count()\nexcept StoreError as error: print(error)",
        store.path,
    )
    assert "is open in another process: close it there first" in second.stdout, second.stderr


def test_a_second_process_that_is_refused_does_no_harm(store, seeded):
    for number in range(3):
        store.add([Document(f"{number}-{one}", "text") for one in range(100)])
        second = run("try: store._edge.open(None)\nexcept StoreError as error: print(error)", store.path)
        assert "is open in another process" in second.stdout, second.stderr
    store.close()
    with QdrantEdgeStore(seeded(), store.path) as again:
        assert again.count() == 300


def test_a_closed_store_is_opened_again(store, seeded):
    store.add("one two")
    store.close()
    with QdrantEdgeStore(seeded(), store.path) as again:
        assert again.search("one")[0].text == "one two"


def test_threads_share_a_store(store):
    def work(number):
        for turn in range(10):
            store.add(Document(f"{number}-{turn}", f"shared word{number}"))
            assert len(store.search(f"word{number}", mode="sparse", limit=20)) == turn + 1

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert store.count() == 40


def test_threads_may_open_a_store_together(store, seeded):
    store.add("one two")
    store.close()
    with QdrantEdgeStore(seeded(), store.path) as again, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: again.count(), range(8))) == [1] * 8


def test_threads_may_create_a_store_together(seeded, tmp_path):
    for turn in range(5):
        stores = [QdrantEdgeStore(seeded(), tmp_path / f"index{turn}") for _ in range(8)]
        together = Barrier(len(stores))

        def create(store, together=together):
            together.wait()
            store.create()
            store.add("one two")

        with ThreadPoolExecutor(len(stores)) as threads:
            list(threads.map(create, stores))
        assert [store.count() for store in stores] == [1] * len(stores)
        for store in stores:
            store.close()


def test_processes_may_create_a_store_together(tmp_path):
    # Each waits until all have begun.
    code = (
        "from pathlib import Path\nfrom time import sleep\n"
        "(Path(sys.argv[1]).parent / f'{os.getpid()}.ready').touch()\n"
        "while len(list(Path(sys.argv[1]).parent.glob('*.ready'))) < 4: sleep(0.001)\n"
        "try: store.create(); store.add('one two')\n"
        "except StoreError as error: assert 'is open in another process' in str(error), error\n"
        "else: print('added')"
    )
    with ThreadPoolExecutor(4) as threads:
        processes = list(threads.map(lambda _: run(code, tmp_path / "index"), range(4)))
    assert [process.returncode for process in processes] == [0] * 4, [process.stderr for process in processes]
    assert "added" in {process.stdout.strip() for process in processes}
    assert run("print(store.count())", tmp_path / "index").stdout.strip() == "1"


def test_a_directory_with_other_files_is_not_taken_for_a_store(seeded, tmp_path):
    (tmp_path / "letter.txt").write_text("dear reader")
    with pytest.raises(StoreError, match="holds files that flagvec did not make: choose another path"):
        QdrantEdgeStore(seeded(), tmp_path).create()
    assert [file.name for file in tmp_path.iterdir()] == ["letter.txt"]


def test_a_file_is_not_taken_for_a_store(seeded, tmp_path):
    (tmp_path / "letter.txt").write_text("dear reader")
    with pytest.raises(StoreError, match="flagvec did not make"):
        QdrantEdgeStore(seeded(), tmp_path / "letter.txt").create()


def test_an_empty_directory_becomes_a_store(seeded, tmp_path):
    with QdrantEdgeStore(seeded(), str(tmp_path)) as store:
        store.create()
        assert store.count() == 0


def test_a_store_whose_creation_was_cut_short_is_created_again(seeded, tmp_path):
    with QdrantEdgeStore(seeded(), tmp_path) as whole:
        whole.create()
    (tmp_path / "shard").rename(tmp_path / "shard.new")
    with QdrantEdgeStore(seeded(), tmp_path) as store:
        with pytest.raises(StoreError, match="does not exist"):
            store.count()
        store.create()
        assert store.count() == 0


@pytest.mark.parametrize("content", ["", '{"made_by": "flag'])
@pytest.mark.parametrize("file", ["flagvec.json", "flagvec.json.new"])
def test_a_store_whose_description_was_cut_short_is_created_again(seeded, tmp_path, file, content):
    (tmp_path / file).write_text(content)
    with QdrantEdgeStore(seeded(), tmp_path) as store:
        store.create()
        assert store.count() == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["flagvec.json", "shard"]


DAMAGED = ["", "{", "[]", "null", '{"layout": 1}', '{"layout": 1, "schema": {"model": "x"}}']


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_description_is_restored_from_the_copy_beside_the_documents(store, seeded, content):
    store.add("one two")
    store.close()
    description = store.path / "flagvec.json"
    whole = description.read_text()
    description.write_text(content)
    with QdrantEdgeStore(seeded(), store.path) as again:
        assert [hit.text for hit in again.search("one")] == ["one two"]
    assert description.read_text() == whole


def test_a_missing_description_is_restored_from_the_copy_beside_the_documents(store, seeded):
    store.close()
    description = store.path / "flagvec.json"
    whole = description.read_text()
    description.unlink()
    QdrantEdgeStore(seeded(), store.path).create()
    assert description.read_text() == whole


def test_a_restored_description_says_how_codes_are_made(seeded, tmp_path):
    with QdrantEdgeStore(seeded(), tmp_path, colbert=ColbertStorage(bits=2, pool=2)) as store:
        store.create()
        store.add(["one two", "three"])
        expected = store.search("one", rerank="colbert")
    (tmp_path / "flagvec.json").write_text("")
    with QdrantEdgeStore(seeded(), tmp_path) as again:
        assert again.search("one", rerank="colbert") == expected
        assert again.schema.colbert_storage == ColbertStorage(bits=2, pool=2)


def test_versions_that_know_no_codes_refuse_a_store_of_codes_by_its_number(seeded, tmp_path):
    with QdrantEdgeStore(seeded(), tmp_path, colbert="compact") as store:
        store.create()
    assert json.loads((tmp_path / "flagvec.json").read_text())["version"] == 2


@pytest.mark.parametrize("content", DAMAGED)
def test_without_a_copy_the_dimensions_come_from_the_engine(store, seeded, caplog, content):
    store.add("one two")
    store.close()
    (store.path / "shard" / "flagvec.json").unlink()
    (store.path / "flagvec.json").write_text(content)
    with QdrantEdgeStore(seeded(), store.path) as again:
        assert [hit.text for hit in again.search("one")] == ["one two"]
    assert "the model that made the store is not known" in caplog.text
    with pytest.raises(StoreError, match="holds dense vectors of 16 dimensions"):
        QdrantEdgeStore(seeded(dimension=8), store.path).count()


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_description_is_refused_by_its_file_if_nothing_else_says_what_the_store_holds(store, seeded, content):
    store.close()
    (store.path / "shard" / "flagvec.json").unlink()
    (store.path / "shard" / "edge_config.json").write_text("{")
    (store.path / "flagvec.json").write_text(content)
    with pytest.raises(StoreError, match=r"flagvec\.json' is damaged"):
        QdrantEdgeStore(seeded(), store.path).count()


def test_a_layout_of_a_later_version_is_refused(store, seeded):
    store.close()
    description = store.path / "flagvec.json"
    description.write_text(json.dumps(json.loads(description.read_text()) | {"version": 3}))
    with pytest.raises(StoreError, match="has layout 3; this version of flagvec reads layouts 1 and 2: update flagvec"):
        QdrantEdgeStore(seeded(), store.path).count()


def test_damaged_data_are_refused_with_the_engines_words(store, seeded):
    store.close()
    (store.path / "shard" / "edge_config.json").write_text("{")
    with pytest.raises(StoreError, match=r"the store at .* cannot be opened: "):
        QdrantEdgeStore(seeded(), store.path).count()


def test_the_description_says_who_made_the_store_and_how(store):
    description = json.loads((store.path / "flagvec.json").read_text())
    assert description == {"made_by": "flagvec", "version": 1, "schema": store.schema.to_json()}


def test_a_store_of_a_former_version_is_opened(store, seeded):
    store.add("one two")
    store.close()
    schema = {"model": "seeded", "dimension": 16, "sparse": True, "colbert_dimension": 16}
    (store.path / "flagvec.json").write_text(json.dumps({"layout": 1, "schema": schema}))
    with QdrantEdgeStore(seeded(), store.path) as again:
        assert [hit.text for hit in again.search("one")] == ["one two"]


def test_a_description_of_another_program_is_refused(store, seeded):
    store.close()
    (store.path / "flagvec.json").write_text('{"made_by": "another"}')
    with pytest.raises(StoreError, match="was not made by flagvec: choose another path"):
        QdrantEdgeStore(seeded(), store.path).create()


def test_a_native_filter_is_taken_as_it_is(store):
    store.add([Document("a", "text", {"n": 1}), Document("b", "text", {"n": 2})])
    condition = engine.FieldCondition("metadata.n", match=engine.MatchValue(2))
    assert [hit.id for hit in store.search("text", filter=engine.Filter(must=[condition]))] == ["b"]
    assert store.count(engine.Filter(must_not=[condition])) == 1


@pytest.mark.parametrize("empty", [engine.Filter(), engine.Filter(must=[], should=[])])
def test_an_empty_native_filter_deletes_nothing(store, empty):
    store.add(["one", "two"])
    with pytest.raises(ValueError, match=r"filter=Filter\(\): an empty filter holds for every document: .* drop\(\)"):
        store.delete(filter=empty)
    assert store.count() == 2


def test_what_the_engine_refuses_is_a_store_error_with_its_words(store):
    store.count()
    store._edge._shard.close()
    with pytest.raises(StoreError, match=r"could not be counted: .*not initialized") as raised:
        store.count()
    assert type(raised.value.__cause__) is Exception
    with pytest.raises(WriteError, match="not initialized"):
        store.add("text")


def test_dropping_deletes_the_directory(store):
    store.add("one")
    store.drop()
    assert not store.path.exists()


def test_a_damaged_store_is_dropped(store, seeded):
    store.close()
    (store.path / "shard" / "edge_config.json").write_text("{")
    QdrantEdgeStore(seeded(), store.path).drop()
    assert not store.path.exists()


def test_dropping_leaves_the_files_of_others(store):
    (store.path / "letter.txt").write_text("dear reader")
    store.drop()
    assert [file.name for file in store.path.iterdir()] == ["letter.txt"]


def test_a_store_that_is_open_in_another_process_is_not_dropped(store):
    other = run(
        "try: store.drop()\nexcept StoreError as error: print(error)",
        store.path,
    )
    assert "is open in another process" in other.stdout, other.stderr
    assert store.count() == 0


def test_optimizing_changes_no_hit(store):
    store.add(Document(str(number), f"word{number} shared") for number in range(500))
    store.delete(str(number) for number in range(100))
    before = [store.search(f"word{number}", rerank="colbert") for number in range(90, 110)]
    store.optimize()
    after = [store.search(f"word{number}", rerank="colbert") for number in range(90, 110)]
    assert before == after
    assert store.count() == 400


# The engine builds no index for less than 10 MB of vectors.
MANY, WIDE = 1_400, 2_048


def indexed(store):
    return edge_models.indexed_documents(store._edge._shard, store.schema)


@pytest.mark.parametrize("representations", [{"dense", "sparse"}, {"dense", "sparse", "colbert"}], ids=len)
def test_an_add_of_many_documents_ends_with_an_index(tmp_path, seeded, monkeypatch, representations):
    model = seeded(WIDE, representations)
    with QdrantEdgeStore(model, tmp_path / "store") as store:
        store.create()
        store.add(Document(str(number), f"word{number}") for number in range(MANY - 100))
        assert indexed(store) == 0
        monkeypatch.setattr(edge, "MOST_UNINDEXED_BYTES", 4 * WIDE * (MANY - 1))
        store.add(Document(str(number), f"word{number}") for number in range(MANY - 100, MANY))
        assert indexed(store) == MANY
        assert [hit.text for hit in store.search("word7", 1, mode="dense")] == ["word7"]


def test_without_auto_optimize_only_optimize_builds_an_index(tmp_path, seeded, monkeypatch):
    monkeypatch.setattr(edge, "MOST_UNINDEXED_BYTES", 0)
    with QdrantEdgeStore(seeded(WIDE), tmp_path / "store", auto_optimize=False) as store:
        store.create()
        store.add(Document(str(number), f"word{number}") for number in range(MANY))
        assert indexed(store) == 0
        store.optimize()
        assert indexed(store) == MANY


def test_auto_optimize_takes_a_bool_only(tmp_path, seeded):
    with pytest.raises(TypeError, match="auto_optimize takes True or False, not str"):
        QdrantEdgeStore(seeded(), tmp_path / "store", auto_optimize="no")


@pytest.mark.parametrize("beyond", [0, 1, 8])
def test_a_tie_at_the_end_of_a_fused_search_is_cut_alike_however_far_is_looked(tmp_path, seeded, monkeypatch, beyond):
    monkeypatch.setattr("flagvec.search.ties._BEYOND_LAST", beyond)
    with QdrantEdgeStore(seeded(), tmp_path / "store") as store:
        store.create()
        words = [f"word{number}" for number in range(60)]
        store.add(Document(f"{number:02}", " ".join(words[:number])) for number in range(1, 60))
        everything = store.search(" ".join(words), 50, candidates=50)
        scores = [hit.score for hit in everything]
        assert len(set(scores)) < len(scores)
        for limit in range(1, len(everything) + 1):
            assert store.search(" ".join(words), limit, candidates=50) == everything[:limit]


def test_a_store_that_was_made_anew_syncs_the_names_of_its_files_too(store, monkeypatch):
    store.add("text")
    store.drop()
    store.create()
    synced, sync = set(), edge_files._sync
    monkeypatch.setattr(edge_files, "_sync", lambda path: synced.add(path) or sync(path))
    store.add("text")
    assert store.path / "shard" / "wal" in synced
