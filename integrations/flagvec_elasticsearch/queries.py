"""The bodies of searches, and the scores in their answers: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flagvec.search.fusion import RRF_K, best_first
from flagvec_elasticsearch.convert import unit
from flagvec_elasticsearch.filters import Query
from flagvec_elasticsearch.schema import COLBERT, DENSE, ID, METADATA, SPARSE, TEXT, SparseField

# `index.max_result_window`, and the most that `num_candidates` may be.
MOST_HITS = 10_000
# Every server takes 1,024 clauses, and a filter needs some of them.
MOST_QUERY_TOKENS = 512

# At four times as many candidates, an index over 10,000 random vectors found all of the 100 best.
_BREADTH = 4

# Reading the id from doc values alone takes half the time of opening the stored document, which has _id.
ONLY_IDS: Query = {"stored_fields": "_none_", "docvalue_fields": [ID]}
ONLY_DOCUMENTS: Query = {"_source": [TEXT, METADATA]}
NO_DOCUMENTS: Query = {"_source": False}


def ids_and(field: str) -> Query:
    """Return what a search reads to get documents' ids and a field that has doc values."""
    return {**ONLY_IDS, "docvalue_fields": [ID, field]}


def nearest(vector: NDArray[np.float32], limit: int, candidates: int, filters: Sequence[Query]) -> Query:
    """Return the search for the nearest dense vectors.

    Args:
        vector: (dimension,) float32, of length about 1.
        limit: How many documents to find.
        candidates: How many documents to compare, or four times `limit` if that is more.
        filters: Queries that all hold for the documents that take part.
    """
    breadth = min(MOST_HITS, max(candidates, _BREADTH * limit))
    return {"knn": _knn(vector, limit, breadth, filters), "size": limit}


def nearest_of(vector: NDArray[np.float32], ids: Sequence[str], quantised: bool) -> Query:
    """Return the search for the exact dense scores of chosen documents."""
    # With as many candidates as documents, the index compares each of them.
    rescored = {"rescore_vector": {"oversample": 1.0}} if quantised else {}
    return {"knn": {**_knn(vector, len(ids), len(ids), [with_ids(ids)]), **rescored}, "size": len(ids)}


def sharing_tokens(
    weights: Mapping[int, float], field_type: SparseField, limit: int, filters: Sequence[Query]
) -> Query:
    """Return the search for the largest dot products of lexical weights, among documents that share a token.

    `weights` is not empty; its 512 heaviest tokens take part. `field_type` is that of the documents' weights.
    """
    # Without the minimum, a bool query that also has a filter matches if no clause does.
    found = {"should": _clauses(weights, field_type), "minimum_should_match": 1, "filter": list(filters)}
    return {"query": {"bool": found}, "size": limit}


def token_clauses(weights: Mapping[int, float], field: str, share: float = 1.0) -> list[Query]:
    """Return a query for each of the 512 heaviest tokens, whose scores add up to the dot product of lexical weights.

    Args:
        weights: Token id to weight.
        field: The path of the ``rank_features`` that hold the documents' weights.
        share: A factor of the scores, above 0.
    """
    return [
        {"rank_feature": {"field": f"{field}.{token}", "linear": {}, "boost": share * weight}}
        for token, weight in _heaviest(weights)
    ]


def max_sim_of(rows: NDArray[np.float32], ids: Sequence[str]) -> Query:
    """Return the search for the ColBERT scores of chosen documents in a ``rank_vectors`` field."""
    # Elasticsearch refuses negative scores, so 1 is added for each query vector, whose best match is -1 at worst.
    script = {
        "source": f"maxSimDotProduct(params.rows, '{COLBERT}') + params.count",
        "params": {"rows": rows, "count": len(rows)},
    }
    having = {"bool": {"filter": [with_ids(ids), {"exists": {"field": COLBERT}}]}}
    return {"query": {"script_score": {"query": having, "script": script}}, "size": len(ids)}


def reading(ids: Sequence[str], read: Query) -> Query:
    """Return the search for chosen documents; `read` says what of each."""
    return {"query": {"bool": {"filter": [with_ids(ids)]}}, "size": len(ids), "track_total_hits": False, **read}


def documents_of(ids: Sequence[str], weights: Mapping[int, float] | None, field_type: SparseField) -> Query:
    """Return the search for text and metadata of chosen documents, scored by lexical weights; 0 without any."""
    chosen: Query = {"filter": [with_ids(ids)]}
    if weights:
        chosen["should"] = _clauses(weights, field_type)
    return {"query": {"bool": chosen}, "size": len(ids), **ONLY_DOCUMENTS}


def fused(legs: Sequence[Query], limit: int, candidates: int) -> Query:
    """Return the search in which Elasticsearch fuses what legs find by reciprocal ranks."""
    retrievers = [{"knn": leg["knn"]} if "knn" in leg else {"standard": {"query": leg["query"]}} for leg in legs]
    rrf = {"retrievers": retrievers, "rank_window_size": candidates, "rank_constant": RRF_K}
    return {"retriever": {"rrf": rrf}, "size": limit}


def without_colbert(rows_field: str) -> Query:
    """Return the query for documents without ColBERT vectors, except those that say that they have none."""
    return {"bool": {"must_not": [{"exists": {"field": COLBERT}}, {"term": {rows_field: 0}}]}}


def with_ids(ids: Sequence[str]) -> Query:
    """Return the query for chosen documents."""
    return {"ids": {"values": list(ids)}}


def value(hit: Mapping[str, Any], field: str) -> Any:
    """Return a hit's only value of a field that was asked for, None if it has none."""
    return hit.get("fields", {}).get(field, [None])[0]


def model_score(representation: str, score: float, query_rows: int = 0) -> float:
    """Return the model's score for a score of Elasticsearch, which is never negative.

    Args:
        representation: A dense score s comes as (1 + s) / 2, a ColBERT score as the sum over query vectors of 1 + s,
            a sparse score as it is.
        score: The score of a hit.
        query_rows: The number of the query's ColBERT vectors.
    """
    match representation:
        case "dense":
            return 2.0 * score - 1.0
        case "colbert":
            return score / query_rows - 1.0
    return score


def _knn(vector: NDArray[np.float32], k: int, breadth: int, filters: Sequence[Query]) -> Query:
    knn: Query = {"field": DENSE, "query_vector": unit(vector), "k": k, "num_candidates": breadth}
    return {**knn, "filter": list(filters)} if filters else knn


def _clauses(weights: Mapping[int, float], field_type: SparseField) -> list[Query]:
    if field_type == "rank_features":
        return token_clauses(weights, SPARSE)
    vector = {str(token): weight for token, weight in _heaviest(weights)}
    return [{"sparse_vector": {"field": SPARSE, "query_vector": vector, "prune": False}}]


def _heaviest(weights: Mapping[int, float]) -> list[tuple[int, float]]:
    return best_first(weights)[:MOST_QUERY_TOKENS]
