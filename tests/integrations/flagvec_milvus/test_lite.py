"""What is Milvus Lite's own: its file, its one process, and the limits that a store takes care of."""

import logging
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from milvus_lite.server_manager import server_manager_instance
from pymilvus.exceptions import MilvusException

from flagvec import Document, StoreError, Weighted
from flagvec.filters.portable import NativeFilter
from flagvec_milvus import MilvusStore, lite_client


@pytest.fixture
def path(tmp_path):
    """The path of a database, whose engine ends after the test."""
    path = str(tmp_path / "articles.db")
    yield path
    server_manager_instance.release_server(path)


@pytest.fixture
def client(path):
    client = lite_client(path)
    yield client
    client.close()


@pytest.fixture
def store(client, seeded):
    store = MilvusStore(seeded(), client, "articles")
    store.create()
    return store


def test_documents_are_there_when_the_file_is_opened_again(store, client, seeded, path):
    store.add(Document("a", "one two", {"n": 1}))
    client.close()
    server_manager_instance.release_server(path)
    again = MilvusStore(seeded(), lite_client(path), "articles")
    (hit,) = again.search("one", rerank="colbert", filter={"n": 1})
    assert (hit.id, hit.text, hit.metadata) == ("a", "one two", {"n": 1})


def test_a_second_process_is_told_who_has_the_file(store, path):
    code = f"from flagvec_milvus import lite_client; lite_client({path!r})"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert asked.returncode == 1
    assert "flagvec.errors.StoreError: the Milvus Lite database" in asked.stderr
    assert "If another process has it open, end that one, or use a Milvus server" in asked.stderr


def test_a_path_that_milvus_lite_does_not_take_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"takes a path that ends in '\.db'"):
        lite_client(tmp_path / "articles")
    with pytest.raises(StoreError, match=r"articles\.db' cannot be opened: .*not exists"):
        lite_client(tmp_path / "missing" / "articles.db")


@pytest.mark.parametrize("verb", ["count", "create"])
def test_a_closed_client_is_named(client, seeded, verb):
    client.close()
    with pytest.raises(StoreError, match="the client of the collection 'articles' was closed: make a new MilvusClient"):
        getattr(MilvusStore(seeded(), client, "articles"), verb)()


def test_a_client_that_is_closed_later_is_named_by_every_verb(store, client):
    store.add("one")
    client.close()
    for call in (store.count, lambda: store.add("two"), lambda: store.search("one"), lambda: store.delete("a")):
        with pytest.raises(StoreError, match="was closed"):
            call()


def test_closing_a_store_leaves_the_client_open(store, client):
    store.close()
    assert client.has_collection("articles")


def test_a_collection_of_others_is_refused(client, seeded):
    client.create_collection("letters", dimension=16)
    with pytest.raises(StoreError, match="the collection 'letters' was not made by flagvec"):
        MilvusStore(seeded(), client, "letters").create()


def test_an_unknown_consistency_level_is_refused(client, seeded):
    with pytest.raises(ValueError, match="consistency_level='strong': choose 'Strong' or 'Session'"):
        MilvusStore(seeded(), client, "articles", consistency_level="strong")


def test_a_dense_model_gets_a_dense_collection(client, tiny_bert):
    store = MilvusStore(tiny_bert, client, "dense")
    store.create()
    store.add(["one", "two"])
    fields = [field["name"] for field in client.describe_collection("dense")["fields"]]
    assert fields == ["id", "text", "metadata", "terms", "dense"]
    assert store.capabilities.max_multivector_rows is None
    assert store.search("one")[0].scores.keys() == {"dense"}


def test_what_was_written_is_in_the_file_and_not_in_memory(store, monkeypatch):
    flushes = []
    flush = store.client.flush
    monkeypatch.setattr(
        store.client, "flush", lambda *names, **options: flushes.append(names) or flush(*names, **options)
    )
    store.add(Document(str(number), f"word{number}") for number in range(600))
    store.add([])
    store.delete("1")
    assert flushes == [("articles",), ("articles",)]


def test_a_filter_that_holds_for_few_finds_them_all(store, client, seeded, path):
    store.add(Document(str(number), f"word{number}", {"rare": number % 500 == 0}) for number in range(2_000))
    client.close()
    # Opened again, the engine searches by its index, which it makes at leisure while it is open.
    server_manager_instance.release_server(path)
    again = MilvusStore(seeded(), lite_client(path), "articles")
    for query in ("word7", "word8", "word9"):
        found = again.search(query, mode="dense", filter={"rare": True}, limit=100)
        assert {hit.id for hit in found} == {"0", "500", "1000", "1500"}


def test_all_documents_are_scrolled_once_whatever_their_ids(store):
    names = [f"{quote}{number}" for number in range(40) for quote in ("'", '"', "\\", "\n", "米", "😀", "a")]
    store.add(Document(name, "one", {"even": number % 2 == 0}) for number, name in enumerate(names))
    assert [document.id for document in store.scroll(batch_size=7)] == sorted(names)
    assert [document.id for document in store.scroll({"even": True}, batch_size=7)] == sorted(names[::2])


def test_a_page_is_no_larger_than_milvus_gives(store):
    store.add(["one", "two"])
    assert len(list(store.scroll(batch_size=1_000_000))) == 2


def test_a_native_filter_finds_the_metadata(store):
    store.add([Document("a", "one", {"year": 2020}), Document("b", "two", {"year": 2021})])
    assert [hit.id for hit in store.search("one", filter=NativeFilter('metadata["year"] > 2020'))] == ["b"]
    assert store.count(NativeFilter('text == "one"')) == 1


@pytest.mark.parametrize("beyond", [0, 1, 8])
def test_a_tie_at_the_end_of_a_fused_search_is_cut_alike_however_far_is_looked(store, monkeypatch, beyond):
    monkeypatch.setattr("flagvec.search.ties._BEYOND_LAST", beyond)
    words = [f"word{number}" for number in range(30)]
    store.add(Document(f"{number:02}", " ".join(words[:number])) for number in range(1, 30))
    everything = store.search(" ".join(words), 25, candidates=25)
    scores = [hit.score for hit in everything]
    assert len(set(scores)) < len(scores)
    for limit in range(1, len(everything) + 1):
        assert store.search(" ".join(words), limit, candidates=25) == everything[:limit]


def test_a_text_that_is_too_long_is_refused_before_anything_is_sent(store):
    with pytest.raises(ValueError, match="document 'long': the text has 65,536 bytes in UTF-8"):
        store.add([Document("short", "one"), Document("long", "x" * 65_536)])
    assert store.count() == 0


def test_a_text_of_as_many_bytes_as_milvus_takes_comes_back(store):
    text = "米" * 21_845
    store.add(Document("a", text))
    assert store.get("a")[0].text == text


@pytest.mark.parametrize(
    ("first", "options"), [("search", {"fusion": Weighted(1, 1, 0)}), ("hybrid_search", {"explain": True})]
)
def test_documents_that_are_gone_by_the_time_they_are_fetched_are_no_hits(store, monkeypatch, first, options):
    store.add([Document("a", "one"), Document("b", "one two")])
    search = getattr(store.client, first)

    def search_and_delete(*arguments, **options):
        answer = search(*arguments, **options)
        store.client.delete("articles", filter='id == "a"')
        return answer

    monkeypatch.setattr(store.client, first, search_and_delete)
    assert [hit.id for hit in store.search("one", **options)] == ["b"]


def test_a_write_is_split_into_requests_of_bounded_size(store, monkeypatch):
    requests = []
    upsert = store.client.upsert
    monkeypatch.setattr(store.client, "upsert", lambda *a, **o: requests.append(len(o["data"])) or upsert(*a, **o))
    monkeypatch.setattr(MilvusStore, "_MAX_REQUEST_BYTES", 10_000)
    store.add(Document(str(number), "word " * 100) for number in range(20))
    assert len(requests) > 5
    assert (sum(requests), store.count()) == (20, 20)


def test_when_the_engine_goes_away_the_report_says_which_documents_are_in(store, path, monkeypatch, caplog):
    monkeypatch.setattr(MilvusStore, "_MAX_REQUEST_RECORDS", 10)
    monkeypatch.setattr(MilvusStore, "_BACKOFF", MilvusStore._BACKOFF.__class__(attempts=2, first_pause=0.01, jitter=0))

    def documents():
        for number in range(30):
            if number == 15:
                while store.count() < 10:
                    time.sleep(0.01)
                server_manager_instance.release_server(path)
            yield Document(str(number), f"word{number}")

    report = store.add(documents(), timeout=2)
    assert report.ok == tuple(str(number) for number in range(10))
    assert [failure.id for failure in report.failed] == [str(number) for number in range(10, 30)]
    assert all(failure.retryable for failure in report.failed)
    assert [record.name for record in caplog.records if record.levelno >= logging.WARNING] == ["flagvec.store.verbs"]


def test_errors_of_the_engine_pass_through(store, client):
    store.count()
    client.drop_collection("articles")
    with pytest.raises(MilvusException, match="articles"):
        store.count()


def test_threads_read_and_write_one_collection(store):
    def work(number):
        for turn in range(10):
            store.add(Document(f"{number}-{turn}", f"shared word{number}"))
            assert len(store.search(f"word{number}", mode="sparse", limit=20)) == turn + 1

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert store.count() == 40


def test_the_representation_names_model_and_collection_and_no_secret(client, seeded):
    assert repr(MilvusStore(seeded(), client, "articles")) == "MilvusStore('seeded', 'articles')"
