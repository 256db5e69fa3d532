"""Mappings, and what is read of them."""

from dataclasses import replace

import pytest

from flagvec import ColbertStorage, StoreError
from flagvec.store.schema import Schema
from flagvec_elasticsearch.schema import Layout, layout_of, mappings, schema_of

SCHEMA = Schema("tiny", dimension=64, sparse=True, colbert_dimension=32)
COMPACT = replace(SCHEMA, colbert_storage=ColbertStorage(bits=1))
DENSE_ONLY = Schema("tiny", dimension=64, sparse=False, colbert_dimension=None)


@pytest.mark.parametrize("schema", [SCHEMA, COMPACT, DENSE_ONLY])
def test_the_schema_is_read_back_from_the_mapping(schema):
    assert schema_of(mappings(schema, Layout()), "the index") == schema


@pytest.mark.parametrize(("schema", "version"), [(SCHEMA, 2), (COMPACT, 3), (DENSE_ONLY, 2)])
def test_only_an_index_of_codes_has_a_layout_that_an_older_flagvec_refuses(schema, version):
    assert mappings(schema, Layout())["_meta"]["flagvec"]["version"] == version


def test_codes_are_kept_once_because_they_have_no_doc_values():
    assert mappings(COMPACT, Layout())["properties"]["colbert"]["properties"]["codes"] == {"type": "binary"}


@pytest.mark.parametrize("chosen", [{}, {"colbert_field": "binary"}, {"colbert_field": "rank_vectors"}])
def test_the_layout_of_an_index_of_codes_is_read_back_whatever_was_chosen(chosen):
    assert layout_of(mappings(COMPACT, Layout()), COMPACT, chosen, "the index") == Layout()


def test_a_field_of_codes_without_their_number_is_refused():
    mapping = mappings(COMPACT, Layout())
    del mapping["properties"]["colbert"]["properties"]["rows"]
    with pytest.raises(StoreError, match=r"its field 'colbert' has .*'codes'.*, not .*'rows'"):
        layout_of(mapping, COMPACT, {}, "the index")


def test_the_mapping_says_who_made_it():
    assert mappings(SCHEMA, Layout())["_meta"]["flagvec"]["made_by"] == "flagvec"


def test_a_mapping_that_an_older_version_made_is_read():
    mapping = mappings(SCHEMA, Layout())
    old = {name: SCHEMA.to_json()[name] for name in ("model", "dimension", "sparse", "colbert_dimension")}
    mapping["_meta"] = {"flagvec": {"version": 1, "schema": old}}
    assert schema_of(mapping, "the index") == SCHEMA


@pytest.mark.parametrize(
    "layout",
    [Layout(), Layout("hnsw", "sparse_vector", "rank_vectors"), Layout("flat"), Layout("bbq_hnsw")],
)
def test_the_layout_is_read_back_from_the_mapping(layout):
    assert layout_of(mappings(SCHEMA, layout), SCHEMA, {}, "the index") == layout


def test_nothing_is_left_out_of_source():
    assert "_source" not in mappings(SCHEMA, Layout())


def test_an_index_of_the_first_layout_is_read_and_does_not_count_all_colbert_vectors():
    mapping = mappings(SCHEMA, Layout())
    mapping["_meta"]["flagvec"]["version"] = 1
    assert schema_of(mapping, "the index") == SCHEMA
    assert layout_of(mapping, SCHEMA, {}, "the index") == Layout(counts_rows=False)


def test_an_index_without_weights_has_the_layout_that_was_chosen():
    chosen = {"sparse_field": "sparse_vector", "colbert_field": "rank_vectors"}
    assert layout_of(mappings(DENSE_ONLY, Layout()), DENSE_ONLY, chosen, "the index") == Layout(**chosen)


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
    with pytest.raises(StoreError, match=r"the index was not made by flagvec, .* no schema in _meta\.flagvec"):
        schema_of(meta, "the index")


def test_an_index_of_a_newer_flagvec_is_refused():
    mapping = mappings(SCHEMA, Layout())
    mapping["_meta"]["flagvec"]["version"] = 9
    with pytest.raises(StoreError, match="has layout 9, but this flagvec reads layouts 1 to 3: update flagvec"):
        schema_of(mapping, "the index")


@pytest.mark.parametrize(
    ("field", "parameters", "words"),
    [
        ("dense", {"type": "dense_vector", "dims": 64, "similarity": "cosine"}, "'dense' has .*cosine.*dot_product"),
        ("metadata", {"type": "object"}, "'metadata' has .*'enabled': None}, not .*'enabled': False}"),
        ("sparse", {"type": "text"}, "'sparse' has {'type': 'text'}, not {'type': 'rank_features'}"),
        ("id", {"type": "long"}, "'id' has {'type': 'long'}, not {'type': 'keyword'}"),
        ("typed", {"properties": {}}, "'typed' has {'properties': {}}, not .*'present'"),
    ],
)  # fmt: skip
def test_a_field_that_differs_is_named_with_both_mappings(field, parameters, words):
    mapping = mappings(SCHEMA, Layout())
    mapping["properties"][field] = parameters
    with pytest.raises(StoreError, match=words):
        layout_of(mapping, SCHEMA, {}, "the index")
