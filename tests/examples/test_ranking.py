"""The quality of each search with mini-M3, on a part of the sample."""

import pytest

import demo
from debian import load_documents, load_queries
from flagvec_qdrant import QdrantEdgeStore

DOCUMENTS = 600
QUERIES = 200


@pytest.fixture(scope="module")
def mrr(model, tmp_path_factory) -> dict[str, float]:
    """MRR@10 by name of the search."""
    queries = load_queries()[:QUERIES]
    relevant = frozenset().union(*(query.relevant for query in queries))
    documents = sorted(load_documents(), key=lambda document: document.id not in relevant)[:DOCUMENTS]
    with QdrantEdgeStore(model, tmp_path_factory.mktemp("stores") / "index") as store:
        store.create()
        store.add(documents)
        measures = demo.measure(store, queries)
    return {name: reciprocal_rank for name, (reciprocal_rank, _) in measures.items()}


def test_dense_search_finds_most(mrr):
    assert mrr["dense"] > 0.88


def test_sparse_search_finds_most(mrr):
    assert mrr["sparse"] > 0.88


def test_hybrid_search_is_better_than_dense_and_sparse(mrr):
    assert mrr["hybrid: rrf"] > max(mrr["dense"], mrr["sparse"])


def test_weighted_hybrid_search_is_clearly_better_than_dense_and_sparse(mrr):
    assert mrr["hybrid: dense + sparse"] > max(mrr["dense"], mrr["sparse"]) + 0.015


def test_colbert_rerank_is_better_than_dense(mrr):
    assert mrr["hybrid: rrf, then ColBERT rerank"] > mrr["dense"] + 0.01


def test_all_three_weighted_are_better_than_dense_and_sparse(mrr):
    assert mrr["hybrid: dense + sparse + ColBERT"] > max(mrr["dense"], mrr["sparse"]) + 0.015
