"""Switching an alias to a store, in local mode and on a server."""

import uuid

import pytest

from flagvec import Document, StoreError
from flagvec_qdrant import QdrantStore


@pytest.fixture
def name_of(any_client):
    """A function that makes names which begin alike, whose collections are deleted afterwards."""
    prefix = f"flagvec_test_{uuid.uuid4().hex}"
    yield lambda name: f"{prefix}_{name}"
    for collection in any_client.get_collections().collections:
        if collection.name.startswith(prefix):
            any_client.delete_collection(collection.name)


@pytest.fixture
def made(any_client, name_of, seeded):
    """A function that makes a store of one document, whose id is the store's name."""

    def make(name):
        store = QdrantStore(seeded(), any_client, name_of(name))
        store.create()
        store.add(Document(name, "one two"))
        return store

    return make


def test_an_alias_is_made_if_there_is_none(made, name_of):
    store = made("first")
    assert store.leads_to(name_of("live")) is None
    store.switch_alias(name_of("live"))
    assert store.leads_to(name_of("live")) == name_of("first")


def test_an_alias_is_taken_from_the_store_that_has_it(made, name_of, any_client, seeded):
    made("first").switch_alias(name_of("live"))
    live = QdrantStore(seeded(), any_client, name_of("live"))
    assert [one.id for one in live.scroll()] == ["first"]
    made("second").switch_alias(name_of("live"))
    assert QdrantStore(seeded(), any_client, name_of("live")).get("second")


def test_switching_to_the_same_store_again_changes_nothing(made, name_of):
    store = made("first")
    store.switch_alias(name_of("live"))
    store.switch_alias(name_of("live"))
    assert store.leads_to(name_of("live")) == name_of("first")


def test_a_store_that_was_opened_by_an_alias_gives_its_collection_another(made, name_of, any_client, seeded):
    made("first").switch_alias(name_of("live"))
    live = QdrantStore(seeded(), any_client, name_of("live"))
    live.switch_alias(name_of("second"))
    assert live.leads_to(name_of("second")) == name_of("first")


def test_a_name_of_a_collection_is_no_alias(made, name_of):
    made("first")
    with pytest.raises(StoreError, match="because a collection has this name: choose another alias"):
        made("second").switch_alias(name_of("first"))
