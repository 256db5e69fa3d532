"""The candidates of all queries with their scores, from which every fusion is computed without another search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flagvec.evaluation.encoded import encoded_queries
from flagvec.evaluation.queries import JudgedQueries, document_of
from flagvec.evaluation.tuning import Tried
from flagvec.progress import progress_bar
from flagvec.search.fusion import Weighted, ids_best_first, reciprocal_rank_fusion, weighted_fusion
from flagvec.store.base import HybridStore
from flagvec.store.documents import Hit

_LEGS = ("dense", "sparse")


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
        documents: (queries, width) a number for each candidate's document, which parts of one document share; None if
            no document was split.
    """

    queries: int
    width: int
    query: NDArray[np.intp]
    place: NDArray[np.intp]
    scores: Mapping[str, NDArray[np.float64]]
    legs: Mapping[str, NDArray[np.bool_]]
    grades: NDArray[np.float64]
    ids: Sequence[Sequence[str]]
    documents: NDArray[np.intp] | None = None

    def best_grades(self, fusion: Tried, depth: int) -> NDArray[np.float64]:
        """Return (queries, depth) float64, the grades of the best candidates by a fusion, best first."""
        fused = self._by_ranks() if isinstance(fusion, str) else weighted_fusion(self.scores, fusion)
        matrix = np.full((self.queries, self.width), -np.inf)
        matrix[self.query, self.place] = np.where(self._found(fusion), fused, -np.inf)
        # A stable order keeps equal scores in the order of their ids, as stores do.
        order = np.argsort(-matrix, axis=1, kind="stable")[:, :depth]
        grades = np.where(
            np.isneginf(np.take_along_axis(matrix, order, axis=1)), 0.0, np.take_along_axis(self.grades, order, axis=1)
        )
        if self.documents is not None:
            grades = _of_first_parts(grades, np.take_along_axis(self.documents, order, axis=1))
        return np.pad(grades, ((0, 0), (0, depth - grades.shape[1])))

    def _found(self, fusion: Tried) -> NDArray[np.bool_]:
        """Return which candidates a search with this fusion has; a leg without a weight brings none."""
        legs = self.legs if isinstance(fusion, str) else {n: self.legs[n] for n in self.legs if getattr(fusion, n) > 0}
        return np.asarray(np.any(list((legs or self.legs).values()), axis=0))

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


def _of_first_parts(grades: NDArray[np.float64], documents: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return grades of hits without those of a document that has a better hit; zeros fill the end."""
    kept = np.zeros_like(grades)
    for row, numbers in enumerate(documents):
        firsts = np.sort(np.unique(numbers, return_index=True)[1])
        kept[row, : len(firsts)] = grades[row, firsts]
    return kept


def fetched(store: HybridStore, queries: JudgedQueries, candidates: int, show_progress: bool | None) -> Pool:
    """Return the candidates of queries: what each leg of a hybrid search finds, with the scores of all representations.

    One search brings them for each query, and none is repeated for a fusion.

    Args:
        store: A store that holds lexical weights or ColBERT vectors.
        queries: The queries.
        candidates: How many documents each leg finds.
        show_progress: As in ``HybridStore.add``.
    """
    held = store.schema.representations
    legs = [name for name in _LEGS if name in held]
    outputs, _ = encoded_queries(store.model, queries, held, show_progress)
    equal = Weighted(**{one.name: float(one.name in held) for one in fields(Weighted)})
    found: list[list[Hit]] = []
    with progress_bar(len(queries), "searching", "query", show_progress) as bar:
        for output in outputs:
            found.append(sorted(store._union(output, candidates, equal), key=attrgetter("id")))
            bar.update(1)
    return _pool(queries, found, legs, held, candidates)


def _pool(
    queries: JudgedQueries,
    found: Sequence[Sequence[Hit]],
    legs: Sequence[str],
    held: Sequence[str],
    candidates: int,
) -> Pool:
    sizes = [len(hits) for hits in found]
    scores = {name: np.array([hit.scores[name] for hits in found for hit in hits], dtype=float) for name in held}
    width = max(*sizes, 1)
    grades = np.zeros((len(queries), width))
    documents = np.full((len(queries), width), -1)
    is_split = False
    for row, (query, hits) in enumerate(zip(queries, found, strict=True)):
        names = [document_of(hit) for hit in hits]
        grades[row, : len(names)] = [query.relevant.get(name, 0) for name in names]
        documents[row, : len(names)] = np.unique(names, return_inverse=True)[1] if names else []
        is_split |= any(name != hit.id for name, hit in zip(names, hits, strict=True))
    place = np.concatenate([np.arange(size) for size in sizes])
    of_query = np.repeat(np.arange(len(queries)), sizes)
    in_legs = {name: _in_leg(scores[name], of_query, candidates, name == "sparse") for name in legs}
    ids = [[hit.id for hit in hits] for hits in found]
    return Pool(len(queries), width, of_query, place, scores, in_legs, grades, ids, documents if is_split else None)


def _in_leg(scores: NDArray[Any], query: NDArray[np.intp], candidates: int, is_positive: bool) -> NDArray[np.bool_]:
    """Return which candidates are among the best of their query; a sparse search finds no score of 0."""
    # Candidates are in the order of their ids, which a stable sort keeps for equal scores.
    order = np.lexsort((-scores, query))
    starts = np.searchsorted(query, query)
    rank = np.empty(len(scores), dtype=np.intp)
    rank[order] = np.arange(len(scores)) - starts[order]
    best = rank < candidates
    return best & (scores > 0) if is_positive else best
