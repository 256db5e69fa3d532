"""`EdgeSearch`: a search of the embedded engine in calls that take some milliseconds each.

The engine holds the GIL during a call, so that no other thread runs meanwhile, an event loop's included. A long search
is therefore cut into many calls. Two parts of it are long: ColBERT scores, which are cut by candidates, and filters by
fields without an index, for which the engine reads each document's payload, and which are cut by points. Reading the
codes of ColBERT vectors is cut by candidates too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from operator import attrgetter
from time import perf_counter, sleep
from typing import Any, TypeVar

import qdrant_edge as edge

from flagvec.store.vectors import TextVectors
from flagvec_qdrant import edge_models as native
from flagvec_qdrant.convert import COLBERT, DOCUMENT_KEYS, PointId
from flagvec_qdrant.search import Nearest, ReciprocalRanks, Stage, WeightedSum
from flagvec_qdrant.shared_shards import SharedShard

Result = TypeVar("Result")

# How long a call should take. A candidate's ColBERT score takes 0.2 to 0.9 ms at 1,024 dimensions and 100 tokens.
_CALL_SECONDS = 0.01
_FIRST_CANDIDATES = 16
# Reading a document with codes of 200 vectors of 1,024 dimensions takes 0.015 ms.
_FIRST_READ = 64
# Sleeping leaves the GIL to an event loop, which was late by up to 250 ms without it and by up to 51 ms with it.
_PAUSE_SECONDS = 1e-4
# So many conditions are checked in one call. Each takes 3 to 10 us, because the engine reads the payload for it.
_CHECKS_PER_CALL = 5_000


@dataclass(frozen=True, slots=True)
class _Found:
    """A point that a search found, with the payload that was read after it."""

    id: PointId
    score: float
    payload: Any


@dataclass(frozen=True, slots=True)
class _Read:
    """A point that was read."""

    id: PointId
    payload: Any


class EdgeSearch:
    """One search.

    Args:
        shared: The open shard.
        query: The query.
        where: Which points it is about; None for all.
        indexed: The payload fields that have an index.
    """

    def __init__(
        self, shared: SharedShard, query: TextVectors, where: edge.Filter | None, indexed: Collection[str]
    ) -> None:
        self._shared = shared
        self._vectors = native.vectors(query)
        self._wheres: Sequence[edge.Filter | None] = [None] if where is None else short_filters(shared, where, indexed)

    def ask(self, stages: Sequence[Stage]) -> Sequence[Sequence[Any]]:
        """Return the points of each stage, best first."""
        if all(map(self._is_short, stages)):
            return self._at_once(stages)
        return [self._points(stage) for stage in stages]

    def _is_short(self, stage: Stage) -> bool:
        return not _orders_by_colbert(stage) and (bool(stage.only) or len(self._wheres) == 1)

    def _at_once(self, stages: Sequence[Stage]) -> Sequence[Sequence[Any]]:
        requests = [native.request(stage, self._vectors, None if stage.only else self._wheres[0]) for stage in stages]
        with self._shared.one_call:
            return self._shared.shard.query_batch(edge.QueryBatchRequest(requests))

    def _points(self, stage: Stage) -> Sequence[Any]:
        if self._is_short(stage):
            return self._at_once([stage])[0]
        only = stage.only
        points = self._in_parts(only, lambda part: replace(stage, only=part)) if only else self._long(stage)
        best = _best(points, stage.limit)
        return self._with_payload(best) if stage.payload else best

    def _long(self, stage: Stage) -> list[Any]:
        match stage.order:
            case Nearest() if not stage.sources:
                return self._leg(stage)
            case Nearest():
                ids = self._candidates(stage.sources)
                return self._in_parts(ids, lambda part: replace(stage, sources=(), only=part))
            case WeightedSum():
                # All of its sources order the candidates of the same legs.
                ids = self._candidates(stage.sources[0].sources)
                return self._in_parts(ids, lambda part: replace(stage, sources=_restricted(stage.sources, part)))
            case ReciprocalRanks():
                found = [(leg, tuple(point.id for point in self._leg(leg))) for leg in stage.sources]
                legs = tuple(replace(leg, only=ids) for leg, ids in found if ids)
                return list(self._part(replace(stage, sources=legs))) if legs else []

    def _candidates(self, legs: Sequence[Stage]) -> tuple[PointId, ...]:
        return tuple(dict.fromkeys(point.id for leg in legs for point in self._leg(leg)))

    def _leg(self, leg: Stage) -> list[Any]:
        return _best([point for where in self._wheres for point in self._part(leg, where)], leg.limit)

    def _in_parts(self, ids: Sequence[PointId], stage: Callable[[tuple[PointId, ...]], Stage]) -> list[Any]:
        """Score points in parts. A point's score does not depend on the others in its part."""
        parts = _short_calls(ids, lambda part: self._part(replace(stage(part), limit=len(part))))
        return list(chain.from_iterable(parts))

    def read(
        self, ids: Sequence[PointId], keys: Sequence[str], use: Callable[[Sequence[Any]], Result]
    ) -> Iterator[Result]:
        """Yield what `use` makes of chosen points with these keys of their payload, in batches."""
        return map(use, _short_calls(ids, lambda part: self._read(part, keys), _FIRST_READ))

    def _read(self, ids: Sequence[PointId], keys: Sequence[str]) -> list[_Read]:
        with self._shared.one_call:
            records = self._shared.shard.retrieve(list(ids), with_payload=list(keys), with_vector=False)
            # The engine makes a payload's dict anew each time that it is asked for.
            return [_Read(record.id, record.payload) for record in records]

    def _with_payload(self, points: Sequence[Any]) -> list[_Found]:
        read = self.read([point.id for point in points], DOCUMENT_KEYS, list)
        payloads = {one.id: one.payload for one in chain.from_iterable(read)}
        # Another thread may have deleted one.
        return [_Found(one.id, one.score, payloads[one.id]) for one in points if one.id in payloads]

    def _part(self, stage: Stage, where: edge.Filter | None = None) -> Sequence[Any]:
        """Make one call of several, and let threads that do not search run after it."""
        request = native.request(replace(stage, payload=False), self._vectors, where)
        with self._shared.one_call:
            points = self._shared.shard.query(request)
            sleep(_PAUSE_SECONDS)
        return points


def _short_calls(
    ids: Sequence[PointId], call: Callable[[tuple[PointId, ...]], Sequence[Any]], first: int = _FIRST_CANDIDATES
) -> Iterator[Sequence[Any]]:
    """Yield what a call gives for each part of `ids`; parts are so large that a call takes about `_CALL_SECONDS`."""
    size, start = first, 0
    while start < len(ids):
        started = perf_counter()
        points = call(tuple(ids[start : start + size]))
        seconds = perf_counter() - started
        yield points
        start += size
        size = max(1, min(4 * size, int(size * _CALL_SECONDS / seconds)))


def short_filters(shared: SharedShard, where: edge.Filter, indexed: Collection[str]) -> list[edge.Filter]:
    """Return filters that hold for one point each of those for which a filter holds, and that are quickly checked.

    Args:
        shared: The open shard.
        where: The filter.
        indexed: The payload fields that have an index.
    """
    checks = shared.shard.info().points_count * _conditions(where, indexed)
    parts = -(-checks // _CHECKS_PER_CALL)
    if parts <= 1:
        return [where]
    return [edge.Filter(must=[edge.SliceCondition(total=parts, index=part), where]) for part in range(parts)]  # type: ignore[attr-defined]  # its stubs forget it


def _conditions(where: Any, indexed: Collection[str]) -> int:
    """Return how many conditions of a filter read a point's payload."""
    if not isinstance(where, edge.Filter):
        return int(getattr(where, "key", None) not in indexed)
    groups = (where.must, where.should, where.must_not, where.min_should and where.min_should.conditions)
    return sum(_conditions(condition, indexed) for group in groups for condition in group or ())


def _orders_by_colbert(stage: Stage) -> bool:
    return stage.order == Nearest(COLBERT) or any(map(_orders_by_colbert, stage.sources))


def _restricted(stages: Sequence[Stage], ids: tuple[PointId, ...]) -> tuple[Stage, ...]:
    return tuple(Stage(stage.order, len(ids), only=ids) for stage in stages)


def _best(points: list[Any], limit: int) -> list[Any]:
    return sorted(points, key=attrgetter("score"), reverse=True)[:limit]
