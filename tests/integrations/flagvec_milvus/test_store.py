"""A store on Milvus Lite: its file, its one process, its limits, and what it refuses."""

import base64
import logging
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime, timezone
from enum import Enum
from pathlib import PurePosixPath

import numpy as np
import pytest
from milvus_lite.server_manager import server_manager_instance
from pymilvus.exceptions import MilvusException

from flagvec import ColbertStorage, Document, StoreError, Weighted, WriteError
from flagvec.filters.portable import NativeFilter
from flagvec_milvus import MilvusStore, lite_client
from flagvec_milvus.client import CollectionClient
from flagvec_milvus.schema import Contents, Layout


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
    assert "If another process has it open, end that process, or use a Milvus server" in asked.stderr


def test_a_path_that_milvus_lite_does_not_take_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"path='.*/articles': a Milvus Lite database has a path that ends in '\.db'"):
        lite_client(tmp_path / "articles")
    with pytest.raises(StoreError, match=r"articles\.db' cannot be opened: .*not exists"):
        lite_client(tmp_path / "missing" / "articles.db")


@pytest.mark.parametrize("verb", ["count", "create"])
def test_a_closed_client_is_named(client, seeded, verb):
    client.close()
    with pytest.raises(StoreError, match=r"the collection 'articles' could not be .*: its client was closed"):
        getattr(MilvusStore(seeded(), client, "articles"), verb)()


def test_a_client_that_is_closed_later_is_named_by_every_verb(store, client):
    store.add("one")
    client.close()
    calls = (
        store.count,
        store.drop,
        lambda: store.add("two"),
        lambda: store.search("one"),
        lambda: store.get("a"),
        lambda: list(store.scroll()),
        lambda: store.delete("a"),
    )
    for call in calls:
        with pytest.raises(StoreError, match="its client was closed: make a new MilvusClient and store"):
            call()


def test_closing_a_store_leaves_the_client_open(store, client):
    store.close()
    assert client.has_collection("articles")


def test_a_collection_of_others_is_refused(client, seeded):
    client.create_collection("letters", dimension=16)
    with pytest.raises(StoreError, match="the collection 'letters' was not made by flagvec"):
        MilvusStore(seeded(), client, "letters").create()


def test_a_collection_of_others_is_not_dropped(client, seeded):
    client.create_collection("letters", dimension=16)
    with pytest.raises(StoreError, match="the collection 'letters' was not made by flagvec"):
        MilvusStore(seeded(), client, "letters").drop()
    assert client.has_collection("letters")


def test_a_dropped_store_has_no_collection(store, client):
    store.add("one")
    store.drop()
    assert not client.has_collection("articles")


def test_an_unknown_consistency_level_is_refused(client, seeded):
    with pytest.raises(ValueError, match="consistency_level='strong': choose 'Strong' or 'Session'"):
        MilvusStore(seeded(), client, "articles", consistency_level="strong")


def test_a_dense_model_gets_a_dense_collection(client, tiny_bert):
    store = MilvusStore(tiny_bert, client, "dense")
    store.create()
    store.add(["one", "two"])
    fields = [field["name"] for field in client.describe_collection("dense")["fields"]]
    assert fields == ["id", "text", "metadata", "terms", "dense"]
    assert store.search("one")[0].scores.keys() == {"dense"}


def test_what_was_written_is_in_the_file_and_not_in_memory(store, monkeypatch):
    flushes = []
    flush = store.client.flush
    monkeypatch.setattr(
        store.client, "flush", lambda *names, **options: flushes.append(names) or flush(*names, **options)
    )
    store.add(Document(str(number), f"word{number}") for number in range(600))
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


def test_a_page_is_no_larger_than_milvus_gives(store, client, seeded):
    store.add(["one", "two"])
    unbounded = MilvusStore(seeded(), client, "articles", max_limit=10**6)
    assert len(list(unbounded.scroll(batch_size=10**6))) == 2


@pytest.mark.parametrize("native", [str, NativeFilter])
def test_a_native_filter_finds_the_metadata(store, native):
    store.add([Document("a", "one", {"year": 2020}), Document("b", "two", {"year": 2021})])
    assert [hit.id for hit in store.search("one", filter=native('metadata["year"] > 2020'))] == ["b"]
    assert [document.id for document in store.scroll(native('metadata["year"] > 2020'))] == ["b"]
    assert store.count(native('text == "one"')) == 1
    store.delete(filter=native('text == "one"'))
    assert store.count() == 1


VERBS = {
    "be searched": lambda store: store.search("one", filter='nowhere == "x"'),
    "be counted": lambda store: store.count('nowhere == "x"'),
    "be read": lambda store: list(store.scroll('nowhere == "x"')),
    "be deleted from": lambda store: store.delete(filter='nowhere == "x"'),
}


@pytest.mark.parametrize("verb", VERBS)
def test_an_expression_that_milvus_refuses_is_a_store_error_in_its_words(store, verb, caplog):
    store.add("one")
    words = f"^the collection 'articles' could not {verb}: unknown field 'nowhere' at column "
    with pytest.raises(StoreError, match=words) as caught:
        VERBS[verb](store)
    assert isinstance(caught.value.__cause__, MilvusException)
    assert "\n" not in str(caught.value)
    assert not caplog.records


def test_the_log_of_the_clients_other_calls_stays(store, client, caplog):
    store.count()
    with pytest.raises(MilvusException):
        client.query("nowhere", filter="", output_fields=["id"])
    assert caplog.records


class Size(Enum):
    SMALL = "small"


def test_metadata_of_numpy_and_the_standard_library_come_back_in_jsons_types(store):
    identity = uuid.UUID(int=1)
    metadata = {
        "score": np.float64(0.5),
        "pages": np.int64(3),
        "draft": np.bool_(True),
        "day": date(2024, 5, 17),
        "moment": datetime(2024, 5, 17, 10, 30, tzinfo=timezone.utc),
        "uuid": identity,
        "path": PurePosixPath("a/b"),
        "size": Size.SMALL,
        "list": (np.float32(0.5), None),
    }
    store.add(Document("a", "one", metadata))
    assert store.get("a")[0].metadata == {
        "score": 0.5,
        "pages": 3,
        "draft": True,
        "day": "2024-05-17",
        "moment": "2024-05-17T10:30:00+00:00",
        "uuid": str(identity),
        "path": "a/b",
        "size": "small",
        "list": [0.5, None],
    }
    filter = {"score": {"lte": 0.5}, "pages": 3, "draft": True, "day": {"gt": date(2024, 5, 16)}, "size": "small"}
    assert [hit.id for hit in store.search("one", filter=filter)] == ["a"]


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


def test_a_text_that_is_too_long_is_reported_and_the_rest_is_written(store):
    long = Document("long", "x" * 65_536)
    report = store.add([Document("a", "one"), long, Document("b", "two")], on_error="report")
    assert report.ok == ("a", "b")
    assert [(failure.id, failure.retryable) for failure in report.failed] == [("long", False)]
    assert "65,536 bytes in UTF-8, and Milvus takes at most 65,535: split it" in report.failed[0].reason
    assert report.failed_documents == [long]
    assert store.count() == 2


def test_a_text_that_is_too_long_is_not_encoded(client, seeded):
    class Counting(seeded):
        texts = 0

        def encode_corpus(self, texts, **options):
            self.texts += len(texts)
            return super().encode_corpus(texts, **options)

    model = Counting()
    store = MilvusStore(model, client, "articles")
    store.create()
    store.add([Document("a", "one"), Document("long", "x" * 65_536)], on_error="report")
    assert model.texts == 1


def test_metadata_of_too_many_terms_are_reported_in_a_collection_with_a_servers_layout(client, seeded):
    store = MilvusStore(seeded(), client, "articles")
    layout = Layout(native_colbert=False, metadata_parts=True, packed_terms=False)
    CollectionClient(client, "articles", "Session").create(Contents(store.schema, layout))
    tags = [f"tag{number}" for number in range(5_000)]
    with pytest.raises(ValueError, match=r"document 'a': its metadata has 5,001 terms to filter by, .* shorten"):
        store.add([Document("a", "one", {"tags": tags})])
    report = store.add([Document("a", "one", {"tags": tags}), Document("b", "two")], on_error="report")
    assert (report.ok, [failure.id for failure in report.failed]) == (("b",), ["a"])
    assert [document.id for document in store.scroll()] == ["b"]


def test_a_document_that_milvus_refuses_does_not_take_its_request_with_it(store, monkeypatch, caplog):
    # The core checks ids, so that Milvus refuses one only if the core does not.
    monkeypatch.setattr("flagvec.store.documents.MAX_ID_BYTES", 10_000)
    documents = [Document("a", "one"), Document("x" * 600, "two"), Document("c", "three")]
    with pytest.raises(WriteError) as caught:
        store.add(documents)
    report = caught.value.report
    assert (report.ok, report.failed_documents) == (("a", "c"), [documents[1]])
    assert {record.name for record in caplog.records} == {"flagvec.store.writing"}


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
    store._backend.limits = replace(store._backend.limits, bytes=5_000)
    store.add(Document(str(number), "word " * 100) for number in range(20))
    assert len(requests) > 5
    assert (sum(requests), store.count()) == (20, 20)


def test_when_the_engine_goes_away_the_report_says_which_documents_are_in(store, path, caplog):
    limits = store._backend.limits
    store._backend.limits = replace(limits, records=10, attempts=2, first_pause=0.01, jitter=0)

    def documents():
        for number in range(30):
            if number == 15:
                while store.count() < 10:
                    time.sleep(0.01)
                server_manager_instance.release_server(path)
            yield Document(str(number), f"word{number}")

    report = store.add(documents(), timeout=2, on_error="report")
    assert report.ok == tuple(str(number) for number in range(10))
    assert [failure.id for failure in report.failed] == [str(number) for number in range(10, 30)]
    assert all(failure.retryable for failure in report.failed)
    # The engine cannot save what is in, and the report follows.
    warned = [record.name for record in caplog.records if record.levelno >= logging.WARNING]
    assert warned == ["flagvec.ingest.pipeline", "flagvec.store.writing"]


@pytest.mark.parametrize("use", [lambda store: store.count(), lambda store: store.search("one")])
def test_a_collection_that_someone_dropped_is_a_store_error(store, client, use):
    store.count()
    client.drop_collection("articles")
    with pytest.raises(StoreError, match="the collection 'articles' is gone: it was deleted or renamed"):
        use(store)


def test_an_alias_that_moves_to_a_collection_of_the_same_model_is_followed(store, client, seeded):
    blue, green = (MilvusStore(seeded(), client, name) for name in ("blue", "green"))
    for one in (blue, green):
        one.create()
        one.add(Document(one.collection_name, "one"))
    client.create_alias("blue", "live")
    live = MilvusStore(seeded(), client, "live")
    assert live.count() == 1
    client.alter_alias("green", "live")
    live.add(Document("new", "two"))
    assert [document.id for document in green.scroll()] == ["green", "new"]
    assert blue.count() == 1


def test_an_alias_that_moves_to_a_collection_of_another_model_is_refused(store, client, seeded):
    MilvusStore(seeded(dimension=8), client, "other").create()
    client.create_alias("articles", "live")
    live = MilvusStore(seeded(), client, "live")
    live.add(Document("a", "one"))
    client.alter_alias("other", "live")
    refused = r"led to the collection 'articles' \(id \d+\) .* and leads to the collection 'other' \(id \d+\) now"
    with pytest.raises(StoreError, match=refused):
        live.add(Document("b", "two"))
    assert store.count() == 1


def test_a_collection_that_was_made_anew_with_another_model_is_refused(store, client, seeded):
    store.add(Document("a", "one"))
    client.drop_collection("articles")
    MilvusStore(seeded(), client, "articles", colbert=False).create()
    with pytest.raises(StoreError, match="holds no ColBERT vectors"):
        store.add(Document("b", "two"))


def test_an_engine_that_is_away_is_a_store_error_in_one_line(store, path):
    store.count()
    server_manager_instance.release_server(path)
    with pytest.raises(StoreError, match="could not be searched: ") as caught:
        store.search("one", timeout=1)
    assert isinstance(caught.value.__cause__, MilvusException)
    assert "\n" not in str(caught.value)
    assert "debug" not in str(caught.value)


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


def test_a_collection_that_is_dropped_while_it_is_opened_is_named(store):
    # Another process can drop it after it was described.
    store._backend.drop()
    with pytest.raises(StoreError, match=r"was dropped while it was opened: call create\(\) first"):
        store._backend.open(store.schema)


@pytest.fixture
def halves(client, seeded):
    """A store on a collection as older versions made it, with ColBERT vectors in half precision."""
    store = MilvusStore(seeded(), client, "articles")
    collection = CollectionClient(client, "articles", "Session")
    collection.create(Contents.of(store.schema, collection.engine))
    return store


def test_a_collection_with_vectors_in_half_precision_is_read_and_written(halves, client):
    halves.add([Document("a", "one two"), Document("b", "three")])
    assert halves.schema.colbert_storage is None
    # A vector of 16 numbers takes 32 bytes, and two of them 88 characters.
    [row] = client.query("articles", filter="id == 'a'", output_fields=["colbert"])
    assert len(row["colbert"][0]) == 88
    hits = {hit.id: hit.score for hit in halves.search("two", rerank="colbert")}
    assert hits["a"] == pytest.approx(1.0, abs=1e-3)
    assert hits.get("b", 0.0) < 0.9


@pytest.mark.parametrize("colbert", ["native", "compact", ColbertStorage(bits=1)])
def test_a_collection_with_vectors_in_half_precision_is_opened_as_it_is_alone(halves, client, seeded, colbert):
    with pytest.raises(StoreError, match=r"in half precision, as an older flagvec did, .* open it with colbert=True"):
        MilvusStore(seeded(), client, "articles", colbert=colbert).count()


def test_milvus_lite_is_refused_for_native_vectors_before_anything_is_made(client, seeded):
    with pytest.raises(StoreError, match=r"colbert='native'.* does not compare them itself: choose colbert='compact'"):
        MilvusStore(seeded(), client, "articles", colbert="native").create()
    assert not client.has_collection("articles")


@pytest.mark.parametrize("layout", ["store", "halves"])
@pytest.mark.parametrize("parts", [["AAAA"], ["no base64"], [base64.b64encode(b"\x00\x7e" * 16).decode()]])
@pytest.mark.parametrize("search", [{"rerank": "colbert"}, {"fusion": {"dense": 1, "colbert": 1}}])
def test_damaged_colbert_vectors_end_no_search(request, client, caplog, layout, parts, search):
    store = request.getfixturevalue(layout)
    store.add([Document("a", "one two"), Document("b", "one three")])
    client.upsert("articles", [{"id": "a", "colbert": parts}], partial_update=True)
    client.flush("articles")
    hits = {hit.id: hit.scores.get("colbert") for hit in store.search("one", **search)}
    assert hits["b"] > 0
    assert not hits.get("a")
    assert "1 of the 2 candidates of a search have no usable ColBERT vectors" in caplog.text
