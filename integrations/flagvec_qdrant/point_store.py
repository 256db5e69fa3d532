"""What the Qdrant stores share: records to points, a search's stages to hits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from flagvec.retrieval.documents import Document, Hit
from flagvec.retrieval.options import SearchOptions
from flagvec.retrieval.store import HybridStore
from flagvec.retrieval.vectors import TextVectors
from flagvec_qdrant import convert


class FoundPoint(NamedTuple):
    """A point of an answer; its payload is empty where none was asked for."""

    id: str
    score: float
    payload: Mapping[str, Any]


class PointStore(HybridStore):
    """A store whose documents are Qdrant points; subclasses say how an engine is asked."""

    def _search(self, query: TextVectors, options: SearchOptions) -> list[Hit]:
        stage = convert.ranking(query, options)
        if stage is None:
            return []
        if len(options.representations) == 1:
            # The ranking's score is the representation's own: one request says it all.
            name = options.representations[0]
            [points] = self._query([replace(stage, payload=True)], query)
            return [_hit(point, point.score, {name: point.score}) for point in points]
        [points] = self._query([stage], query)
        if not points:
            return []
        last = sorted((point.score for point in points), reverse=True)[: options.limit][-1]
        best = {point.id: point.score for point in points if point.score >= last}
        return self._explained(best, query, options)

    def _explained(self, fused: Mapping[str, float], query: TextVectors, options: SearchOptions) -> list[Hit]:
        """Return the points with these scores as hits, with their own score in each representation."""
        scored = [name for name in options.representations if name in query.present]
        points, *answers = self._query(convert.details(list(fused), scored), query)
        own = {name: {point.id: point.score for point in answer} for name, answer in zip(scored, answers, strict=True)}
        hits = []
        for point in points:
            # A point that has nothing in common with the query, or lacks the vector, is not in the answer: it scores 0.
            scores = {
                name: convert.score_scale(name, query) * own.get(name, {}).get(point.id, 0.0)
                for name in options.representations
            }
            hits.append(_hit(point, scores[convert.COLBERT] if options.rerank else fused[point.id], scores))
        return hits

    def _get(self, ids: Sequence[str]) -> list[Document]:
        return [convert.from_payload(payload) for payload in self._payloads([convert.point_id(name) for name in ids])]

    def _delete(self, ids: Sequence[str]) -> None:
        self._delete_points([convert.point_id(name) for name in ids])

    def _max_colbert_rows(self) -> int | None:
        dimension = self.schema.colbert_dimension
        return convert.max_colbert_rows(dimension) if dimension else None

    @abstractmethod
    def _query(self, stages: Sequence[convert.Stage], query: TextVectors) -> list[list[FoundPoint]]:
        """Return each stage's points, all asked for in one request."""

    @abstractmethod
    def _payloads(self, ids: Sequence[str]) -> list[Mapping[str, Any]]:
        """Return the payloads of those points that are there."""

    @abstractmethod
    def _delete_points(self, ids: Sequence[str]) -> None:
        """Delete those points that are there."""


def _hit(point: FoundPoint, score: float, scores: Mapping[str, float]) -> Hit:
    document = convert.from_payload(point.payload)
    return Hit(document.id, score, document.text, document.metadata, scores)
