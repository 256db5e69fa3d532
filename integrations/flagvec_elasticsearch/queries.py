"""The bodies of searches, and the scores in their answers: pure functions.

There are no scripts in them but the one for ``rank_vectors``, which Elasticsearch compares in no other way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flagvec.search.fusion import RRF_K, best_first
from flagvec_elasticsearch import layout as fields
from flagvec_elasticsearch.convert import unit
from flagvec_elasticsearch.filters import Query
from flagvec_elasticsearch.layout import SparseField

# `index.max_result_window`, and the most that `num_candidates` may be.
MOST_HITS = 10_000
# A query of more tokens is searched by its heaviest. Every server takes 1,024 clauses, and a filter has some too.
MOST_QUERY_TOKENS = 512

# Looking among four times as many as are wanted, an index over 10,000 random vectors found the 100 best without a miss.
_BREADTH = 4

# A candidate's id comes from doc values alone: that takes half the time of reading where its document is stored.
ONLY_IDS: Query = {"stored_fields": "_none_", "docvalue_fields": [fields.ID]}
IDS_AND_ROWS: Query = {"stored_fields": "_none_", "docvalue_fields": [fields.ID, fields.COLBERT_ROWS]}
ONLY_DOCUMENTS: Query = {"_source": [fields.TEXT, fields.METADATA]}
NO_DOCUMENTS: Query = {"_source": False}


def nearest(vector: NDArray[np.float32], limit: int, candidates: int, filters: Sequence[Query]) -> Query:
    """Return the search for the documents of the nearest dense vectors.

    Args:
        vector: (dimension,) float32, of length about 1.
        limit: How many documents to find.
        candidates: Among how many the index looks at least; among four times `limit`, if that is more.
        filters: Queries that all hold for the documents that take part.
    """
    breadth = min(MOST_HITS, max(candidates, _BREADTH * limit))
    return {"knn": _knn(vector, limit, breadth, filters), "size": limit}


def sharing_tokens(
    weights: Mapping[int, float], field_type: SparseField, limit: int, filters: Sequence[Query]
) -> Query:
    """Return the search for the documents of the largest dot product of lexical weights.

    Only documents with a token in common are found. Of a query of over 512 tokens, its heaviest are searched by.

    Args:
        weights: Token id to weight, not empty.
        field_type: Of the field that holds the documents' weights.
        limit: How many documents to find.
        filters: Queries that all hold for the documents that take part.
    """
    # Beside a filter Elasticsearch asks for no clause to match, unless it is told.
    found: Query = {
        "should": _sparse_clauses(weights, field_type),
        "minimum_should_match": 1,
        "filter": list(filters),
    }
    return {"query": {"bool": found}, "size": limit}


def _sparse_clauses(weights: Mapping[int, float], field_type: SparseField) -> list[Query]:
    if field_type == "rank_features":
        return token_clauses(weights, fields.SPARSE)
    vector = {str(token): weight for token, weight in _heaviest(weights)}
    return [{"sparse_vector": {"field": fields.SPARSE, "query_vector": vector, "prune": False}}]


def token_clauses(weights: Mapping[int, float], field: str, share: float = 1.0) -> list[Query]:
    """Return a query for each of the 512 heaviest tokens, whose scores add up to the dot product of lexical weights.

    Args:
        weights: Token id to weight.
        field: The path of the ``rank_features`` that hold the documents' weights.
        share: What the scores are multiplied by, above 0.
    """
    return [
        {"rank_feature": {"field": f"{field}.{token}", "linear": {}, "boost": share * weight}}
        for token, weight in _heaviest(weights)
    ]


def _heaviest(weights: Mapping[int, float]) -> list[tuple[int, float]]:
    """Return the tokens that a query is searched by, with their weights: the 512 heaviest, heaviest first."""
    return best_first(weights)[:MOST_QUERY_TOKENS]


def nearest_of(vector: NDArray[np.float32], ids: Sequence[str], quantised: bool) -> Query:
    """Return the search for the exact scores of chosen documents' dense vectors.

    Among as many candidates as there are documents the index finds them all, by comparing one by one; where it holds
    shortened numbers they are compared once more in full.
    """
    rescored = {"rescore_vector": {"oversample": 1.0}} if quantised else {}
    return {"knn": {**_knn(vector, len(ids), len(ids), [with_ids(ids)]), **rescored}, "size": len(ids)}


def max_sim_of(rows: NDArray[np.float32], ids: Sequence[str]) -> Query:
    """Return the search for the ColBERT scores of chosen documents in a ``rank_vectors`` field.

    Elasticsearch's scores are not negative, so that each query vector's best match, -1 at worst, is counted one higher.
    """
    script = {
        "source": f"maxSimDotProduct(params.rows, '{fields.COLBERT}') + params.count",
        "params": {"rows": rows, "count": len(rows)},
    }
    having = {"bool": {"filter": [with_ids(ids), {"exists": {"field": fields.COLBERT}}]}}
    return {"query": {"script_score": {"query": having, "script": script}}, "size": len(ids)}


def colbert_vectors_of(ids: Sequence[str]) -> Query:
    """Return the search for chosen documents' own ColBERT vectors."""
    found = {"stored_fields": "_none_", "docvalue_fields": [fields.ID, fields.COLBERT]}
    return {"query": {"bool": {"filter": [with_ids(ids)]}}, "size": len(ids), **found}


def documents_of(ids: Sequence[str], weights: Mapping[int, float] | None, field_type: SparseField) -> Query:
    """Return the search for chosen documents' text and metadata, scored by lexical weights, 0 where none is shared.

    Args:
        ids: The documents.
        weights: Token id to weight; where there are none, every score is 0.
        field_type: Of the field that holds the documents' weights.
    """
    chosen: Query = {"filter": [with_ids(ids)]}
    if weights:
        chosen["should"] = _sparse_clauses(weights, field_type)
    return {"query": {"bool": chosen}, "size": len(ids), **ONLY_DOCUMENTS}


def fused(legs: Sequence[Query], limit: int, candidates: int) -> Query:
    """Return the search that lets Elasticsearch fuse what legs find by reciprocal ranks."""
    retrievers = [{"knn": leg["knn"]} if "knn" in leg else {"standard": {"query": leg["query"]}} for leg in legs]
    rrf = {"retrievers": retrievers, "rank_window_size": candidates, "rank_constant": RRF_K}
    return {"retriever": {"rrf": rrf}, "size": limit}


def with_ids(ids: Sequence[str]) -> Query:
    """Return the query for chosen documents."""
    return {"ids": {"values": list(ids)}}


def hits(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the hits of an answer to a search."""
    found: list[Mapping[str, Any]] = answer["hits"]["hits"]
    return found


def value(hit: Mapping[str, Any], field: str, default: Any = None) -> Any:
    """Return a hit's only value of a field that was asked for, `default` if it has none."""
    return hit.get("fields", {}).get(field, [default])[0]


def model_scores(representation: str, scores: Sequence[float], query_rows: int = 0) -> Sequence[float]:
    """Return the model's scores for scores of Elasticsearch's, which never are negative.

    Args:
        representation: Whose scores they are. A dense one is (1 + s) / 2, a ColBERT one of `max_sim_of` is the sum over
            the query's vectors of 1 + s, a sparse one is the model's own.
        scores: What hits have.
        query_rows: The number of the query's ColBERT vectors.
    """
    match representation:
        case fields.DENSE:
            return [2.0 * score - 1.0 for score in scores]
        case fields.COLBERT:
            return [score / query_rows - 1.0 for score in scores]
    return scores


def _knn(vector: NDArray[np.float32], k: int, breadth: int, filters: Sequence[Query]) -> Query:
    knn: Query = {"field": fields.DENSE, "query_vector": unit(vector), "k": k, "num_candidates": breadth}
    return {**knn, "filter": list(filters)} if filters else knn
