"""One search of a collection: ranks are fused by Milvus, scores here, with the exact ones that no leg has brought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

from flagvec.ingest.batches import batches
from flagvec.search.exact import Scores, by_scores
from flagvec.search.fusion import RRF_K
from flagvec.search.options import SearchOptions
from flagvec.search.ties import best_with_ties
from flagvec.store.documents import Hit
from flagvec.store.encoding import TextVectors
from flagvec_milvus import convert, struct_array
from flagvec_milvus.convert import COLBERT, DENSE, Layout
from flagvec_milvus.filters import ID, Expression
from flagvec_milvus.requests import MOST_ROWS, Requests, Row
from flagvec_milvus.untyped import AnnSearchRequest, RRFRanker

# Milvus Lite gives answers of up to 256 MB; servers, of more.
_LARGEST_ANSWER_BYTES = 200 * 2**20
_LONGEST_TEXT_TOKENS = 8_192
_IDS_PER_REQUEST = 1_000


@dataclass(frozen=True, slots=True)
class Search:
    """A search and what it is asked of.

    Args:
        requests: The collection.
        query: What is searched for.
        options: How.
        where: The expression of ``options.filter``.
        layout: How the rows of the collection lie.
    """

    requests: Requests
    query: TextVectors
    options: SearchOptions
    where: Expression
    layout: Layout

    def hits(self) -> list[Hit]:
        """Return the best documents."""
        if self.options.representations == self.options.legs and len(self.options.legs) == 1:
            return self._of_one_leg()
        if self.options.weights or self.options.rerank:
            return self._of_exact_scores()
        return self._of_ranks()

    @property
    def _legs(self) -> list[str]:
        """The legs that the query can find something in."""
        return [name for name in self.options.legs if name in self.query.present]

    def _of_one_leg(self) -> list[Hit]:
        """Return the hits of a search that one request answers in full."""
        return [
            _found_hit(row, {name: row["distance"]})
            for name in self._legs
            for row in self._found(name, self.options.limit, self.layout.content_fields)
        ]

    def _of_exact_scores(self) -> list[Hit]:
        """Return the hits of a search that orders all candidates by their own scores."""
        ranked = by_scores(self.query, self._candidates(), self.options, self._own_scores)
        ids = [item.id for item in ranked]
        rows = {row[ID]: row for row in self.requests.rows(ids, self.layout.document_fields, self.options.timeout)}
        return [_hit(rows[item.id], item.score, item.scores) for item in ranked if item.id in rows]

    def _of_ranks(self) -> list[Hit]:
        """Return the hits of reciprocal rank fusion, one request, or two if they are to carry scores."""
        legs = [self._leg(name) for name in self._legs]

        def first(limit: int) -> list[Row]:
            return self.requests.hybrid_search(
                legs, RRFRanker(RRF_K), self.layout.content_fields, limit, self.options.timeout
            )

        # Of servers, the store takes no limit above what they give; Milvus Lite gives any.
        most = min(self.options.candidates * len(legs), max(self.options.limit, MOST_ROWS))
        found = best_with_ties(first, self.options.limit, most, itemgetter("distance")) if legs else []
        if not self.options.explain:
            return [_found_hit(row, {}) for row in found]
        own = self._explained([row["id"] for row in found])
        return [_found_hit(row, own[row["id"]]) for row in found if row["id"] in own]

    def _explained(self, ids: Sequence[str]) -> dict[str, dict[str, float]]:
        """Return documents' scores in each representation that the search uses, of the stored vectors."""
        names = self.options.scored
        return {
            row[ID]: {name: self._own_score(name, row) or 0.0 for name in names}
            for row in self.requests.rows(ids, (ID, *names), self.options.timeout)
        }

    def _candidates(self) -> dict[str, dict[str, float]]:
        """Return the candidates of each leg with their scores."""
        asked = [partial(self._found, name, self.options.candidates, (ID,)) for name in self._legs]
        found = self.requests.ask_together(asked)
        return {
            name: {row["id"]: row["distance"] for row in rows} for name, rows in zip(self._legs, found, strict=True)
        }

    def _leg(self, name: str) -> AnnSearchRequest:
        limit = self.options.candidates
        return AnnSearchRequest(
            [self._vector(name)],
            name,
            self.requests.search_params(name, limit),
            limit,
            expr=self.where.text,
            expr_params=dict(self.where.values),
        )

    def _found(self, name: str, limit: int, fields: Sequence[str]) -> list[Row]:
        """Return the best rows in one representation."""
        return self.requests.search([self._vector(name)], name, self.where, fields, limit, self.options.timeout)

    def _vector(self, name: str) -> Any:
        return self.query.dense if name == DENSE else self.query.sparse

    def _own_scores(self, ids: Mapping[str, list[str]]) -> dict[str, Scores]:
        """Return, for each representation, the exact scores of documents, as `by_scores` asks for them.

        They are computed of the stored vectors: a search restricted to the ids has them too, but an index may not find
        all of these, and a quantised one gives approximate scores.
        """
        asked = [partial(self._own_scores_in, name, chosen) for name, chosen in ids.items()]
        return dict(zip(ids, self.requests.ask_together(asked), strict=True))

    def _own_scores_in(self, name: str, ids: Sequence[str]) -> Scores:
        if name == COLBERT and self.layout.native_colbert:
            compared = self._compared_by_milvus(ids)
            # It compares those whose vectors its graph leads to, which need not be all.
            return {**compared, **self._compared_here(name, [found for found in ids if found not in compared])}
        return self._compared_here(name, ids)

    def _compared_here(self, name: str, ids: Sequence[str]) -> Scores:
        rows = self.requests.rows(ids, (ID, name), self.options.timeout, self._ids_per_request(name))
        scores = {row[ID]: self._own_score(name, row) for row in rows}
        return {found: score for found, score in scores.items() if score is not None}

    def _own_score(self, name: str, row: Row) -> float | None:
        return convert.own_score(name, self.query, row[name]) if name in self.query.present else None

    def _compared_by_milvus(self, ids: Sequence[str]) -> Scores:
        assert self.query.colbert is not None, "a search asks for scores of representations that the query has"
        vectors = [struct_array.as_query(self.query.colbert)]
        scores: dict[str, float] = {}
        for part in batches(ids, _IDS_PER_REQUEST):
            where = self.requests.chosen(part)
            rows = self.requests.search(vectors, struct_array.PATH, where, (ID,), len(part), self.options.timeout)
            scores |= {row["id"]: row["distance"] / len(self.query.colbert) for row in rows}
        return scores

    def _ids_per_request(self, name: str) -> int:
        if name != COLBERT or self.query.colbert is None:
            return _IDS_PER_REQUEST
        longest = convert.part_bytes(_LONGEST_TEXT_TOKENS, self.query.colbert.shape[1])
        return min(_IDS_PER_REQUEST, max(1, _LARGEST_ANSWER_BYTES // longest))


def _found_hit(row: Row, scores: Mapping[str, float]) -> Hit:
    """Return a row of a search's answer as a hit."""
    return _hit({ID: row["id"], **row["entity"]}, row["distance"], scores)


def _hit(row: Row, score: float, scores: Mapping[str, float]) -> Hit:
    document = convert.to_document(row)
    return Hit(document.id, score, document.text, document.metadata, scores)
