"""Writes that go wrong for real: on a server that is overloaded, an index that is gone, a client that is closed.

ELASTICSEARCH_OVERLOADED_URL names a server that was started with `thread_pool.write.size=1`,
`thread_pool.write.queue_size=1`, `indexing_pressure.memory.limit=64kb` and `http.max_content_length=1mb`.
"""

import logging
import os
import uuid

import pytest
from elastic_transport import ConnectionError
from elasticsearch import BadRequestError, Elasticsearch, NotFoundError

from flagvec import Document, StoreError
from flagvec.store.backend import WriteLimits
from flagvec_elasticsearch import ElasticsearchStore
from flagvec_elasticsearch.client import Index

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
    with pytest.raises(StoreError, match="could not be deleted from: '1': cluster_block_exception"):
        store.delete("1")


def test_an_index_that_is_gone_is_not_made_anew_by_a_write(client, index, store):
    client.indices.delete(index=index)
    report = store.add([Document(str(number), "word") for number in range(300)], on_error="report")
    assert (len(report.ok), len(report.failed)) == (0, 300)
    assert {(failed.reason, failed.retryable) for failed in report.failed} == {
        (f"404: index_not_found_exception: no such index [{index}]", False)
    }
    with pytest.raises(StoreError, match=f"could not be deleted from: 404: .*no such index .{index}") as caught:
        store.delete("1")
    assert isinstance(caught.value.__cause__, NotFoundError)
    assert not client.indices.exists(index=index)


def test_an_index_that_is_closed_says_so(client, index, store):
    store.add(Document("a", "one two"))
    client.indices.close(index=index)
    with pytest.raises(StoreError, match="could not be read: 'a': index_closed_exception"):
        store.get("a")
    with pytest.raises(StoreError, match="could not be counted: 400: index_closed_exception") as caught:
        store.count()
    assert isinstance(caught.value.__cause__, BadRequestError)


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
