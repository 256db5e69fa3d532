"""What numpy says of a search: the reference that every store is held to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flagvec.scoring import lexical_score_matrix
from flagvec.search.fusion import RRF_K, best_first, reciprocal_rank_fusion, weighted_fusion
from flagvec.search.options import SearchOptions
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors

Scores = Mapping[str, float]


@dataclass(frozen=True)
class Expected:
    """What a search should find.

    Args:
        ranking: The best documents with their scores, as many as the limit.
        scores: The fused score of every candidate.
        own: The score of every document in each representation that the search uses.
    """

    ranking: list[tuple[str, float]]
    scores: Scores
    own: Mapping[str, Scores]


def unchanged(value: Any) -> Any:
    return value


class Reference:
    """Searches by brute force over ready vectors.

    Args:
        ids: The documents' ids.
        documents: Their vectors.
        queries: The vectors of every query that will be asked, by its text.
        stored_weights: What a store that rounds lexical weights makes of them.
        stored_rows: What a store that keeps ColBERT vectors as codes makes of them.
    """

    def __init__(
        self,
        ids: Sequence[str],
        documents: Sequence[TextVectors],
        queries: Mapping[str, TextVectors],
        stored_weights: Callable[[Mapping[int, float]], Mapping[int, float]] = unchanged,
        stored_rows: Callable[[NDArray[np.float32]], NDArray[np.float32]] = unchanged,
    ) -> None:
        self.ids = list(ids)
        self._columns = {name: column for column, name in enumerate(self.ids)}
        self.rows = {text: row for row, text in enumerate(queries)}
        self.present = {text: vectors.present for text, vectors in queries.items()}
        asked = list(queries.values())
        self.tables: dict[str, NDArray[np.floating[Any]]] = {
            "dense": np.stack([q.dense for q in asked]) @ np.stack([d.dense for d in documents]).T
        }
        if documents[0].sparse is not None:
            stored = [stored_weights(document.sparse) for document in documents]
            self.tables["sparse"] = lexical_score_matrix([query.sparse for query in asked], stored)
        if documents[0].colbert is not None:
            self.tables["colbert"] = _colbert_table(asked, [stored_rows(document.colbert) for document in documents])

    def search(self, schema: Schema, query: str, **given: Any) -> Expected:
        options = SearchOptions.checked(schema, **given)
        row = self.rows[query]
        own = {
            name: dict(zip(self.ids, self.tables[name][row].tolist(), strict=True)) for name in options.representations
        }
        legs = [self._found(own[leg], leg)[: options.candidates] for leg in options.legs if leg in self.present[query]]
        union = sorted({name for leg in legs for name in leg})
        if options.rerank:
            scores = {name: own["colbert"][name] for name in union}
        elif options.weights:
            columns = {name: np.array([own[name][d] for d in union]) for name in options.weights.representations}
            scores = dict(zip(union, weighted_fusion(columns, options.weights), strict=True))
        elif options.mode == "hybrid":
            scores = dict(reciprocal_rank_fusion(legs))
        else:
            scores = {name: own[options.mode][name] for name in union}
        return Expected(best_first(scores)[: options.limit], scores, own)

    def own_score(self, query: str, document_id: str, representation: str) -> float:
        """Return a document's score in one representation."""
        return float(self.tables[representation][self.rows[query], self._columns[document_id]])

    def reciprocal_bounds(self, query: str, candidates: int, tie: float) -> dict[str, tuple[float, float]]:
        """Return the least and the most that reciprocal rank fusion can give each document.

        Args:
            query: One of the queries.
            candidates: How many documents each leg finds.
            tie: Documents whose scores in a leg differ by no more than this may come in either order.
        """
        low, high = np.zeros(len(self.ids)), np.zeros(len(self.ids))
        for leg in ("dense", "sparse"):
            scores = self.tables[leg][self.rows[query]].astype(np.float64)
            rising = np.sort(scores)
            first = len(scores) - np.searchsorted(rising, scores + tie, side="right") + 1
            last = len(scores) - np.searchsorted(rising, scores - tie, side="left")
            findable = (scores > 0) | (leg == "dense")
            low += np.where(findable & (last <= candidates), 1 / (RRF_K + last), 0.0)
            high += np.where(findable & (first <= candidates), 1 / (RRF_K + first), 0.0)
        return dict(zip(self.ids, zip(low.tolist(), high.tolist(), strict=True), strict=True))

    @staticmethod
    def _found(scores: Scores, leg: str) -> list[str]:
        return [name for name, score in best_first(scores) if leg != "sparse" or score > 0]


def _colbert_table(queries: Sequence[TextVectors], documents: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the mean over query rows of the best match, (queries, documents), one product a document."""
    rows = np.concatenate([query.colbert for query in queries])
    lengths = np.array([len(query.colbert) for query in queries])
    starts = np.cumsum(lengths) - lengths
    table = np.zeros((len(queries), len(documents)), np.float32)
    filled = np.flatnonzero(lengths)
    for column, document in enumerate(documents):
        if len(document) and len(filled):
            best = (rows @ np.asarray(document, np.float32).T).max(axis=1)
            table[filled, column] = np.add.reduceat(best, starts[filled]) / lengths[filled]
    return table
