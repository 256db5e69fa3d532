"""A refresh that fails after all documents were written: they stay in the report of what `add` raises."""

from dataclasses import replace

import pytest
from elasticsearch import Elasticsearch

from flagvec import Document, StoreError
from flagvec_elasticsearch import ElasticsearchStore

DOCUMENTS = [Document(str(number), f"word{number}") for number in range(5)]


@pytest.fixture
def proxies(load_module, request):
    return load_module(request.path.parent.parent / "faulty_proxy.py")


@pytest.fixture
def behind(client, index, store, seeded, proxies):
    """A function that makes a store behind a proxy, given what happens before each refresh is passed on."""
    opened = []

    def make(before_refresh):
        proxy = proxies.FaultyProxy(
            client.transport.node_pool.get().base_url,
            lambda method, path: before_refresh() if path.endswith("/_refresh") else None,
        )
        opened.append(proxy.__enter__())
        made = ElasticsearchStore(seeded(), Elasticsearch(proxy.url, max_retries=0, request_timeout=10), index)
        made._backend.limits = replace(made._backend.limits, first_pause=0.01, jitter=0.01)
        return made

    yield make
    for proxy in opened:
        proxy.__exit__()


def refused(store):
    """Return the report that a refused `add` carries."""
    with pytest.raises(StoreError, match="could not be flushed") as caught:
        store.add(DOCUMENTS, timeout=1)
    return caught.value.report


def test_an_index_that_is_closed_before_the_refresh_leaves_the_report(client, index, behind):
    store = behind(lambda: client.indices.close(index=index) and None)
    report = refused(store)
    assert (report.ok, report.failed) == (tuple("01234"), ())
    client.indices.open(index=index)
    assert store.count() == 5


def test_an_index_that_is_deleted_before_the_refresh_leaves_the_report(client, index, behind):
    store = behind(lambda: client.indices.delete(index=index, ignore_unavailable=True) and None)
    with pytest.raises(StoreError, match="is gone") as caught:
        store.add(DOCUMENTS)
    assert caught.value.report.ok == tuple("01234")
    assert not client.indices.exists(index=index)


@pytest.mark.parametrize("kind", ["UNAVAILABLE", "LOST_REQUEST", "LOST_ANSWER"])
def test_a_refresh_that_the_server_refuses_for_the_moment_is_repeated(behind, proxies, kind):
    plan = [proxies.Fault[kind]] * 3
    store = behind(lambda: plan.pop() if plan else None)
    assert store.add(DOCUMENTS).ok == tuple("01234")
    assert not plan
    assert store.count() == 5


@pytest.mark.parametrize("kind", ["UNAVAILABLE", "LOST_REQUEST"])
def test_a_server_that_stays_away_before_the_refresh_leaves_the_report(behind, proxies, kind, store):
    report = refused(behind(lambda: proxies.Fault[kind]))
    assert (report.ok, report.failed) == (tuple("01234"), ())
    assert [document.id for document in store.get(list("01234"))] == list("01234")
