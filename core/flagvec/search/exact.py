"""Fusion and rerank with exact scores, for databases that cannot do it themselves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

from flagvec.search.fusion import Weighted, best_first, ids_best_first, reciprocal_rank_fusion, weighted_fusion
from flagvec.search.options import SearchOptions
from flagvec.store.vectors import TextVectors

# Each document's score by its id, in the model's scale.
Scores = Mapping[str, float]
ScoresOf = Callable[[Mapping[str, list[str]]], Mapping[str, Scores]]


@dataclass(frozen=True, slots=True)
class Ranked:
    """A document's place in a search.

    Args:
        id: The document's id.
        score: What the hits are ordered by.
        scores: The document's own score in each of ``SearchOptions.scored``, in the model's scale.
    """

    id: str
    score: float
    scores: Mapping[str, float]


def by_reciprocal_ranks(legs: Mapping[str, Scores], limit: int) -> dict[str, float]:
    """Return the best documents by reciprocal rank fusion, best first, with their fused scores; equal scores by id.

    Args:
        legs: The scores of the documents that each leg found. A leg is ranked by score, then by id.
        limit: The most documents to return.
    """
    rankings = [ids_best_first(found) for found in legs.values()]
    return dict(reciprocal_rank_fusion(rankings)[:limit])


def by_scores(
    query: TextVectors, legs: Mapping[str, Scores], options: SearchOptions, scores_of: ScoresOf
) -> list[Ranked]:
    """Return the best of the documents that legs found, ordered by ``options.weights``, or by ColBERT for a rerank.

    The caller has asked the database for the legs. `scores_of` is called once at most, for the scores that are needed
    and that no leg brought.

    Args:
        query: What is searched for. A representation in which it is empty finds nothing and scores 0.
        legs: The scores, in the model's scale, of the documents that each of ``options.legs`` found. A leg that found
            nothing may be left out.
        options: The search.
        scores_of: Takes ids by representation and returns the exact scores of these documents. A document that it
            leaves out has no such vector, or no token in common with the query. It scores 0, and a rerank drops it.

    Returns:
        Up to ``options.limit`` documents, best first, equal scores by id.
    """
    union = {name for leg in options.legs for name in legs.get(leg, {})}
    known = _completed(query, legs, union, options, scores_of)
    if options.weights:
        scores = _weighted(union, known, options.weights)
    else:
        scores = known["colbert"] if "colbert" in query.present else dict.fromkeys(union, 0.0)
    return [
        Ranked(name, score, {kind: known[kind].get(name, 0.0) for kind in options.scored})
        for name, score in best_first(scores)[: options.limit]
    ]


def _completed(
    query: TextVectors, legs: Mapping[str, Scores], ids: Collection[str], options: SearchOptions, scores_of: ScoresOf
) -> dict[str, Scores]:
    """Return the scores of `ids` in each of ``options.scored``; `scores_of` gives those that no leg brought."""
    missing = {name: sorted(set(ids) - legs.get(name, {}).keys()) for name in options.scored if name in query.present}
    missing = {name: absent for name, absent in missing.items() if absent}
    further = scores_of(missing) if missing else {}
    return {name: {**legs.get(name, {}), **further.get(name, {})} for name in options.scored}


def _weighted(ids: Collection[str], known: Mapping[str, Scores], weights: Weighted) -> Scores:
    ordered = sorted(ids)
    columns = {name: np.array([known[name].get(item, 0.0) for item in ordered]) for name in weights.representations}
    return dict(zip(ordered, weighted_fusion(columns, weights).tolist(), strict=True))
