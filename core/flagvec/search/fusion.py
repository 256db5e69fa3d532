"""How the scores of several representations become one ranking: the reference that every store must reproduce."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from flagvec.arguments import finite_number

RRF_K = 60

Id = TypeVar("Id", str, int)


@dataclass(frozen=True, slots=True)
class Weighted:
    """Fusion by the model's own score, a weighted mean of what each representation gives.

    score = (dense * d + sparse * s + colbert * c) / (dense + sparse + colbert), where d is the dot product of the
    dense vectors, s that of the lexical weights and c the mean over query tokens of the best match: the combined
    score of the M3-Embedding paper (arXiv 2402.03216, section 3.2) as FlagEmbedding computes it. A weight of 0
    leaves its representation out: it is neither encoded nor searched.

    Args:
        dense: Weight of the dense score.
        sparse: Weight of the lexical score.
        colbert: Weight of the ColBERT score.

    Raises:
        TypeError: A weight is not a number.
        ValueError: A weight is negative or not finite, none is above zero, or their sum is more than float64 holds.

    Example:
        >>> Weighted(dense=1, sparse=0.3, colbert=0).representations
        ('dense', 'sparse')
    """

    dense: float = 1.0
    sparse: float = 1.0
    colbert: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if finite_number(field.name, getattr(self, field.name), "a number") < 0:
                raise ValueError(f"{field.name}={getattr(self, field.name)}: a weight is not negative")
        if not math.isfinite(sum(map(float, astuple(self)))):
            raise ValueError(
                f"{self}: the sum of the weights is more than a float holds; divide them by one number, because only "
                "their ratios count"
            )
        if not any(astuple(self)):
            raise ValueError("all weights are 0: give at least one representation a weight above 0")

    @classmethod
    def from_mapping(cls, weights: Mapping[str, float]) -> Weighted:
        """Return the weights of a dict like ``{"dense": 1, "sparse": 0.3}``; what it leaves out has a weight of 0.

        Raises:
            TypeError: A weight is not a number.
            ValueError: A key is not a representation, a weight is negative or not finite, or none is above zero.
        """
        names = [field.name for field in fields(cls)]
        if unknown := [key for key in weights if key not in names]:
            raise ValueError(f"fusion has a weight for {unknown[0]!r}; the representations are {', '.join(names)}")
        return cls(**{name: weights.get(name, 0.0) for name in names})

    @property
    def representations(self) -> tuple[str, ...]:
        """The names of the representations with a weight above zero, in the order dense, sparse, colbert."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) > 0)

    def shares(self) -> dict[str, float]:
        """Return each used representation's weight divided by the sum of all weights; the shares add up to 1."""
        total = math.fsum(astuple(self))
        return {name: getattr(self, name) / total for name in self.representations}


def reciprocal_rank_fusion(rankings: Sequence[Sequence[Id]], k: int = RRF_K) -> list[tuple[Id, float]]:
    """Fuse rankings by reciprocal ranks: an id scores the sum over rankings of 1 / (k + rank), ranks from one.

    The formula of Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank
    learning methods" (SIGIR 2009), with their k of 60.

    Args:
        rankings: Lists of ids, best first, each id at most once a list; an id need not be in every list.
        k: Dampens the first ranks, 0 and up: the larger it is, the less they stand out.

    Returns:
        Every id with its score, best first; equal scores are ordered by id.

    Example:
        >>> [name for name, score in reciprocal_rank_fusion([["a", "b"], ["b", "c"]])]
        ['b', 'a', 'c']
    """
    scores: dict[Id, float] = {}
    for ranking in rankings:
        for rank, name in enumerate(ranking, start=1):
            scores[name] = scores.get(name, 0.0) + 1.0 / (k + rank)
    return best_first(scores)


def weighted_fusion(scores: Mapping[str, NDArray[np.floating[Any]]], weights: Weighted) -> NDArray[np.float64]:
    """Fuse per-representation scores of n documents into the model's combined score.

    Args:
        scores: For each representation that `weights` uses, (n,) scores in the model's scale; others are ignored.
        weights: The weight of each representation.

    Returns:
        (n,) float64, see `Weighted` for the formula.

    Raises:
        ValueError: `scores` lacks a representation that has a weight above zero.
    """
    if missing := [name for name in weights.representations if name not in scores]:
        raise ValueError(f"no scores for {', '.join(missing)}, which {weights} counts")
    parts = [share * np.asarray(scores[name], dtype=np.float64) for name, share in weights.shares().items()]
    return np.asarray(np.sum(parts, axis=0), dtype=np.float64)


def best_first(scores: Mapping[Id, float]) -> list[tuple[Id, float]]:
    """Return the ids with their scores, highest first; equal scores are ordered by id, so that order is repeatable."""
    return [(name, scores[name]) for name in ids_best_first(scores)]


def ids_best_first(scores: Mapping[Id, float]) -> list[Id]:
    """Return the ids in the order of `best_first`."""
    # Sorting keeps the order of equals, also in reverse.
    return sorted(sorted(scores), key=scores.__getitem__, reverse=True)
