"""Mappings, and what is read of them."""

import pytest

from flagvec import StoreError
from flagvec.store.schema import Schema
from flagvec_elasticsearch.layout import Layout, layout_of, mappings, schema_of

SCHEMA = Schema("tiny", dimension=64, sparse=True, colbert_dimension=32)
DENSE_ONLY = Schema("tiny", dimension=64, sparse=False, colbert_dimension=None)


def test_the_schema_is_read_back_from_the_mapping():
    assert schema_of(mappings(SCHEMA, Layout()), "the index") == SCHEMA


@pytest.mark.parametrize(
    "layout",
    [Layout(), Layout("hnsw", "sparse_vector", "rank_vectors"), Layout("flat"), Layout("bbq_hnsw")],
)
def test_the_layout_is_read_back_from_the_mapping(layout):
    assert layout_of(mappings(SCHEMA, layout), SCHEMA, Layout(), "the index") == layout


@pytest.mark.parametrize("field", ["id", "colbert"])
def test_doc_values_that_a_server_does_not_mention_are_there(field):
    mapping = mappings(SCHEMA, Layout())
    del mapping["properties"][field]["doc_values"]
    assert layout_of(mapping, SCHEMA, Layout(), "the index") == Layout()


def test_an_index_without_weights_has_the_layout_that_was_wanted():
    wanted = Layout(sparse_field="sparse_vector", colbert_field="rank_vectors")
    assert layout_of(mappings(DENSE_ONLY, Layout()), DENSE_ONLY, wanted, "the index") == wanted


def test_a_model_of_dense_vectors_gets_no_other_field_for_vectors():
    assert not {"sparse", "colbert", "colbert_rows"} & mappings(DENSE_ONLY, Layout())["properties"].keys()


@pytest.mark.parametrize(
    ("index", "quantised"), [("hnsw", False), ("flat", False), ("int8_hnsw", True), ("bbq_flat", True)]
)
def test_shortened_numbers_are_compared_in_full_in_the_end(index, quantised):
    options = mappings(SCHEMA, Layout(index))["properties"]["dense"]["index_options"]
    assert options == {"type": index, **({"rescore_vector": {"oversample": 3.0}} if quantised else {})}


def test_the_weights_of_a_sparse_vector_are_not_pruned():
    assert mappings(SCHEMA, Layout(sparse_field="sparse_vector"))["properties"]["sparse"] == {
        "type": "sparse_vector",
        "index_options": {"prune": False},
    }


@pytest.mark.parametrize(
    "meta", [{}, {"_meta": {}}, {"_meta": {"flagvec": None}}, {"_meta": {"flagvec": {"version": 1}}}]
)
def test_an_index_of_others_is_refused(meta):
    with pytest.raises(StoreError, match=r"the index was not made by flagvec, .* has no _meta\.flagvec"):
        schema_of(meta, "the index")


def test_an_index_of_a_newer_flagvec_is_refused():
    mapping = mappings(SCHEMA, Layout())
    mapping["_meta"]["flagvec"]["version"] = 9
    with pytest.raises(StoreError, match="has layout 9, this version of flagvec reads 1: update flagvec"):
        schema_of(mapping, "the index")


@pytest.mark.parametrize(
    ("field", "parameters", "words"),
    [
        ("dense", {"type": "dense_vector", "dims": 64, "similarity": "cosine"}, "'dense' is .*cosine.* dot_product"),
        ("metadata", {"type": "object"}, "'metadata' is type object, not type object, enabled False"),
        ("sparse", {"type": "text"}, "'sparse' is type text"),
        ("id", {"type": "long"}, "'id' is type long, not type keyword"),
        ("typed", {"properties": {}}, r"'typed\.present' is missing, not type keyword, doc_values False"),
    ],
)  # fmt: skip
def test_a_field_that_differs_is_named_with_both_mappings(field, parameters, words):
    mapping = mappings(SCHEMA, Layout())
    mapping["properties"][field] = parameters
    with pytest.raises(StoreError, match=words):
        layout_of(mapping, SCHEMA, Layout(), "the index")
