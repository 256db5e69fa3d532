"""A search as Qdrant nests it, in stages, and the points that it finds as hits; the same for every engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, TypeAlias

from flagvec.search.fusion import RRF_K
from flagvec.search.options import SearchOptions
from flagvec.search.ties import best_with_ties
from flagvec.store.documents import Hit
from flagvec.store.vectors import TextVectors
from flagvec_qdrant.convert import COLBERT, PointId, to_documents

# Quantised vectors only find this many times more candidates than are wanted; their full vectors then choose.
OVERSAMPLING = 3.0


@dataclass(frozen=True, slots=True)
class Nearest:
    """Order points by the query's similarity in one named vector, without points that lack it."""

    vector: str


@dataclass(frozen=True, slots=True)
class ReciprocalRanks:
    """Order points by the sum over sources of 1 / (k + rank). Qdrant counts ranks from zero, we from one."""

    k: int = RRF_K + 1


@dataclass(frozen=True, slots=True)
class WeightedSum:
    """Order points by the sum over sources of factor * score; a source without the point counts 0."""

    factors: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a search.

    Args:
        order: What orders the points.
        limit: The most points that it passes on.
        sources: The stages whose points it orders; without any, it orders all points of the store.
        only: The ids of the only points that take part; empty for all. For an outermost stage.
        payload: Whether points come with their payload. For an outermost stage.
    """

    order: Nearest | ReciprocalRanks | WeightedSum
    limit: int
    sources: tuple[Stage, ...] = ()
    only: tuple[PointId, ...] = ()
    payload: bool = False


# Sends stages to an engine in one request and returns the points of each, which have an id, a score and a payload.
Ask: TypeAlias = Callable[[Sequence[Stage]], Sequence[Sequence[Any]]]


def find_hits(query: TextVectors, options: SearchOptions, ask: Ask) -> list[Hit]:
    """Return the best hits, and those that tie with the last of them."""
    stage = ranking(query, options)
    if stage is None:
        return []

    def best(limit: int) -> Sequence[Any]:
        [points] = ask([replace(stage, limit=limit, payload=True)])
        return points

    points = best_with_ties(best, options.limit, stage.limit, attrgetter("score"))
    # If one representation orders the points, their scores are its own. Further ones take a second request.
    ranked_by = options.ordering if len(options.ordering) == 1 else ()
    further = [name for name in options.scored if name in query.present and name not in ranked_by]
    own = _own_scores([point.id for point in points], further, query, ask) if points and further else {}
    scale = hit_scale(query, options)
    hits = []
    for point, document in zip(points, to_documents(points), strict=True):
        score = point.score * scale
        scores = dict.fromkeys(options.scored, 0.0) | dict.fromkeys(ranked_by, score) | own.get(point.id, {})
        hits.append(Hit(document.id, score, document.text, document.metadata, scores))
    return hits


def ranking(query: TextVectors, options: SearchOptions) -> Stage | None:
    """Return the stage that finds and orders the hits, or None if the query has no vector that could find any."""
    found_by = [name for name in options.legs if name in query.present]
    if not found_by:
        return None
    if options.representations == (options.mode,):
        return Stage(Nearest(options.mode), options.limit)
    legs = tuple(Stage(Nearest(name), options.candidates) for name in found_by)
    union = options.candidates * len(legs)
    if options.rerank and COLBERT in query.present:
        return Stage(Nearest(COLBERT), options.limit, legs)
    if options.weights is None:
        # Qdrant breaks ties at random, and fused ranks tie often. `best_with_ties` asks for more until no tie is cut.
        return Stage(ReciprocalRanks(), union, legs)
    # Each representation scores the union of all legs' candidates. Therefore a candidate that one leg did not find has
    # its true score there.
    shares = {name: share for name, share in options.weights.shares().items() if name in query.present}
    return Stage(
        WeightedSum(tuple(share * score_scale(name, query) for name, share in shares.items())),
        options.limit,
        tuple(Stage(Nearest(name), union, legs) for name in shares),
    )


def hit_scale(query: TextVectors, options: SearchOptions) -> float:
    """Return the factor from a score of `ranking` to that of a hit; 0 for a rerank without ColBERT vectors."""
    if not options.rerank:
        return 1.0
    return score_scale(COLBERT, query) if COLBERT in query.present else 0.0


def score_scale(representation: str, query: TextVectors) -> float:
    """Return the factor from Qdrant's score in a representation to the model's.

    Qdrant gives the sum of ColBERT's best matches, and the model their mean over the query's vectors.
    """
    if representation == COLBERT and query.colbert is not None and len(query.colbert):
        return 1.0 / len(query.colbert)
    return 1.0


def own_scores(ids: Sequence[PointId], representation: str) -> Stage:
    """Return the stage that scores these points exactly."""
    return Stage(Nearest(representation), len(ids), only=tuple(ids))


def _own_scores(
    ids: Sequence[PointId], representations: Sequence[str], query: TextVectors, ask: Ask
) -> dict[PointId, dict[str, float]]:
    """Return the scores of points in the model's scale, by id and representation.

    A point has no score in a representation that it lacks, or in which it has nothing in common with the query.
    """
    own: dict[PointId, dict[str, float]] = {point: {} for point in ids}
    for name, points in zip(representations, ask([own_scores(ids, name) for name in representations]), strict=True):
        for point in points:
            own[point.id][name] = point.score * score_scale(name, query)
    return own
