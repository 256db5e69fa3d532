"""The index that a store makes, finds and refuses."""

import base64
import re
from datetime import date, datetime, timezone
from enum import Enum
from pathlib import PurePosixPath
from uuid import UUID

import numpy as np
import pytest
from elasticsearch import ApiError, Elasticsearch

from flagvec import ColbertStorage, Document, StoreError
from flagvec_elasticsearch import ElasticsearchStore
from flagvec_elasticsearch.client import Index
from flagvec_elasticsearch.schema import Layout, mappings

STORAGE = ColbertStorage(bits=2)


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


def test_an_index_is_used_as_it_is_if_no_option_says_otherwise(new_store, seeded):
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
    with pytest.raises(StoreError, match=r"its field 'dense' has .*l2_norm.*, not .*dot_product"):
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


def test_dropping_a_store_deletes_the_index(client, index, store):
    store.drop()
    assert not client.indices.exists(index=index)
    store.create()
    assert store.count() == 0


def test_dropping_a_store_through_an_alias_deletes_the_index_behind_it(client, index, store, seeded):
    client.indices.put_alias(index=index, name=f"{index}-alias")
    ElasticsearchStore(seeded(), client, f"{index}-alias").drop()
    assert not client.indices.exists(index=index)
    assert not client.indices.exists_alias(name=f"{index}-alias")


def test_an_index_of_others_is_not_dropped(client, index, new_store):
    client.indices.create(index=index)
    with pytest.raises(StoreError, match="was not made by flagvec"):
        new_store().drop()
    assert client.indices.exists(index=index)


def test_a_store_that_is_made_anew_has_the_chosen_field_types(new_store):
    new_store(dense_index="hnsw").create()
    store = new_store()
    store.drop()
    store.create()
    with pytest.raises(StoreError, match="made with dense_index='int8_hnsw', not 'hnsw'"):
        new_store(dense_index="hnsw").count()


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
    store.add([Document(str(n), "text", {"a": value}) for n, value in enumerate(values)])
    assert [d.id for d in store.scroll({"a": 1})] == ["0"]
    assert [d.id for d in store.scroll({"a.b": 1})] == ["3"]
    assert [d.id for d in store.scroll({"a": "x"})] == ["4"]


class Colour(Enum):
    RED = "red"


PYTHON_VALUES = {
    "score": np.float64(0.5),
    "count": np.int64(2**53 + 1),
    "small": np.float32(0.25),
    "draft": np.bool_(True),
    "when": datetime(2024, 5, 17, 12, 30, tzinfo=timezone.utc),
    "day": date(2024, 5, 17),
    "key": UUID("6ee2ef35-0a4f-5d5b-8ef8-b2e6a2b2f6f1"),
    "path": PurePosixPath("notes/rice.md"),
    "colour": Colour.RED,
}


def test_python_values_come_back_in_jsons_own_types(store):
    store.add(Document("a", "one two", PYTHON_VALUES))
    assert store.get("a")[0].metadata == {
        "score": 0.5,
        "count": 2**53 + 1,
        "small": 0.25,
        "draft": True,
        "when": "2024-05-17T12:30:00+00:00",
        "day": "2024-05-17",
        "key": "6ee2ef35-0a4f-5d5b-8ef8-b2e6a2b2f6f1",
        "path": "notes/rice.md",
        "colour": "red",
    }


@pytest.mark.parametrize(
    "filter",
    [
        {"score": np.float64(0.5)},
        {"score": {"lt": np.float32(0.75)}},
        {"count": np.int64(2**53 + 1)},
        {"draft": True},
        {"when": datetime(2024, 5, 17, 12, 30, tzinfo=timezone.utc)},
        {"when": {"gte": date(2024, 5, 17), "lt": date(2024, 5, 18)}},
        {"day": {"lte": date(2024, 5, 17)}},
        {"key": "6ee2ef35-0a4f-5d5b-8ef8-b2e6a2b2f6f1"},
        {"path": "notes/rice.md"},
        {"colour": {"in": ["red", "blue"]}},
    ],
    ids=str,
)
def test_python_values_are_found_by_filters(store, filter):
    store.add([Document("a", "one two", PYTHON_VALUES), Document("b", "one two")])
    assert [hit.id for hit in store.search("one", filter=filter)] == ["a"]


@pytest.mark.parametrize(
    "name", ["", "Recipes", "a,b", "logs-*", "_all", "-a", "+a", ".hidden", "a b", "a/b", 'a"', "a#b"]
)
def test_a_name_that_no_index_can_have_is_refused(seeded, name):
    with pytest.raises(ValueError, match=f"index_name={re.escape(repr(name))}"):
        ElasticsearchStore(seeded(), Elasticsearch("http://127.0.0.1:9"), name)


@pytest.mark.parametrize("option", ["dense_index", "sparse_field", "colbert_field"])
def test_an_unknown_option_is_refused_with_those_there_are(seeded, option):
    with pytest.raises(ValueError, match=f"{option}='faiss': choose None or '"):
        ElasticsearchStore(seeded(), Elasticsearch("http://127.0.0.1:9"), "articles", **{option: "faiss"})


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


def test_a_server_without_rank_vectors_is_refused_with_what_to_choose(client, index, rank_vectors):
    _, refused = rank_vectors
    if not refused:
        pytest.skip("this server has rank_vectors")
    assert re.search(
        r"could not be created: 400: .*rank.vectors.* Enterprise licence: choose colbert='compact'", str(refused)
    )
    assert isinstance(refused.__cause__, ApiError)
    assert not client.indices.exists(index=index)


@pytest.mark.parametrize(
    ("colbert", "field", "fitting"),
    [("native", "binary", "rank_vectors"), ("compact", "rank_vectors", "binary"), (STORAGE, "rank_vectors", "binary")],
)
def test_a_form_of_colbert_vectors_that_its_field_cannot_hold_is_refused(new_store, colbert, field, fitting):
    with pytest.raises(ValueError, match=rf"colbert_field='{field}': these contradict each other; .* '{fitting}' then"):
        new_store(colbert=colbert, colbert_field=field)


def test_native_colbert_vectors_are_in_a_field_that_elasticsearch_compares(new_store, client, index):
    store = new_store(colbert="native")
    try:
        store.create()
    except StoreError as refused:
        assert re.search(r"Enterprise licence: choose colbert='compact'", str(refused))
        pytest.skip(str(refused))
    mapping = client.indices.get_mapping(index=index)[index]["mappings"]
    assert mapping["properties"]["colbert"]["type"] == "rank_vectors"
    assert store.schema.colbert_storage is None


@pytest.mark.parametrize("colbert", [True, "compact", STORAGE], ids=str)
def test_codes_are_in_the_source(new_store, client, index, colbert):
    store = new_store(colbert=colbert)
    store.create()
    store.add([Document("a", "one two three"), Document("b", "")])
    sources = {hit["_id"]: hit["_source"]["colbert"] for hit in client.search(index=index)["hits"]["hits"]}
    codec = store.schema.colbert_storage.codec(16)
    assert (sources["a"]["rows"], len(base64.b64decode(sources["a"]["codes"]))) == (3, 3 * codec.row_bytes)
    assert sources["b"] == {"rows": 0}


@pytest.mark.parametrize("colbert", ["compact", STORAGE, "native"], ids=str)
def test_an_index_of_vectors_in_half_precision_is_opened_as_it_is_alone(new_store, client, index, colbert):
    client.indices.create(index=index, mappings=mappings(new_store().schema, Layout()))
    with pytest.raises(StoreError, match=r"in half precision, as an older flagvec did, .* open it with colbert=True"):
        new_store(colbert=colbert).count()
    store = new_store()
    store.add(Document("a", "one two"))
    assert store.schema.colbert_storage is None
    assert store.search("one", rerank="colbert")[0].score == pytest.approx(1.0, abs=1e-3)


def test_the_field_that_was_chosen_is_not_that_of_an_index_of_codes(new_store):
    new_store().create()
    with pytest.raises(StoreError, match="was made with colbert_field='binary', not 'rank_vectors': leave"):
        new_store(colbert_field="rank_vectors").count()


def test_codes_of_many_candidates_are_read_by_several_requests(new_store, requests):
    store = new_store()
    store.create()
    store.add(f"one word{number}" for number in range(100))
    requests.clear()
    assert len(store.search("one", limit=100, candidates=100, rerank="colbert")) == 100
    assert [path.rpartition("/")[2] for _, path in requests] == ["_msearch", "_msearch", "_msearch"]
