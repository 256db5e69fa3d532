"""The candidates of all queries with their scores, from which every fusion is computed without another search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flagvec.evaluation.encoded import encoded_queries
from flagvec.evaluation.queries import JudgedQueries
from flagvec.m3_output import M3Output
from flagvec.progress import progress_bar
from flagvec.search.fusion import Weighted, ids_best_first, reciprocal_rank_fusion, weighted_fusion
from flagvec.store.base import HybridStore

_LEGS = ("dense", "sparse")
# So small a weight changes no order, unless two scores are equal in six digits. But its leg brings candidates, and its
# representation's scores come with the hits.
_TRACE = 1e-6


@dataclass(frozen=True)
class Pool:
    """The candidates of all queries, in a row, with their scores.

    Args:
        queries: How many queries there are.
        width: The most candidates of a query.
        query: (n,) the query of each candidate, ascending.
        place: (n,) its place among the query's candidates, which are in the order of their ids.
        scores: For each representation (n,) float64, in the model's scale.
        legs: For ``dense`` and ``sparse`` (n,) whether that leg found the candidate.
        grades: (queries, width) float64: each candidate's relevance; 0 for what is not relevant and beyond the last.
        ids: The ids of each query's candidates, ascending.
    """

    queries: int
    width: int
    query: NDArray[np.intp]
    place: NDArray[np.intp]
    scores: Mapping[str, NDArray[np.float64]]
    legs: Mapping[str, NDArray[np.bool_]]
    grades: NDArray[np.float64]
    ids: Sequence[Sequence[str]]

    def best_grades(self, fusion: Weighted | str, depth: int) -> NDArray[np.float64]:
        """Return (queries, depth) float64, the grades of the best candidates by a fusion, best first."""
        fused = self._by_ranks() if isinstance(fusion, str) else weighted_fusion(self.scores, fusion)
        matrix = np.full((self.queries, self.width), -np.inf)
        matrix[self.query, self.place] = np.where(self._found(fusion), fused, -np.inf)
        # A stable order keeps equal scores in the order of their ids, as stores do.
        order = np.argsort(-matrix, axis=1, kind="stable")[:, :depth]
        grades = np.where(
            np.isneginf(np.take_along_axis(matrix, order, axis=1)), 0.0, np.take_along_axis(self.grades, order, axis=1)
        )
        return np.pad(grades, ((0, 0), (0, depth - grades.shape[1])))

    def _found(self, fusion: Weighted | str) -> NDArray[np.bool_]:
        """Return which candidates a search with this fusion has; a leg without a weight brings none."""
        legs = self.legs if isinstance(fusion, str) else {n: self.legs[n] for n in self.legs if getattr(fusion, n) > 0}
        return np.any(list((legs or self.legs).values()), axis=0)

    def _by_ranks(self) -> NDArray[np.float64]:
        fused = np.zeros(len(self.query))
        starts = np.searchsorted(self.query, np.arange(self.queries + 1))
        for position, ids in enumerate(self.ids):
            rows = slice(starts[position], starts[position + 1])
            rankings = []
            for name, found in self.legs.items():
                scores = dict(zip(ids, self.scores[name][rows].tolist(), strict=True))
                in_leg = {one for one, is_in in zip(ids, found[rows].tolist(), strict=True) if is_in}
                rankings.append(ids_best_first({one: scores[one] for one in in_leg}))
            by_id = dict(reciprocal_rank_fusion(rankings))
            fused[rows] = [by_id.get(one, 0.0) for one in ids]
        return fused


def fetched(store: HybridStore, queries: JudgedQueries, candidates: int, show_progress: bool | None) -> Pool:
    """Return the candidates of queries: what each leg of a hybrid search finds, with the scores of all representations.

    A search for each leg brings them, and none is repeated for a fusion.

    Args:
        store: A store that holds lexical weights or ColBERT vectors.
        queries: The queries.
        candidates: How many documents each leg finds.
        show_progress: As in ``HybridStore.add``.
    """
    held = store.schema.representations
    legs = [name for name in _LEGS if name in held]
    outputs, _ = encoded_queries(store.model, queries, held, show_progress)
    found: list[dict[str, Mapping[str, float]]] = []
    with progress_bar(len(queries) * len(legs), "searching", "query", show_progress) as bar:
        for output in outputs:
            found.append(_union(store, output, legs, candidates))
            bar.update(len(legs))
    return _pool(queries, found, legs, held, candidates)


def _union(store: HybridStore, output: M3Output, legs: Sequence[str], candidates: int) -> dict[str, Mapping[str, float]]:
    """Return the scores of all documents that a leg finds, by id."""
    union = {}
    for leg in legs:
        weights = {name: 1.0 if name == leg else _TRACE for name in store.schema.representations}
        for hit in store.search_vectors(output, candidates, fusion=weights, candidates=candidates):
            union[hit.id] = hit.scores
    return union


def _pool(
    queries: JudgedQueries,
    found: Sequence[Mapping[str, Mapping[str, float]]],
    legs: Sequence[str],
    held: Sequence[str],
    candidates: int,
) -> Pool:
    ids = [sorted(one) for one in found]
    sizes = [len(one) for one in ids]
    scores = {
        name: np.array([one[item][name] for one, names in zip(found, ids, strict=True) for item in names], dtype=float)
        for name in held
    }
    grades = np.zeros((len(queries), max(*sizes, 1)))
    for row, (query, names) in enumerate(zip(queries, ids, strict=True)):
        grades[row, : len(names)] = [query.relevant.get(name, 0) for name in names]
    place = np.concatenate([np.arange(size) for size in sizes])
    of_query = np.repeat(np.arange(len(queries)), sizes)
    in_legs = {name: _in_leg(scores[name], of_query, candidates, name == "sparse") for name in legs}
    return Pool(len(queries), grades.shape[1], of_query, place, scores, in_legs, grades, ids)


def _in_leg(scores: NDArray[Any], query: NDArray[np.intp], candidates: int, is_positive: bool) -> NDArray[np.bool_]:
    """Return which candidates are among the best of their query; a sparse search finds no score of 0."""
    # Candidates are in the order of their ids, which a stable sort keeps for equal scores.
    order = np.lexsort((-scores, query))
    starts = np.searchsorted(query, query)
    rank = np.empty(len(scores), dtype=np.intp)
    rank[order] = np.arange(len(scores)) - starts[order]
    best = rank < candidates
    return best & (scores > 0) if is_positive else best
