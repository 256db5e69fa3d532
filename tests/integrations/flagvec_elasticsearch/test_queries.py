"""The bodies of searches, on paper; the other tests run them."""

import json

import numpy as np
import pytest

from flagvec_elasticsearch import queries

VECTOR = np.array([0.6, 0.8], dtype=np.float32)
WORDS = {"term": {"typed.strings": "lang=en"}}


def test_the_nearest_vectors_are_looked_for_among_four_times_as_many():
    knn = queries.nearest(VECTOR, 100, 100, [])["knn"]
    assert (knn["k"], knn["num_candidates"]) == (100, 400)
    assert "filter" not in knn


def test_the_candidates_are_those_that_the_index_looks_among_where_they_are_more():
    knn = queries.nearest(VECTOR, 10, 100, [])["knn"]
    assert (knn["k"], knn["num_candidates"]) == (10, 100)


def test_no_search_looks_among_more_than_elasticsearch_allows():
    assert queries.nearest(VECTOR, 10_000, 10_000, [])["knn"]["num_candidates"] == 10_000


def test_a_filter_of_the_dense_search_is_applied_while_it_searches():
    assert queries.nearest(VECTOR, 10, 10, [WORDS])["knn"]["filter"] == [WORDS]


def test_each_token_is_a_clause_with_the_querys_weight():
    found = queries.sharing_tokens({7: 0.5, 9: 2.0}, "rank_features", 10, [WORDS])["query"]["bool"]
    assert found["should"] == [
        {"rank_feature": {"field": "sparse.9", "linear": {}, "boost": 2.0}},
        {"rank_feature": {"field": "sparse.7", "linear": {}, "boost": 0.5}},
    ]
    assert (found["filter"], found["minimum_should_match"]) == ([WORDS], 1)


def test_a_sparse_vector_is_searched_by_without_pruning():
    [clause] = queries.sharing_tokens({7: 0.5}, "sparse_vector", 10, [])["query"]["bool"]["should"]
    assert clause == {"sparse_vector": {"field": "sparse", "query_vector": {"7": 0.5}, "prune": False}}


@pytest.mark.parametrize("field", ["rank_features", "sparse_vector"])
def test_of_a_long_query_the_heaviest_tokens_are_searched_by(field):
    weights = {token: (token * 7919 % 2000) / 1000 + 0.1 for token in range(2_000)}
    body = json.dumps(queries.sharing_tokens(weights, field, 10, []))
    heaviest = sorted(weights, key=weights.get)[-512:]
    assert all(f'"{token}"' in body or f"sparse.{token}" in body for token in heaviest)
    assert body.count("rank_feature") == 512 or body.count(": ") < 1_024


def test_the_scores_of_chosen_documents_are_compared_in_full_where_the_index_is_quantised():
    knn = queries.nearest_of(VECTOR, ["a", "b", "c"], quantised=True)["knn"]
    assert (knn["k"], knn["num_candidates"], knn["rescore_vector"]) == (3, 3, {"oversample": 1.0})
    assert knn["filter"] == [{"ids": {"values": ["a", "b", "c"]}}]
    assert "rescore_vector" not in queries.nearest_of(VECTOR, ["a"], quantised=False)["knn"]


def test_the_native_fusion_ranks_from_one_with_a_k_of_60():
    legs = [queries.nearest(VECTOR, 50, 50, [WORDS]), queries.sharing_tokens({7: 0.5}, "rank_features", 50, [WORDS])]
    rrf = queries.fused(legs, 10, 50)["retriever"]["rrf"]
    assert (rrf["rank_constant"], rrf["rank_window_size"]) == (60, 50)
    assert [list(retriever) for retriever in rrf["retrievers"]] == [["knn"], ["standard"]]
    assert str(rrf).count("lang=en") == 2


def test_elasticsearch_compares_rank_vectors_of_chosen_documents_that_have_them():
    rows = np.stack([VECTOR, VECTOR, VECTOR])
    script_score = queries.max_sim_of(rows, ["a"])["query"]["script_score"]
    assert script_score["script"]["source"] == "maxSimDotProduct(params.rows, 'colbert') + params.count"
    assert script_score["script"]["params"]["count"] == 3
    assert {"exists": {"field": "colbert"}} in script_score["query"]["bool"]["filter"]


@pytest.mark.parametrize(
    ("representation", "score", "expected"),
    [("dense", 1.0, 1.0), ("dense", 0.0, -1.0), ("dense", 0.75, 0.5), ("sparse", 3.5, 3.5), ("colbert", 6.0, 1.0)],
)
def test_scores_are_turned_back_into_the_models(representation, score, expected):
    assert queries.model_score(representation, score, query_rows=3) == expected
