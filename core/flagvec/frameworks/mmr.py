"""Maximal marginal relevance: hits that fit the query and do not repeat one another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flagvec.store.documents import Hit
from flagvec.store.encoding import encode_documents
from flagvec.store.turns import turn_of

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder


@dataclass(frozen=True, slots=True)
class Diversity:
    """How many hits are chosen, and how much they may repeat one another.

    Args:
        limit: The most hits.
        threshold: From 0, where likeness to what was chosen before counts alone, to 1, where the query does.
    """

    limit: int
    threshold: float


def checked_share(argument: str, value: Any) -> float:
    """Return the value of an argument that takes a share.

    Raises:
        TypeError: It is no number.
        ValueError: It is not between 0 and 1.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{argument} takes a number, not {type(value).__name__}")
    if not math.isfinite(value) or not 0 <= value <= 1:
        raise ValueError(f"{argument}={value}: a number from 0 to 1")
    return float(value)


def vectors_of(hits: Sequence[Hit], model: AbsEmbedder) -> NDArray[np.float32]:
    """Return the hits' dense vectors, (n, dimension): their texts are encoded again, in one pass.

    The stores do not give vectors out. Of no hits the model is not asked.
    """
    if not hits:
        return np.empty((0, model.dimension), dtype=np.float32)
    with turn_of(model):
        names = [f"document {hit.id!r}" for hit in hits]
        encoded = encode_documents(model, [hit.text for hit in hits], names, ["dense"])
    return np.array([one.dense for one in encoded], dtype=np.float32)


def marginal_relevance(
    similarities: NDArray[np.floating[Any]], vectors: NDArray[np.float32], diversity: Diversity
) -> list[tuple[int, float]]:
    """Choose rows one by one: each time the one of the highest marginal relevance.

    That is threshold * (similarity to the query) - (1 - threshold) * (highest similarity to what was chosen before),
    as in Carbonell and Goldstein, "The use of MMR, diversity-based reranking for reordering documents and producing
    summaries" (SIGIR 1998). The first one, of which there is no second term, is the most similar to the query, whatever
    the threshold.

    Args:
        similarities: (n,) similarities to the query.
        vectors: (n, dimension), rows of length 1.
        diversity: How many rows to choose, and the threshold.

    Returns:
        The chosen rows with their marginal relevance, in the order in which they were chosen.

    Example:
        >>> two_alike_and_another = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
        >>> chosen = marginal_relevance(np.array([0.9, 0.9, 0.3]), two_alike_and_another, Diversity(2, 0.5))
        >>> [(row, round(score, 2)) for row, score in chosen]
        [(0, 0.45), (2, 0.15)]
    """
    threshold = diversity.threshold
    left = np.ones(len(similarities), dtype=bool)
    repetition = np.full(len(similarities), -np.inf)
    order, relevance = similarities, threshold * similarities
    chosen = []
    for _ in range(min(diversity.limit, len(similarities))):
        best = int(np.argmax(np.where(left, order, -np.inf)))
        chosen.append((best, float(relevance[best])))
        left[best] = False
        repetition = np.maximum(repetition, vectors @ vectors[best])
        order = relevance = threshold * similarities - (1 - threshold) * repetition
    return chosen
