"""The index that a store makes, finds and refuses."""

import re

import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
from elasticsearch import BadRequestError, Elasticsearch

from flagvec import Document, StoreError
from flagvec_elasticsearch import ElasticsearchStore, server
from flagvec_elasticsearch.layout import Layout, mappings
from flagvec_elasticsearch.requests import Index


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dense_index": "hnsw"},
        {"dense_index": "flat"},
        {"dense_index": "bbq_hnsw", "sparse_field": "sparse_vector"},
        {"colbert": False},
    ],
)
def test_a_new_index_is_found_to_be_as_it_was_made(new_store, seeded, options):
    new_store(seeded(64), **options).create()
    new_store(seeded(64), **options).create()
    assert new_store(seeded(64), **options).count() == 0


def test_an_index_is_used_as_it_is_where_no_option_says_otherwise(new_store, seeded):
    made = new_store(seeded(64), dense_index="bbq_hnsw", sparse_field="sparse_vector")
    made.create()
    made.add(["one two", "two three"])
    hits = new_store(seeded(64)).search("two three", explain=True)
    assert hits[0].text == "two three"
    assert hits[0].scores["dense"] == pytest.approx(1.0, abs=1e-6)


def test_an_index_of_another_layout_is_refused_saying_how_it_differs(new_store):
    new_store().create()
    with pytest.raises(StoreError, match="made with dense_index='int8_hnsw', not 'hnsw': leave dense_index out"):
        new_store(dense_index="hnsw").create()


def test_an_index_of_others_is_refused(client, index, new_store):
    client.indices.create(index=index, mappings={"properties": {"dense": {"type": "dense_vector", "dims": 16}}})
    for verb in ("create", "count"):
        with pytest.raises(StoreError, match="was not made by flagvec"):
            getattr(new_store(), verb)()


def test_an_index_with_a_field_of_another_type_is_refused_naming_it(client, index, new_store):
    mapping = mappings(new_store().schema, Layout())
    mapping["properties"]["dense"]["similarity"] = "l2_norm"
    client.indices.create(index=index, mappings=mapping)
    with pytest.raises(StoreError, match=r"its field 'dense' is .* similarity l2_norm, not .* similarity dot_product"):
        new_store().create()


def test_an_index_that_another_process_just_made_is_no_error(client, index, new_store):
    store = new_store()
    for _ in range(2):
        Index(client, index).create(mappings(store.schema, Layout()), {})
    assert store.count() == 0


def test_a_store_works_through_an_alias_of_one_index(client, index, new_store, seeded):
    store = new_store()
    store.create()
    client.indices.put_alias(index=index, name=f"{index}-alias")
    through = ElasticsearchStore(seeded(), client, f"{index}-alias")
    through.add("one two")
    assert (through.count(), store.search("one")[0].text) == (1, "one two")


def test_an_alias_of_several_indices_is_refused_with_their_names(client, index, new_store, seeded):
    new_store().create()
    other = ElasticsearchStore(seeded(), client, f"{index}-other")
    other.create()
    try:
        client.indices.put_alias(index=f"{index},{index}-other", name=f"{index}-both")
        with pytest.raises(StoreError, match=f"is an alias of {index}, {index}-other: choose one"):
            ElasticsearchStore(seeded(), client, f"{index}-both").count()
    finally:
        client.indices.delete(index=f"{index}-other")


def test_index_settings_are_those_that_were_given(client, index, new_store):
    new_store(settings={"number_of_shards": 3, "refresh_interval": "30s"}).create()
    settings = client.indices.get_settings(index=index)[index]["settings"]["index"]
    assert (settings["number_of_shards"], settings["refresh_interval"]) == ("3", "30s")


def test_a_name_for_each_document_makes_no_field_in_the_mapping(client, index, store):
    before = client.indices.get_mapping(index=index)[index]
    store.add([Document(str(n), "text", {f"name{n}_{m}": m for m in range(40)}) for n in range(50)])
    assert client.indices.get_mapping(index=index)[index] == before
    assert store.count({"name49_7": 7}) == 1


def test_one_name_may_have_values_of_every_type(store):
    values = [1, "1", True, {"b": 1}, ["x", 2], "2024-05-17", None, 1.5]
    assert store.add([Document(str(n), "text", {"a": value}) for n, value in enumerate(values)]).failed == ()
    assert [d.id for d in store.scroll({"a": 1})] == ["0"]
    assert [d.id for d in store.scroll({"a.b": 1})] == ["3"]
    assert [d.id for d in store.scroll({"a": "x"})] == ["4"]


@pytest.mark.parametrize(
    "name", ["", "Recipes", "a,b", "logs-*", "_all", "-a", "+a", ".hidden", "a b", "a/b", 'a"', "a#b"]
)
def test_a_name_that_is_none_of_one_index_is_refused(seeded, name):
    with pytest.raises(ValueError, match=f"index_name={re.escape(repr(name))}"):
        ElasticsearchStore(seeded(), Elasticsearch("http://127.0.0.1:9"), name)


@pytest.mark.parametrize("option", ["dense_index", "sparse_field", "colbert_field"])
def test_an_unknown_option_is_refused_with_those_there_are(seeded, option):
    with pytest.raises(ValueError, match=f"{option}='faiss': choose None or '"):
        ElasticsearchStore(seeded(), Elasticsearch("http://127.0.0.1:9"), "articles", **{option: "faiss"})


def test_a_client_newer_than_the_server_is_named_as_the_cause():
    class Newer:
        def info(self):
            node = NodeConfig("http", "127.0.0.1", 9200)
            meta = ApiResponseMeta(400, "1.1", HttpHeaders(), 0.1, node)
            error = {"type": "media_type_header_exception", "reason": "Invalid media-type value on headers"}
            raise BadRequestError("media_type_header_exception", meta, {"error": error, "status": 400})

    with pytest.raises(StoreError, match=r"does not speak with the client .* pip install 'elasticsearch>=8\.19,<9'"):
        server.server_version(Newer())


@pytest.fixture
def rank_vectors(new_store):
    """A store of rank_vectors that is made, and what the server says against it, None for nothing."""
    store = new_store(colbert_field="rank_vectors")
    try:
        store.create()
    except StoreError as error:
        return store, error
    return store, None


def test_rank_vectors_are_compared_by_elasticsearch(new_store, rank_vectors):
    store, refused = rank_vectors
    if refused:
        pytest.skip(str(refused))
    store.add(["one two three", "two", "four five"])
    ours = new_store().search("two four", rerank="colbert")
    assert [hit.id for hit in store.search("two four", rerank="colbert")] == [hit.id for hit in ours]
    assert store.capabilities.multivector


def test_a_server_without_rank_vectors_is_told_of_with_what_to_choose(client, index, rank_vectors):
    _, refused = rank_vectors
    if not refused:
        pytest.skip("this server has rank_vectors")
    assert re.search(
        r"cannot have rank_vectors, .* licence: .*rank.vectors.*; choose colbert_field='binary'", str(refused)
    )
    assert not client.indices.exists(index=index)
