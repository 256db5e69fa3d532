"""The bodies of one-request searches of Elasticsearch, with scores in the model's scale: pure functions.

They take the Basic licence and no scripts. ``rescore`` computes a hybrid score of the candidates, and turns the scores
of a ``knn`` query, (1 + s) / 2, back into s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flagvec_elasticsearch.filters import Query
from flagvec_elasticsearch.schema import DENSE, SPARSE
from flagvec_elasticsearch.queries import MOST_HITS, token_clauses

# Both legs' candidates are in one rescored window.
MOST_CANDIDATES = MOST_HITS // 2
MOST_RESCORED = MOST_HITS

# As in flagvec's own store: how many documents the index looks among for each that is wanted.
_BREADTH = 4
# Puts the dense leg's candidates before all others in the window, whatever these score.
_FIRST = 1e6
_ALL: Query = {"match_all": {}}
_NONE: Query = {"match_none": {}}


@dataclass(frozen=True, slots=True)
class OneRequest:
    """A search in one request.

    Args:
        field: The field of the objects of ``dense`` vector and ``sparse`` weights.
        dense: The query's vector, of length 1.
        sparse: The query's weights by token id, perhaps none.
        candidates: How many documents each leg finds, 5,000 at most.
        filters: Queries that all hold for the documents that take part.
    """

    field: str
    dense: Sequence[float]
    sparse: Mapping[int, float]
    candidates: int
    filters: Sequence[Query]

    def by_dense(self, limit: int) -> Query:
        """Return the search for the documents of the nearest dense vectors.

        Args:
            limit: The most hits that will be asked for.
        """
        nearest = self._nearest(limit, max(self.candidates, _BREADTH * limit))
        return {"query": nearest, "rescore": _rescore(limit, _ALL, before=2.0, weight=-1.0)}

    def by_sparse(self) -> Query:
        """Return the search for the documents of the largest dot product of lexical weights."""
        return {"query": self._any_of(self._tokens()) if self.sparse else _NONE}

    def by_both(self, shares: Mapping[str, float], rescored: int, quantised: bool) -> Query:
        """Return the search for the candidates of both legs, ordered by the weighted mean of both scores.

        A dense score counts from 0 up, and as 0 for a document that is not among the nearest.

        Args:
            shares: What the scores of ``dense`` and ``sparse`` count, both above 0.
            rescored: Of how many nearest documents the dense score is known.
            quantised: Whether the index over dense vectors is of shortened numbers.
        """
        nearest = self._nearest(self.candidates, _BREADTH * self.candidates)
        found = self._any_of([{"constant_score": {"filter": nearest, "boost": _FIRST}}, *self._tokens()])
        exactly = {"rescore_vector": {"oversample": 1.0}} if quantised else {}
        # No score of a query is negative, so the dense one is counted higher by its share, which is taken off last.
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
        # Beside a filter Elasticsearch asks for no clause to match, unless it is told.
        return {"bool": {"should": clauses, "minimum_should_match": 1, "filter": self.filters}}


def _rescore(window: int, query: Query, before: float, weight: float) -> Query:
    """Return the step that makes each of the best `window` scores ``before * score + weight * score of query``."""
    return {
        "window_size": window,
        "query": {"rescore_query": query, "query_weight": before, "rescore_query_weight": weight},
    }


def _constant(score: float) -> Query:
    return {"constant_score": {"filter": _ALL, "boost": score}}
