"""One search of a collection: Milvus fuses ranks, and weighted scores are fused here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

from more_itertools import chunked
from pymilvus import AnnSearchRequest, RRFRanker
from pymilvus.client.embedding_list import EmbeddingList

from flagvec.search.exact import Scores, by_scores
from flagvec.search.fusion import RRF_K
from flagvec.search.lost import LostColbert
from flagvec.search.options import SearchOptions
from flagvec.search.ties import best_with_ties
from flagvec.store.documents import Hit
from flagvec.store.vectors import TextVectors
from flagvec_milvus.client import MOST_ROWS, CollectionClient
from flagvec_milvus.convert import Row, own_score, to_document
from flagvec_milvus.filters import expression, one_of
from flagvec_milvus.schema import COLBERT, COLBERT_PATH, DENSE, ID, Layout
from flagvec_milvus.stored_colbert import StoredColbert

# Milvus Lite returns answers of up to 256 MB.
_LARGEST_ANSWER_BYTES = 200 * 2**20
_LONGEST_TEXT_TOKENS = 8_192
_IDS_PER_REQUEST = 1_000


@dataclass(frozen=True, slots=True)
class Search:
    """A search of a collection.

    Args:
        client: The collection.
        layout: How its rows lie.
        stored: How it keeps ColBERT vectors, if it does.
        query: What is searched for.
        options: The search's options.
        lost: Counts the candidates whose ColBERT vectors are damaged.
    """

    client: CollectionClient
    layout: Layout
    stored: StoredColbert
    query: TextVectors
    options: SearchOptions
    lost: LostColbert

    def hits(self) -> list[Hit]:
        """Return the best documents.

        Raises:
            TypeError: A native filter that is not a ``str``.
            ValueError: More candidates than a server returns.
        """
        options = self.options
        if options.candidates > MOST_ROWS and not self.client.engine.is_lite:
            raise ValueError(
                f"limit={options.limit}, candidates={options.candidates}: a search of a Milvus server finds at most "
                f"{MOST_ROWS:,} documents; scroll goes through all"
            )
        if options.representations == options.legs and len(options.legs) == 1:
            return self._of_one_leg()
        if options.weights or options.rerank:
            return self._of_exact_scores()
        return self._of_ranks()

    @property
    def _legs(self) -> list[str]:
        """The legs in which the query has a vector."""
        return [name for name in self.options.legs if name in self.query.present]

    def _of_one_leg(self) -> list[Hit]:
        return [
            _found_hit(row, {name: row["distance"]})
            for name in self._legs
            for row in self._found(name, self.options.limit, self.layout.content_fields)
        ]

    def _of_exact_scores(self) -> list[Hit]:
        """Return the hits of a weighted search or a rerank: one round for the legs, one for scores that they lack."""
        asked = [partial(self._found, name, self.options.candidates, (ID,)) for name in self._legs]
        found = zip(self._legs, self.client.at_once(asked), strict=True)
        legs = {name: {row["id"]: row["distance"] for row in rows} for name, rows in found}
        ranked = by_scores(self.query, legs, self.options, self._own_scores)
        ids = [item.id for item in ranked]
        rows = {row[ID]: row for row in self.client.rows(ids, self.layout.document_fields, self.options.timeout)}
        # A document may have been deleted since its leg found it.
        return [_hit(rows[item.id], item.score, item.scores) for item in ranked if item.id in rows]

    def _of_ranks(self) -> list[Hit]:
        """Return the hits of reciprocal rank fusion: one request, or two if the hits carry scores."""
        legs = [self._request(name) for name in self._legs]
        fields, timeout = self.layout.content_fields, self.options.timeout

        def first(limit: int) -> list[Row]:
            return self.client.hybrid_search(legs, RRFRanker(RRF_K), fields, limit, timeout)

        # Only Milvus Lite takes a limit above MOST_ROWS.
        most = min(self.options.candidates * len(legs), max(self.options.limit, MOST_ROWS))
        found = best_with_ties(first, self.options.limit, most, itemgetter("distance")) if legs else []
        if not self.options.explain:
            return [_found_hit(row, {}) for row in found]
        names = self.options.scored
        own = {
            row[ID]: {name: self._own_score(name, row) for name in names}
            for row in self.client.rows([row["id"] for row in found], (ID, *names), timeout)
        }
        return [_found_hit(row, own[row["id"]]) for row in found if row["id"] in own]

    def _request(self, name: str) -> AnnSearchRequest:
        where = expression(self.options.filter, self.client.engine.is_lite)
        limit = self.options.candidates
        params = self.client.search_params(name, limit)
        return AnnSearchRequest(
            [self._vector(name)], name, params, limit, expr=where.text, expr_params=dict(where.values)
        )

    def _found(self, name: str, limit: int, fields: Sequence[str]) -> list[Row]:
        where = expression(self.options.filter, self.client.engine.is_lite)
        return self.client.search(name, self._vector(name), where, fields, limit, self.options.timeout)

    def _vector(self, name: str) -> Any:
        return self.query.dense if name == DENSE else self.query.sparse

    def _own_scores(self, ids: Mapping[str, list[str]]) -> dict[str, Scores]:
        """Return the exact scores of documents in each representation, computed here from the stored vectors.

        A search restricted to the ids would also give scores. But a graph may miss documents, and a quantised index
        gives approximate scores.
        """
        asked = [partial(self._own_scores_in, name, chosen) for name, chosen in ids.items()]
        return dict(zip(ids, self.client.at_once(asked), strict=True))

    def _own_scores_in(self, name: str, ids: Sequence[str]) -> Scores:
        if name == COLBERT:
            return self._colbert_scores(ids)
        rows = self.client.rows(ids, (ID, name), self.options.timeout, _IDS_PER_REQUEST)
        return {row[ID]: self._own_score(name, row) for row in rows}

    def _own_score(self, name: str, row: Row) -> float:
        return own_score(name, self.query, row[name]) if name in self.query.present else 0.0

    def _colbert_scores(self, ids: Sequence[str]) -> Scores:
        assert self.query.colbert is not None, "a search asks for scores of representations that the query has"
        scores = self._compared_by_server(ids) if self.layout.native_colbert else {}
        others = [found for found in ids if found not in scores]
        lost = 0
        for part in chunked(others, self._ids_per_request()):
            rows = self.client.rows(part, (ID, COLBERT), self.options.timeout, len(part))
            found, damaged = self.stored.scores(self.query.colbert, rows)
            scores, lost = {**scores, **found}, lost + damaged
        self.lost.count(lost, len(ids))
        return scores

    def _compared_by_server(self, ids: Sequence[str]) -> dict[str, float]:
        """Return the ColBERT scores of those documents that the server's graph leads to, which need not be all."""
        assert self.query.colbert is not None, "a search asks for scores of representations that the query has"
        vectors = EmbeddingList(self.query.colbert)
        scores: dict[str, float] = {}
        for part in chunked(ids, _IDS_PER_REQUEST):
            where = one_of(part, self.client.engine.is_lite)
            rows = self.client.search(COLBERT_PATH, vectors, where, (ID,), len(part), self.options.timeout)
            # A distance is the sum over the query's vectors; the model's score is their mean.
            scores |= {row["id"]: row["distance"] / len(self.query.colbert) for row in rows}
        return scores

    def _ids_per_request(self) -> int:
        longest = self.stored.text_size(_LONGEST_TEXT_TOKENS)
        return min(_IDS_PER_REQUEST, max(1, _LARGEST_ANSWER_BYTES // longest))


def _found_hit(row: Row, scores: Mapping[str, float]) -> Hit:
    """Return a row of a search's answer as a hit."""
    return _hit({ID: row["id"], **row["entity"]}, row["distance"], scores)


def _hit(row: Row, score: float, scores: Mapping[str, float]) -> Hit:
    document = to_document(row)
    return Hit(document.id, score, document.text, document.metadata, scores)
