"""What the Qdrant stores share: records to points, a search's stages to hits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from flagvec.filters.portable import Filter, NativeFilter
from flagvec.search.options import SearchOptions
from flagvec.search.ties import best_with_ties
from flagvec.store.base import HybridStore
from flagvec.store.capabilities import Capabilities
from flagvec.store.documents import Document, Hit
from flagvec.store.encoding import ColbertOverflow, TextVectors
from flagvec_qdrant import convert
from flagvec_qdrant.filters import Terms, native_filter
from flagvec_qdrant.storage import FieldType, Layout, Storage

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder


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
        return self._hits(self._best_points(stage, query, where, options), query, options)

    def _best_points(
        self, stage: convert.Stage, query: TextVectors, where: Any, options: SearchOptions
    ) -> Sequence[FoundPoint]:
        """Return a search's best points with their payloads, and the points that tie with the last of them too."""

        def first(limit: int) -> list[FoundPoint]:
            [points] = self._query([replace(stage, limit=limit, payload=True)], query, where, options.timeout)
            return points

        return best_with_ties(first, options.limit, stage.limit, attrgetter("score"))

    def _hits(self, points: Sequence[FoundPoint], query: TextVectors, options: SearchOptions) -> list[Hit]:
        """Return points as hits, after a request for the scores that hits carry and the ranking does not have."""
        names, scale = options.scored, convert.hit_scale(query, options)
        known = options.ordering if len(options.ordering) == 1 else ()
        further = [name for name in names if name not in known and name in query.present]
        own: Mapping[convert.PointId, OwnScores] = {}
        if further and points:
            own = self._own_scores([point.id for point in points], further, query, options.timeout)
        hits = []
        for point in points:
            score = point.score * scale
            scores = {**dict.fromkeys(names, 0.0), **dict.fromkeys(known, score), **own.get(point.id, {})}
            hits.append(_hit(point, score, scores))
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
