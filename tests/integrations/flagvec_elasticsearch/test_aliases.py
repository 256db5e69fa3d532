"""Switching an alias to a store."""

import pytest

from flagvec import Document, StoreError
from flagvec_elasticsearch import ElasticsearchStore


@pytest.fixture
def made(client, index, seeded):
    """A function that makes a store of one document, whose id is the end of the store's name."""
    names = []

    def make(suffix):
        names.append(f"{index}-{suffix}")
        store = ElasticsearchStore(seeded(), client, names[-1])
        store.create()
        store.add(Document(suffix, "one two"))
        return store

    yield make
    client.indices.delete(index=names, ignore_unavailable=True)


@pytest.fixture
def live(index):
    return f"{index}-live"


def test_an_alias_is_made_if_there_is_none(made, index, live):
    store = made("first")
    assert store.leads_to(live) is None
    store.switch_alias(live)
    assert store.leads_to(live) == f"{index}-first"


def test_an_alias_is_taken_from_the_store_that_has_it_in_one_request(made, client, live, seeded, requests):
    made("first").switch_alias(live)
    second = made("second")
    requests.clear()
    second.switch_alias(live)
    assert [one for one in requests if one[0] == "POST"] == [("POST", "/_aliases")]
    assert [one.id for one in ElasticsearchStore(seeded(), client, live).scroll()] == ["second"]


def test_a_name_of_an_index_is_no_alias(made, index):
    made("first")
    with pytest.raises(StoreError, match="because an index has this name: choose another alias"):
        made("second").switch_alias(f"{index}-first")


def test_an_alias_of_several_indices_is_refused(made, client, index, live):
    store = made("first")
    made("second")
    client.indices.put_alias(index=f"{index}-*", name=live)
    with pytest.raises(StoreError, match=f"is an alias of {index}-first, {index}-second: choose one of them"):
        store.switch_alias(live)
