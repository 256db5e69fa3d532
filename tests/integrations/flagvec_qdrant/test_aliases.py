"""Switching an alias to a store, in local mode and on a server."""

import pytest

from flagvec import Document, StoreError
from flagvec_qdrant import QdrantStore


@pytest.fixture
def made(any_client, place, seeded):
    """A function that makes a store of one document, whose id is the store's name."""

    def make(name):
        store = QdrantStore(seeded(), any_client, place(name))
        store.create()
        store.add(Document(name, "one two"))
        return store

    return make


def test_an_alias_is_made_if_there_is_none(made, place):
    store = made("first")
    assert store.leads_to(place("live")) is None
    store.switch_alias(place("live"))
    assert store.leads_to(place("live")) == place("first")


def test_an_alias_is_taken_from_the_store_that_has_it(made, place, any_client, seeded):
    made("first").switch_alias(place("live"))
    live = QdrantStore(seeded(), any_client, place("live"))
    assert [one.id for one in live.scroll()] == ["first"]
    made("second").switch_alias(place("live"))
    assert QdrantStore(seeded(), any_client, place("live")).get("second")


def test_switching_to_the_same_store_again_changes_nothing(made, place):
    store = made("first")
    store.switch_alias(place("live"))
    store.switch_alias(place("live"))
    assert store.leads_to(place("live")) == place("first")


def test_a_store_that_was_opened_by_an_alias_gives_its_collection_another(made, place, any_client, seeded):
    made("first").switch_alias(place("live"))
    live = QdrantStore(seeded(), any_client, place("live"))
    live.switch_alias(place("second"))
    assert live.leads_to(place("second")) == place("first")


def test_a_place_a_collection_is_no_alias(made, place):
    made("first")
    with pytest.raises(StoreError, match="because a collection has this name: choose another alias"):
        made("second").switch_alias(place("first"))
