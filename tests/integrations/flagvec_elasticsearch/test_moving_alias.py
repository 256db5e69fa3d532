"""An alias that is switched to another index while a store is open."""

import pytest

from flagvec import Document, StoreError, Weighted
from flagvec_elasticsearch import ElasticsearchStore
from flagvec_elasticsearch.client import Index

SEARCHES = [{}, {"mode": "dense"}, {"mode": "sparse"}, {"rerank": "colbert"}, {"fusion": Weighted()}]


@pytest.fixture
def pooled(seeded):
    """A function that makes models, which differ only in how they pool."""

    class Pooled(seeded):
        def __init__(self, pooling_method):
            super().__init__()
            self.pooling_method = pooling_method

    return Pooled


@pytest.fixture
def make(client, index, pooled):
    """A function that makes an index of one document, which it names, and returns the index's name."""
    made = []

    def make_index(suffix, pooling):
        made.append(f"{index}-{suffix}")
        store = ElasticsearchStore(pooled(pooling), client, made[-1])
        store.create()
        store.add(Document(suffix, "one two"))
        return made[-1]

    yield make_index
    client.indices.delete(index=made, ignore_unavailable=True)


@pytest.fixture
def live(client, index, make, pooled):
    """A store that was opened by an alias of an index of cls pooling."""
    client.indices.put_alias(index=make("first", "cls"), name=f"{index}-live")
    store = ElasticsearchStore(pooled("cls"), client, f"{index}-live")
    assert [hit.id for hit in store.search("one")] == ["first"]
    return store


@pytest.fixture
def switch(client, index):
    """A function that switches the alias to another index, in one step."""

    def switch_to(name):
        removed = {"remove": {"index": f"{index}-*", "alias": f"{index}-live"}}
        added = [{"add": {"index": name, "alias": f"{index}-live"}}] if name else []
        client.indices.update_aliases(actions=[removed, *added])

    return switch_to


def refused(first, second):
    """The pattern of an error that names both indices and both models."""
    return rf"(?s)led to '{first}' \(uuid .*leads to '{second}' \(uuid .*mean pooling.*cls pooling"


@pytest.mark.parametrize("options", SEARCHES, ids=str)
def test_a_search_in_an_index_of_another_model_is_refused(live, make, switch, options):
    second = make("second", "mean")
    switch(second)
    with pytest.raises(StoreError, match=refused(second.replace("second", "first"), second)):
        live.search("one two", **options)


def test_documents_for_an_index_of_another_model_are_refused(live, make, switch, client):
    second = make("second", "mean")
    switch(second)
    with pytest.raises(StoreError, match=refused(second.replace("second", "first"), second)):
        live.add(Document("new", "one three"))
    client.indices.refresh(index=second)
    assert client.count(index=second)["count"] == 1


def test_the_store_is_used_again_once_the_alias_is_back(live, make, switch):
    second = make("second", "mean")
    switch(second)
    with pytest.raises(StoreError):
        live.search("one two")
    switch(second.replace("second", "first"))
    assert [hit.id for hit in live.search("one")] == ["first"]


@pytest.mark.parametrize("options", SEARCHES, ids=str)
def test_searches_go_on_in_an_index_of_the_same_model(live, make, switch, options):
    switch(make("second", "cls"))
    assert [hit.id for hit in live.search("one two", **options)] == ["second"]


def test_documents_go_to_an_index_of_the_same_model(live, make, switch):
    switch(make("second", "cls"))
    live.add(Document("new", "one three"))
    assert {document.id for document in live.scroll()} == {"second", "new"}


def test_a_switch_between_two_requests_of_one_add_writes_nothing_more(live, make, switch, client, pooled, wait_for):
    second = make("second", "mean")

    class Switching(pooled):
        def encode_corpus(self, texts, **options):
            if texts[0] == "text 512":
                wait_for(514)
                switch(second)
            return super().encode_corpus(texts, **options)

    store = ElasticsearchStore(Switching("cls"), client, live.index_name)
    report = store.add([Document(str(number), f"text {number}") for number in range(1024)], on_error="report")
    assert [*report.ok] == [str(number) for number in range(512)]
    assert len(report.failed) == 512
    assert all(f"leads to '{second}'" in failed.reason for failed in report.failed)
    client.indices.refresh(index=second)
    assert client.count(index=second)["count"] == 1


def test_an_alias_that_leads_nowhere_any_more_is_refused(live, switch):
    switch(None)
    for use in (lambda: live.search("one"), lambda: live.add("one three"), live.count):
        with pytest.raises(StoreError, match=r"is gone|does not exist"):
            use()


def test_an_alias_that_is_removed_right_before_a_write_is_not_made_an_index(live, switch, client, monkeypatch):
    check = Index._refuse_another

    def check_and_remove(*arguments):
        check(*arguments)
        switch(None)

    monkeypatch.setattr(Index, "_refuse_another", check_and_remove)
    [failed] = live.add("one three", on_error="report").failed
    assert "index_not_found_exception" in failed.reason
    assert not client.indices.exists(index=live.index_name)


def test_an_alias_that_comes_to_lead_to_two_indices_is_refused(live, make, client, index):
    second = make("second", "cls")
    client.indices.put_alias(index=second, name=f"{index}-live")
    for use in (lambda: live.search("one"), lambda: live.add("one three")):
        with pytest.raises(StoreError, match=r"is an alias of .*-first, .*-second: choose one of them"):
            use()


def test_an_index_that_was_made_anew_for_another_model_is_not_written_to(make, client, pooled):
    first = make("first", "cls")
    store = ElasticsearchStore(pooled("cls"), client, first)
    assert store.count() == 1
    client.indices.delete(index=first)
    ElasticsearchStore(pooled("mean"), client, first).create()
    with pytest.raises(StoreError, match=refused(first, first)):
        store.add("one three")
    assert client.count(index=first)["count"] == 0


def test_watching_an_alias_takes_one_small_request_an_add_and_one_for_each_bulk_request(live, requests):
    live.add("one three")
    paths = [path.partition("-live")[2] for _, path in requests]
    assert paths == ["/_settings/index.uuid", "/_settings/index.uuid", "/_bulk", "/_refresh"]
    requests.clear()
    live.search("one", mode="dense")
    assert [path.partition("-live")[2] for _, path in requests] == ["/_msearch"]
