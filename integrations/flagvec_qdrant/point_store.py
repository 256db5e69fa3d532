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


class FoundPoint(NamedTuple):
    """A point of an answer; its payload is empty where none was asked for."""

    id: str
    score: float
    payload: Mapping[str, Any]


class ScoredPoint(NamedTuple):
    """A point with its own scores by representation."""

    id: str
    payload: Mapping[str, Any]
    scores: Mapping[str, float]


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
        if len(options.representations) == 1:
            # The ranking's score is the representation's own: one request says it all.
            name = options.representations[0]
            [points] = self._query([replace(stage, payload=True)], query, where, options.timeout)
            return [_hit(point, point.score, {name: point.score}) for point in points]
        [points] = self._query([stage], query, where, options.timeout)
        if not points:
            return []
        last = sorted((point.score for point in points), reverse=True)[: options.limit][-1]
        best = {point.id: point.score for point in points if point.score >= last}
        return self._explained(best, query, options)

    def _explained(self, fused: Mapping[str, float], query: TextVectors, options: SearchOptions) -> list[Hit]:
        """Return the points with these scores as hits, with their own score in each representation."""
        scored = [name for name in options.representations if name in query.present]
        hits = []
        for point in self._scored(list(fused), scored, query, options.timeout):
            scores = {name: point.scores.get(name, 0.0) for name in options.representations}
            hits.append(_hit(point, scores[convert.COLBERT] if options.rerank else fused[point.id], scores))
        return hits

    def _scored(
        self, ids: Sequence[str], representations: Sequence[str], query: TextVectors, timeout: float | None
    ) -> list[ScoredPoint]:
        """Return those points that are there, each with its exact scores in the model's scale, in one request.

        A point that has nothing in common with the query in a representation, or no such vector, has no score there.
        """
        points, *answers = self._query(convert.details(ids, representations), query, None, timeout)
        own: dict[str, dict[str, float]] = {point.id: {} for point in points}
        for name, answer in zip(representations, answers, strict=True):
            for point in answer:
                own.setdefault(point.id, {})[name] = point.score * convert.score_scale(name, query)
        return [ScoredPoint(point.id, point.payload, own[point.id]) for point in points]

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


def _hit(point: FoundPoint | ScoredPoint, score: float, scores: Mapping[str, float]) -> Hit:
    document = convert.from_payload(point.payload)
    return Hit(document.id, score, document.text, document.metadata, scores)
