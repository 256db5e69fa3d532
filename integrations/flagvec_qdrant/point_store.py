"""What the Qdrant stores share: records to points, a search's stages to hits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from flagvec.retrieval.capabilities import Capabilities
from flagvec.retrieval.documents import Document, Hit
from flagvec.retrieval.filters import Filter, NativeFilter
from flagvec.retrieval.options import SearchOptions
from flagvec.retrieval.store import HybridStore
from flagvec.retrieval.vectors import ColbertOverflow, TextVectors
from flagvec_qdrant import convert
from flagvec_qdrant.filters import Terms, native_filter
from flagvec_qdrant.storage import FieldType, Layout, Storage

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder


# So many points after the last hit show nearly always whether others tie with it.
_BEYOND_LAST = 8

# A point's own scores by representation.
OwnScores = Mapping[str, float]


class FoundPoint(NamedTuple):
    """A point of an answer, its id as the engine has it; its payload is empty where none was asked for."""

    id: convert.PointId
    score: float
    payload: Mapping[str, Any]


class PointStore(HybridStore):
    """A store whose documents are Qdrant points; subclasses say how an engine is asked."""

    _TERMS: Terms

    def __init__(
        self,
        model: AbsEmbedder,
        *,
        colbert: bool,
        colbert_overflow: ColbertOverflow,
        storage: Storage,
        filter_fields: Mapping[str, FieldType],
    ) -> None:
        super().__init__(model, colbert=colbert, colbert_overflow=colbert_overflow)
        self._layout = Layout.checked(storage, filter_fields)

    @property
    def capabilities(self) -> Capabilities:
        """Everything happens in Qdrant; a multivector has less than 1,048,576 numbers, in documents and queries."""
        dimension = self.schema.colbert_dimension
        return Capabilities(
            multivector=True,
            max_multivector_rows=convert.max_colbert_rows(dimension) if dimension else None,
            native_fusion=frozenset({"rrf", "weighted"}),
        )

    def _search(self, query: TextVectors, options: SearchOptions) -> list[Hit]:
        stage = convert.ranking(query, options)
        if stage is None:
            return []
        where = native_filter(options.filter, self._TERMS)
        points = self._best_points(stage, query, where, options)
        if len(options.representations) == 1:
            # The ranking's score is the representation's own.
            [name] = options.representations
            return [_hit(point, point.score, {name: point.score}) for point in points]
        return self._explained(points, query, options) if points else []

    def _best_points(
        self, stage: convert.Stage, query: TextVectors, where: Any, options: SearchOptions
    ) -> Sequence[FoundPoint]:
        """Return a search's best points with their payloads, and the points that tie with the last of them too."""
        stage = replace(stage, payload=True)
        if stage.limit <= options.limit:
            return self._query([stage], query, where, options.timeout)[0]
        asked = min(options.limit + _BEYOND_LAST, stage.limit)
        [points] = self._query([replace(stage, limit=asked)], query, where, options.timeout)
        if len(points) == asked and points[-1].score == points[options.limit - 1].score:
            [points] = self._query([stage], query, where, options.timeout)
        if len(points) <= options.limit:
            return points
        last = points[options.limit - 1].score
        return [point for point in points if point.score >= last]

    def _explained(self, points: Sequence[FoundPoint], query: TextVectors, options: SearchOptions) -> list[Hit]:
        """Return points as hits, with their own score in each representation."""
        names = options.representations
        present = [name for name in names if name in query.present]
        own = self._own_scores([point.id for point in points], present, query, options.timeout)
        hits = []
        for point in points:
            scores = {name: own.get(point.id, {}).get(name, 0.0) for name in names}
            hits.append(_hit(point, scores[convert.COLBERT] if options.rerank else point.score, scores))
        return hits

    def _own_scores(
        self, ids: Sequence[convert.PointId], representations: Sequence[str], query: TextVectors, timeout: float | None
    ) -> Mapping[convert.PointId, OwnScores]:
        """Return the exact scores of points in the model's scale, by their ids, asked for in one request.

        A point that has nothing in common with the query in a representation, or no such vector, has no score there.
        """
        own: dict[convert.PointId, dict[str, float]] = {point: {} for point in ids}
        answers = self._query(convert.own_scores(ids, representations), query, None, timeout)
        for name, answer in zip(representations, answers, strict=True):
            scale = convert.score_scale(name, query)
            for point in answer:
                own[point.id][name] = point.score * scale
        return own

    def _get(self, ids: Sequence[str], timeout: float | None) -> list[Document]:
        payloads = self._payloads([convert.point_id(name) for name in ids], timeout)
        return [convert.from_payload(payload) for payload in payloads]

    def _delete(self, ids: Sequence[str], timeout: float | None) -> None:
        self._delete_points([convert.point_id(name) for name in ids], timeout)

    def _delete_where(self, filter: Filter | NativeFilter, timeout: float | None) -> None:
        self._delete_found(native_filter(filter, self._TERMS), timeout)

    def _count(self, filter: Filter | NativeFilter | None, timeout: float | None) -> int:
        return self._count_found(native_filter(filter, self._TERMS), timeout)

    def _scroll(
        self, filter: Filter | NativeFilter | None, batch_size: int, timeout: float | None
    ) -> Iterator[list[Document]]:
        where, offset = native_filter(filter, self._TERMS), None
        while True:
            payloads, offset = self._page(where, offset, batch_size, timeout)
            if payloads:
                yield [convert.from_payload(payload) for payload in payloads]
            if offset is None:
                return

    @abstractmethod
    def _query(
        self, stages: Sequence[convert.Stage], query: TextVectors, where: Any, timeout: float | None
    ) -> list[list[FoundPoint]]:
        """Return each stage's points, all asked for in one request; the engine's filter `where` holds for all."""

    @abstractmethod
    def _payloads(self, ids: Sequence[str], timeout: float | None) -> list[Mapping[str, Any]]:
        """Return the payloads of those points that are there."""

    @abstractmethod
    def _delete_points(self, ids: Sequence[str], timeout: float | None) -> None:
        """Delete those points that are there."""

    @abstractmethod
    def _delete_found(self, where: Any, timeout: float | None) -> None:
        """Delete the points that the engine's filter holds for."""

    @abstractmethod
    def _count_found(self, where: Any, timeout: float | None) -> int:
        """Return the number of points that the engine's filter holds for, all for None."""

    @abstractmethod
    def _page(
        self, where: Any, offset: Any, size: int, timeout: float | None
    ) -> tuple[list[Mapping[str, Any]], Any | None]:
        """Return the payloads of `size` points at most from `offset` on, and the offset of the next page if any."""


def _hit(point: FoundPoint, score: float, scores: Mapping[str, float]) -> Hit:
    document = convert.from_payload(point.payload)
    return Hit(document.id, score, document.text, document.metadata, scores)
