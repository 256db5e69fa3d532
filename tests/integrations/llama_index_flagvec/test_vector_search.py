"""Which search of a store each query of LlamaIndex becomes."""

import pytest
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters, VectorStoreQuery, VectorStoreQueryMode

from flagvec import Weighted
from flagvec.filters.portable import parse_filter
from llama_index_flagvec.vector_search import Defaults, Diversity, search_of

HYBRID = Defaults("hybrid")
READY = {"query_str": None, "query_embedding": [3.0, 4.0]}


def asked(mode="default", defaults=HYBRID, given=None, **query):
    query = {"query_str": "rice", "similarity_top_k": 5, **query}
    return search_of(VectorStoreQuery(mode=VectorStoreQueryMode(mode), **query), defaults, given or {})


def options(**expected):
    return {"filter": None, "candidates": None, "rerank": None, **expected}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("default", options(mode="hybrid", fusion="rrf")),
        ("hybrid", options(mode="hybrid", fusion="rrf")),
        ("semantic_hybrid", options(mode="hybrid", fusion="rrf", rerank="colbert")),
        ("sparse", options(mode="sparse")),
        ("text_search", options(mode="sparse")),
    ],
)
def test_a_mode_is_a_search(mode, expected):
    search = asked(mode)
    assert (search.query, search.limit, search.options, search.diversity) == ("rice", 5, expected, None)


@pytest.mark.parametrize("mode", ["dense", "sparse", "hybrid"])
def test_the_default_mode_is_the_stores(mode):
    assert asked(defaults=Defaults(mode)).options["mode"] == mode


@pytest.mark.parametrize("mode", ["hybrid", "default"])
def test_alpha_weighs_dense_against_sparse(mode):
    assert asked(mode, alpha=0.7).options["fusion"] == Weighted(dense=0.7, sparse=1 - 0.7, colbert=0)
    assert asked(mode, alpha=1).options["fusion"].representations == ("dense",)
    assert asked(mode, alpha=0).options["fusion"].representations == ("sparse",)


def test_alpha_is_for_fusion_alone():
    assert "fusion" not in asked("sparse", alpha=0.7).options
    assert "fusion" not in asked(defaults=Defaults("dense"), alpha=0.7).options


def test_each_number_of_nodes_counts_in_its_mode():
    numbers = {"sparse_top_k": 20, "hybrid_top_k": 8}
    assert asked("sparse", **numbers).limit == 20
    assert asked("text_search", sparse_top_k=20).limit == 20
    hybrid = asked("hybrid", **numbers)
    assert (hybrid.limit, hybrid.options["candidates"]) == (8, 20)
    assert asked("hybrid", sparse_top_k=2).options["candidates"] == 5
    assert asked(defaults=Defaults("dense"), **numbers).limit == 5


def test_the_options_of_the_vector_store_apply_if_the_query_sets_none():
    defaults = Defaults("hybrid", fusion=Weighted(), candidates=50)
    assert asked(defaults=defaults).options == options(mode="hybrid", fusion=Weighted(), candidates=50)
    assert asked(defaults=defaults, similarity_top_k=60).options["candidates"] == 60
    assert asked("sparse", defaults=Defaults("hybrid", rerank="colbert")).options["rerank"] == "colbert"
    # Weights would have no effect on what ColBERT orders.
    assert asked("semantic_hybrid", defaults=defaults).options["fusion"] == "rrf"


def test_the_options_of_a_query_come_first():
    given = {"fusion": "rrf", "rerank": None, "candidates": 70, "min_score": 0.5, "timeout": 3}
    search = asked(defaults=Defaults("hybrid", Weighted(), None, 50), given=given)
    assert search.options == options(mode="hybrid", **given)


@pytest.mark.parametrize("mode", ["default", "mmr"])
def test_an_embedding_without_a_text_is_compared_with_dense_vectors(mode):
    search = asked(mode, defaults=Defaults("hybrid", Weighted(), "colbert", 50), **READY)
    assert search.query["dense_vecs"].tolist() == [pytest.approx([0.6, 0.8])]
    assert (search.options["mode"], search.options.get("rerank")) == ("dense", None)


def test_beside_a_text_an_embedding_has_no_effect():
    assert asked(query_embedding=[3.0, 4.0]) == asked()


def test_filters_and_ids_must_all_hold():
    filters = MetadataFilters(filters=[MetadataFilter(key="lang", value="en")])
    found = asked(filters=filters, node_ids=["a", "b"], doc_ids=["book"]).options["filter"]
    wanted = {"and": [{"lang": "en"}, {"_node_id": {"in": ["a", "b"]}}]}
    assert found == parse_filter({"and": [wanted, {"ref_doc_id": {"in": ["book"]}}]})


def test_a_retrievers_empty_ids_and_filters_restrict_nothing():
    assert asked(filters=MetadataFilters(filters=[]), node_ids=[], doc_ids=[]).options["filter"] is None


@pytest.mark.parametrize(
    ("query", "given", "prefetched", "threshold"),
    [
        ({}, {}, 20, 0.5),
        ({"mmr_threshold": 0.9}, {}, 20, 0.9),
        ({"mmr_threshold": 0.9}, {"mmr_threshold": 0}, 20, 0),
        ({}, {"mmr_prefetch_factor": 3}, 15, 0.5),
        ({}, {"mmr_prefetch_k": 7, "mmr_threshold": 1.0}, 7, 1),
    ],
)
def test_mmr_chooses_from_more_nodes_than_it_returns(query, given, prefetched, threshold):
    search = asked("mmr", given=given, **query)
    assert search.options == {"mode": "dense", "filter": None, "timeout": None}
    assert (search.limit, search.diversity) == (prefetched, Diversity(5, threshold))


@pytest.mark.parametrize("mode", ["svm", "linear_regression", "logistic_regression"])
def test_a_mode_that_needs_all_vectors_is_refused(mode):
    with pytest.raises(ValueError, match=f"the mode '{mode}' needs the vectors of all nodes.*use 'default'"):
        asked(mode)


@pytest.mark.parametrize(
    ("mode", "query", "given", "error", "message"),
    [
        ("default", {"query_str": None}, {}, ValueError, "neither query_str nor query_embedding"),
        ("mmr", {"query_str": None, "query_embedding": []}, {}, ValueError, "neither query_str nor query_embedding"),
        ("hybrid", READY, {}, ValueError, "no query_str, and the mode 'hybrid' needs one"),
        ("text_search", READY, {}, ValueError, "no query_str, and the mode 'text_search' needs one"),
        ("default", {**READY, "query_embedding": [0.0, 0.0]}, {}, ValueError, "embedding has length 0"),
        ("default", {"embedding_field": "dense"}, {}, ValueError, "embedding_field='dense'"),
        ("default", {"similarity_top_k": 0}, {}, ValueError, "similarity_top_k=0: at least 1"),
        ("mmr", {"similarity_top_k": 0}, {}, ValueError, "similarity_top_k=0: at least 1"),
        ("hybrid", {"alpha": 1.5}, {}, ValueError, "alpha=1.5: give a number from 0 to 1"),
        ("hybrid", {"alpha": float("nan")}, {}, ValueError, "alpha=nan: give a number from 0 to 1"),
        ("hybrid", {"alpha": "0.5"}, {}, TypeError, "alpha takes a number, not str"),
        ("hybrid", {"alpha": 0.5}, {"fusion": Weighted()}, ValueError, "alpha=0.5 and fusion=.*leave one"),
        ("hybrid", {"alpha": 0.5}, {"rerank": "colbert"}, ValueError, "alpha=0.5 has no effect.*leave one"),
        ("semantic_hybrid", {"alpha": 0.5}, {}, ValueError, "alpha=0.5 has no effect.*'semantic_hybrid'"),
        (
            "default",
            {},
            {"mmr_threshold": 0.5},
            TypeError,
            "mode 'default' takes no argument 'mmr_threshold': it takes fusion, rerank",
        ),
        ("mmr", {}, {"rerank": "colbert"}, TypeError, "mode 'mmr' takes no argument 'rerank': it takes mmr_threshold"),
        ("default", {}, {"top_k": 5}, TypeError, "takes no argument 'top_k'.*the argument `similarity_top_k`"),
        ("mmr", {}, {"mmr_threshold": 2}, ValueError, "mmr_threshold=2: give a number from 0 to 1"),
        ("mmr", {}, {"mmr_prefetch_k": 3}, ValueError, "mmr_prefetch_k=3: at least 5"),
        ("default", {"similarity_top_k": 10_001}, {}, ValueError, "similarity_top_k=10001: at most 10,000 documents"),
        ("hybrid", {"hybrid_top_k": 10_001}, {}, ValueError, "hybrid_top_k=10001: at most 10,000 documents"),
        ("sparse", {"sparse_top_k": 2**64}, {}, ValueError, "sparse_top_k=<a whole number of 65 bits>: at most"),
        ("mmr", {"similarity_top_k": 10_001}, {}, ValueError, "similarity_top_k=10001: at most 10,000 documents"),
        ("mmr", {}, {"mmr_prefetch_k": 10_001}, ValueError, "mmr_prefetch_k=10001: at most 10,000 documents"),
        (
            "mmr",
            {},
            {"mmr_prefetch_factor": 10**6},
            ValueError,
            r"top_k \* mmr_prefetch_factor=5000000: at most 10,000",
        ),
        ("mmr", {}, {"mmr_prefetch_k": 9, "mmr_prefetch_factor": 2}, ValueError, "both set how many"),
    ],
)
def test_an_invalid_query_is_refused(mode, query, given, error, message):
    with pytest.raises(error, match=message):
        asked(mode, given=given, **query)
