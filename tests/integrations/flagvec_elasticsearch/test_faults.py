"""Writes that go wrong for real: on a server that is overloaded, an index that is gone, a client that is closed.

ELASTICSEARCH_OVERLOADED_URL names a server that was started with `thread_pool.write.size=1`,
`thread_pool.write.queue_size=1`, `indexing_pressure.memory.limit=64kb` and `http.max_content_length=1mb`.
"""

import contextlib
import logging
import os
import socket
import uuid
from threading import Thread, Timer

import pytest
from elastic_transport import ConnectionError, ConnectionTimeout
from elasticsearch import BadRequestError, Elasticsearch

from flagvec import Document, StoreError, Weighted, WriteError
from flagvec.store.backend import WriteLimits
from flagvec_elasticsearch import ElasticsearchStore
from flagvec_elasticsearch.client import Index
from flagvec_elasticsearch.errors import IndexRefused
from flagvec_elasticsearch.schema import Layout, mappings

# A port that nothing listens on.
NOBODY = "http://elastic:s3cret-word@127.0.0.1:9"


@pytest.fixture
def overloaded(seeded):
    """A store on the overloaded server, in an index of more shards than its only writer can serve at once."""
    if not os.environ.get("ELASTICSEARCH_OVERLOADED_URL"):
        pytest.skip("ELASTICSEARCH_OVERLOADED_URL is not set")
    name = f"flagvec_test_{uuid.uuid4().hex}"
    with Elasticsearch(os.environ["ELASTICSEARCH_OVERLOADED_URL"], request_timeout=30) as client:
        store = ElasticsearchStore(seeded(), client, name, settings={"number_of_shards": 4})
        store._backend.limits = WriteLimits(attempts=10, first_pause=0.01, jitter=0.02)
        store.create()
        yield store
        store.drop()


@pytest.fixture
def answers(monkeypatch):
    """The failed items of each bulk request, in order."""
    seen = []
    bulk = Index.bulk

    def record(*arguments):
        seen.append(bulk(*arguments))
        return seen[-1]

    monkeypatch.setattr(Index, "bulk", record)
    return seen


def test_documents_that_the_server_postpones_are_sent_again_and_no_others(overloaded, answers):
    for batch in range(5):
        overloaded.add([Document(f"{batch}-{number}", f"word{number}") for number in range(40)]).raise_for_failures()
    postponed = [failures for failures in answers if failures]
    assert postponed, "the server took everything at once: is it the overloaded one?"
    assert all(len(failures) < 40 and all(failure.retryable for failure in failures) for failures in postponed)
    assert overloaded.count() == 200


def test_a_request_that_the_server_has_no_memory_for_is_reported_as_retryable(overloaded):
    overloaded._backend.limits = WriteLimits(attempts=2, first_pause=0.01, jitter=0.02)
    report = overloaded.add([Document("big", "word", {"filler": "x" * 100_000})], on_error="report")
    [failed] = report.failed
    assert (failed.id, failed.retryable) == ("big", True)
    assert failed.reason.startswith("429: es_rejected_execution_exception")


def test_a_document_over_what_the_server_reads_is_refused_and_the_others_are_written(overloaded):
    documents = [Document("a", "word"), Document("big", "word", {"x": "y" * 1_100_000}), Document("b", "word")]
    report = overloaded.add(documents, on_error="report")
    assert report.ok == ("a", "b")
    [failed] = report.failed
    assert (failed.id, failed.retryable) == ("big", False)
    assert failed.reason == (
        "413: the request is over the server's http.max_content_length: split the document, or raise that setting"
    )


def test_a_document_that_the_server_refuses_does_not_keep_the_others_out(client, index, store):
    good = b'{"index":{"_id":"a"}}\n{"id":"a","text":"","metadata":{}}\n'
    bad = b'{"index":{"_id":"b"}}\n{"id":"b","text":"","metadata":{},"sparse":{"7":0}}\n'
    [failed] = Index(client, index).bulk([good, bad], timeout=None)
    assert (failed.id, failed.retryable) == ("b", False)
    assert failed.reason.startswith("document_parsing_exception: ")
    assert [document.id for document in store.get(["a", "b"])] == ["a"]


def test_an_index_that_is_closed_to_writes_says_so(client, index, store):
    client.indices.put_settings(index=index, settings={"index.blocks.write": True})
    [failed] = store.add("one two", on_error="report").failed
    assert "cluster_block_exception" in failed.reason
    assert not failed.retryable
    with pytest.raises(
        StoreError, match=r"refused everything: cluster_block_exception: .*: lift the block in the index"
    ):
        store.delete("1")


def test_an_index_that_is_gone_is_not_made_anew_by_a_write(client, index, store):
    client.indices.delete(index=index)
    for write in (lambda: store.add("one two", on_error="report"), lambda: store.delete("1")):
        with pytest.raises(StoreError, match=r"is gone: it was deleted|does not exist: call create"):
            write()
    assert not client.indices.exists(index=index)


def test_an_index_that_is_deleted_between_two_requests_of_one_add_is_not_made_anew(
    client, index, store, seeded, wait_for
):
    class Deleting(seeded):
        def encode_corpus(self, texts, **options):
            if texts[0] == "text 512":
                wait_for(512)
                client.indices.delete(index=index)
            return super().encode_corpus(texts, **options)

    documents = [Document(str(number), f"text {number}") for number in range(1024)]
    report = ElasticsearchStore(Deleting(), client, index).add(documents, on_error="report")
    assert len(report.ok) == 512
    assert {(failed.reason, failed.retryable) for failed in report.failed} == {
        (f"404: index_not_found_exception: no such index [{index}]", False)
    }
    assert not client.indices.exists(index=index)


def test_an_index_that_is_closed_says_so(client, index, store):
    store.add(Document("a", "one two"))
    client.indices.close(index=index)
    with pytest.raises(StoreError, match=f"could not be read: 'a': .*: open the index, by POST /{index}/_open"):
        store.get("a")
    with pytest.raises(StoreError, match="could not be counted: 400: index_closed_exception") as caught:
        store.count()
    assert isinstance(caught.value.__cause__, BadRequestError)


def test_documents_for_a_closed_index_are_all_reported_with_what_to_do(client, index, store):
    client.indices.close(index=index)
    documents = [Document(str(number), "word") for number in range(600)]
    report = store.add(documents, on_error="report")
    assert (len(report.ok), len(report.failed)) == (0, 600)
    assert {(failed.reason, failed.retryable) for failed in report.failed} == {
        (
            f"the index {index!r} refused everything: index_closed_exception: open the index, by POST /{index}/_open",
            False,
        )
    }
    with pytest.raises(WriteError, match="open the index, by POST") as caught:
        store.add(documents)
    assert caught.value.report.failed_documents == documents


def test_an_index_that_the_disk_has_blocked_says_so(client, index, store):
    # What Elasticsearch sets by itself once the disk is over cluster.routing.allocation.disk.watermark.flood_stage.
    client.indices.put_settings(index=index, settings={"index.blocks.read_only_allow_delete": True})
    store._backend.limits = WriteLimits(attempts=2, first_pause=0.01, jitter=0.02)
    [failed] = store.add("one two", on_error="report").failed
    assert failed.reason.endswith("free disk space or add some; Elasticsearch then lifts the block by itself")
    assert failed.retryable
    client.indices.put_settings(index=index, settings={"index.blocks.read_only_allow_delete": None})
    assert store.add("one two").ok


def test_an_index_that_another_process_made_anew_meanwhile_is_not_written_to(client, index, store, new_store):
    store.add(Document("a", "one two"))
    client.indices.delete(index=index)
    new_store(dense_index="hnsw").create()
    store._opening.opened()
    with pytest.raises(IndexRefused, match=r"leads to '.*' \(uuid .*\) now, and was opened as '.*' \(uuid"):
        store._backend.write([b'{"index":{"_id":"a"}}\n{"id":"a","text":"","metadata":{}}\n'], None)
    assert client.count(index=index)["count"] == 0


def test_a_closed_client_is_named_at_once(index, store, seeded):
    client = Elasticsearch(os.environ["ELASTICSEARCH_URL"])
    other = ElasticsearchStore(seeded(), client, index)
    other.count()
    client.close()
    [failed] = other.add("one two", on_error="report").failed
    assert "Pool is closed" in failed.reason
    assert not failed.retryable
    with pytest.raises(StoreError, match=r"could not be searched: .*Pool is closed") as caught:
        other.search("one")
    assert isinstance(caught.value.__cause__, ConnectionError)


def test_closing_a_store_leaves_the_client_open(client, store):
    store.close()
    assert client.info()["version"]
    with pytest.raises(StoreError, match="was closed: make a new ElasticsearchStore"):
        store.count()


def test_no_password_is_shown(seeded, caplog):
    caplog.set_level(logging.DEBUG)
    store = ElasticsearchStore(seeded(), Elasticsearch(NOBODY, max_retries=0), "articles")
    with pytest.raises(StoreError, match="could not be created: ConnectionError") as caught:
        store.create()
    shown = f"{store!r} {caught.value} {caught.value.__cause__!r} {caplog.text}"
    assert "s3cret-word" not in shown


def test_the_callers_client_keeps_its_settings(client, store):
    before = dict(vars(client))
    store.add("one two", timeout=20)
    store.search("one", timeout=20)
    assert vars(client) == before


def test_a_scroll_that_is_left_early_frees_what_the_server_keeps_for_it(store, requests):
    store.add([Document(str(number), "word") for number in range(10)])
    scroll = store.scroll(batch_size=2)
    next(scroll)
    del scroll
    assert requests[-1] == ("DELETE", "/_pit")


def test_a_scroll_goes_beyond_what_one_search_finds(new_store, seeded):
    store = new_store(seeded(4, {"dense", "sparse"}), max_limit=20_000)
    store.create()
    store.add(Document(str(number), "word") for number in range(10_500)).raise_for_failures()
    assert len({document.id for document in store.scroll(batch_size=20_000)}) == 10_500


@pytest.fixture
def unallocated(new_store, client, index):
    """A store whose index no node holds until its setting `nowhere` is lifted; it answers 503 in parts of an answer."""
    settings = {"index.routing.allocation.require._name": "nowhere"}
    client.indices.create(
        index=index, mappings=mappings(new_store().schema, Layout()), settings=settings, wait_for_active_shards="0"
    )
    store = new_store()
    store._backend.limits = WriteLimits(first_pause=0.05, jitter=0)
    return store


@pytest.mark.parametrize("verb", ["search", "get"])
def test_a_part_of_an_answer_that_refuses_for_the_moment_is_asked_for_again(unallocated, client, index, verb):
    use = {
        "search": lambda: unallocated.search("one", mode="dense", timeout=20),
        "get": lambda: unallocated.get("a", timeout=20),
    }[verb]
    lift = Timer(
        0.3,
        lambda: client.indices.put_settings(index=index, settings={"index.routing.allocation.require._name": None}),
    )
    lift.start()
    assert not use()
    lift.join()


def test_a_part_of_an_answer_that_goes_on_refusing_says_how_often_it_was_asked_for(unallocated):
    with pytest.raises(StoreError, match=r"could not be searched: 503: .* \(tried \d+ times in"):
        unallocated.search("one", mode="dense", timeout=1)


def test_a_timeout_holds_also_if_the_client_repeats_what_took_too_long(seeded):
    connections = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    connections.append(server.accept())

        Thread(target=accept, daemon=True).start()
        client = Elasticsearch(url, retry_on_timeout=True, max_retries=3)
        with client, pytest.raises(ConnectionTimeout):
            Index(client, "silent").count(None, 0.1)
        server.shutdown(socket.SHUT_RDWR)
    for connection, _ in connections:
        connection.close()
    assert len(connections) == 1


def test_all_requests_of_a_search_share_its_timeout(store, monkeypatch):
    store.add(["one two", "three"])
    given, within = [], Index._within
    monkeypatch.setattr(Index, "_within", lambda index, timeout: given.append(timeout) or within(index, timeout))
    store.search("two", fusion={"dense": 1.0, "sparse": 1.0}, timeout=20)
    assert len(given) == 3
    assert 20 >= given[0] > given[1] > given[2]
    given.clear()
    store.search("two", fusion=Weighted(), timeout=20)
    assert len(given) >= 3
    assert all(20 >= one > 15 for one in given)
