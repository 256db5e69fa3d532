"""The bodies of searches of Elasticsearch in one request, with scores in the model's scale: pure functions.

They use no scripts and need only the Basic licence. A ``rescore`` step computes the hybrid score of the candidates, and
turns the scores of a ``knn`` query, (1 + s) / 2, back into s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flagvec_elasticsearch.filters import Query
from flagvec_elasticsearch.queries import MOST_HITS, token_clauses
from flagvec_elasticsearch.schema import DENSE, SPARSE

# The candidates of both legs share one rescored window.
MOST_CANDIDATES = MOST_HITS // 2
MOST_RESCORED = MOST_HITS

# How many documents the index looks at for each one wanted, as in flagvec's own store.
_BREADTH = 4
# Ranks the candidates of the dense leg before all others in the window, whatever their lexical scores are.
_FIRST = 1e6
_ALL: Query = {"match_all": {}}
_NONE: Query = {"match_none": {}}


@dataclass(frozen=True, slots=True)
class OneRequest:
    """A search in one request.

    Args:
        field: The field that holds the objects with a ``dense`` vector and ``sparse`` weights.
        dense: The query's vector, of length 1.
        sparse: The query's weights by token id; may be empty.
        candidates: How many documents each leg finds, at most 5,000.
        filters: Queries; documents that meet all of them take part.
    """

    field: str
    dense: Sequence[float]
    sparse: Mapping[int, float]
    candidates: int
    filters: Sequence[Query]

    def by_dense(self, limit: int) -> Query:
        """Return the search for the `limit` documents with the nearest dense vectors."""
        nearest = self._nearest(limit, max(self.candidates, _BREADTH * limit))
        return {"query": nearest, "rescore": _rescore(limit, _ALL, before=2.0, weight=-1.0)}

    def by_sparse(self) -> Query:
        """Return the search for the documents with the largest dot product of lexical weights."""
        return {"query": self._any_of(self._tokens()) if self.sparse else _NONE}

    def by_both(self, shares: Mapping[str, float], rescored: int, quantised: bool) -> Query:
        """Return the search for the candidates of both legs, ordered by the weighted mean of both scores.

        A negative dense score counts as 0, and so does that of a document that is not among the nearest.

        Args:
            shares: The shares of the ``dense`` and the ``sparse`` score, both above 0.
            rescored: For how many of the nearest documents the dense score is computed.
            quantised: Whether the dense index holds quantised vectors.
        """
        nearest = self._nearest(self.candidates, _BREADTH * self.candidates)
        found = self._any_of([{"constant_score": {"filter": nearest, "boost": _FIRST}}, *self._tokens()])
        exactly = {"rescore_vector": {"oversample": 1.0}} if quantised else {}
        # Elasticsearch refuses negative scores. Therefore the dense score is raised by its share, which the last step
        # subtracts again.
        share = shares[DENSE]
        dense = self._nearest(rescored, rescored, boost=2.0 * share, **exactly)
        scored = [{"dis_max": {"queries": [dense, _constant(share)]}}, *self._tokens(shares[SPARSE])]
        window = 2 * self.candidates
        return {
            "query": found,
            "rescore": [
                _rescore(window, {"bool": {"should": scored}}, before=0.0, weight=1.0),
                _rescore(window, _ALL, before=1.0, weight=-share),
            ],
        }

    def _nearest(self, limit: int, breadth: int, **options: Any) -> Query:
        knn = {"field": f"{self.field}.{DENSE}", "query_vector": self.dense, "filter": self.filters}
        return {"knn": {**knn, "k": limit, "num_candidates": min(MOST_HITS, breadth), **options}}

    def _tokens(self, share: float = 1.0) -> list[Query]:
        return token_clauses(self.sparse, f"{self.field}.{SPARSE}", share)

    def _any_of(self, clauses: Sequence[Query]) -> Query:
        # If there is a filter, ``should`` clauses are optional by default.
        return {"bool": {"should": clauses, "minimum_should_match": 1, "filter": self.filters}}


def _rescore(window: int, query: Query, before: float, weight: float) -> Query:
    """Return the step that replaces the best `window` scores by ``before * score + weight * score of the query``."""
    return {
        "window_size": window,
        "query": {"rescore_query": query, "query_weight": before, "rescore_query_weight": weight},
    }


def _constant(score: float) -> Query:
    return {"constant_score": {"filter": _ALL, "boost": score}}
