"""An alias that is switched to another collection while a store is open, in local mode and on a server."""

import logging

import pytest
from qdrant_client import models

from flagvec import Document, StoreError
from flagvec.store import opening
from flagvec_qdrant import QdrantStore


class OtherPooling:
    """Gives a model another pooling, which nothing but the stored schema tells from the first."""

    def __init__(self, model):
        self._model = model
        self.pooling_method = "mean"

    def __getattr__(self, name):
        return getattr(self._model, name)


@pytest.fixture
def model(seeded):
    made = seeded()
    made.pooling_method = "cls"
    return made


@pytest.fixture
def made(any_client, place, model):
    """A function that makes a collection of one document."""

    def make(name, by=model):
        store = QdrantStore(by, any_client, place(name))
        store.create()
        store.add(Document(name, f"shared {name}"))
        return store

    return make


@pytest.fixture
def switch(any_client, place):
    """A function that lets the alias lead to a collection."""

    def switch(name):
        alias = place("live")
        known = {one.alias_name for one in any_client.get_aliases().aliases}
        delete = [models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))]
        create = models.CreateAlias(collection_name=place(name), alias_name=alias)
        any_client.update_collection_aliases(
            [*(delete if alias in known else []), models.CreateAliasOperation(create_alias=create)]
        )

    return switch


@pytest.fixture
def live(any_client, place, made, switch, model):
    """A store that was opened by an alias of the collection of "first"."""
    made("first")
    switch("first")
    store = QdrantStore(model, any_client, place("live"))
    assert store.get("first")
    return store


def test_nothing_is_added_to_a_collection_of_another_model(live, made, switch, model, place):
    other = made("other", by=OtherPooling(model))
    switch("other")
    with pytest.raises(StoreError) as raised:
        live.add("text")
    assert other.count() == 1
    message = str(raised.value)
    assert f"led to {place('first')!r} (id " in message
    assert f"leads to {place('other')!r} (id " in message
    assert "holds vectors of mean pooling, but is opened with the model 'seeded' for vectors of cls pooling" in message
    assert raised.value.report.ok == ()


def test_nothing_is_searched_in_a_collection_of_another_model_once_that_is_known(live, made, switch, model):
    made("other", by=OtherPooling(model))
    switch("other")
    with pytest.raises(StoreError, match="mean pooling"):
        live.add("text")
    with pytest.raises(StoreError, match="mean pooling"):
        live.search("shared")
    switch("first")
    assert [hit.id for hit in live.search("shared")] == ["first"]


def test_a_search_notices_after_a_while(live, made, switch, model, monkeypatch):
    made("other", by=OtherPooling(model))
    switch("other")
    monkeypatch.setattr(opening, "CONFIRMED_FOR", -1)
    with pytest.raises(StoreError, match="mean pooling"):
        live.search("shared")


def test_a_collection_of_the_same_model_takes_its_place(live, made, switch, place, caplog):
    second = made("second")
    switch("second")
    with caplog.at_level(logging.INFO, "flagvec"):
        live.add(Document("new", "shared new"))
    assert {document.id for document in second.scroll()} == {"second", "new"}
    (line,) = [message for message in caplog.messages if "going on there" in message]
    assert f"led to {place('first')!r} (id " in line
    assert f"leads to {place('second')!r} (id " in line


def test_a_search_goes_on_where_the_alias_leads_once_the_first_collection_is_gone(
    live, made, switch, any_client, place
):
    made("second")
    any_client.delete_collection(place("first"))
    with pytest.raises(StoreError, match="is gone: it was deleted or renamed after this store opened it"):
        live.search("shared")
    switch("second")
    assert [hit.id for hit in live.search("shared")] == ["second"]


VERBS = {
    "search": lambda store: store.search("shared"),
    "get": lambda store: store.get("first"),
    "count": lambda store: store.count(),
    "scroll": lambda store: list(store.scroll()),
    "delete": lambda store: store.delete("first"),
    "delete by filter": lambda store: store.delete(filter={"n": 1}),
    "add": lambda store: store.add("text"),
}


@pytest.mark.parametrize("use", VERBS.values(), ids=VERBS)
def test_a_collection_that_is_gone_is_named_by_every_verb(made, any_client, place, use):
    store = made("first")
    any_client.delete_collection(place("first"))
    with pytest.raises(StoreError, match=f"the collection '{place('first')}' is gone"):
        use(store)


def test_a_collection_that_was_made_anew_under_its_name_is_another(made, any_client, place, model):
    store = made("first")
    any_client.delete_collection(place("first"))
    made("first", by=OtherPooling(model))
    with pytest.raises(StoreError, match="holds vectors of mean pooling"):
        store.add("text")


def test_a_collection_without_an_id_is_known_by_its_description(any_client, place, made, model, switch):
    described = any_client.get_collection
    store = made("first")
    metadata = {name: value for name, value in described(place("first")).config.metadata.items() if name != "id"}
    for name, schema in (("old", metadata["schema"]), ("other", metadata["schema"] | {"pooling": "mean"})):
        config = described(place("first")).config.params
        any_client.create_collection(
            place(name),
            config.vectors,
            sparse_vectors_config=config.sparse_vectors,
            metadata={**metadata, "schema": schema},
        )
    switch("old")
    live = QdrantStore(model, any_client, place("live"))
    live.add("text")
    switch("other")
    with pytest.raises(StoreError, match="mean pooling"):
        live.add("text")
    assert store.count() == 1


def test_a_store_asks_one_request_before_it_adds(live, any_client, monkeypatch):
    calls = []

    def noted(name, method):
        return lambda *given, **more: calls.append(name) or method(*given, **more)

    for name in ("get_collection", "get_aliases", "collection_exists"):
        monkeypatch.setattr(any_client, name, noted(name, getattr(any_client, name)))
    live.add("text")
    assert calls == ["get_collection"]
