"""Maximal marginal relevance: hits that fit the query and do not repeat one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flagvec.retrieval.documents import Hit
from flagvec.retrieval.turns import turn_of
from flagvec.retrieval.vectors import encode_documents

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


def diverse(hits: Sequence[Hit], model: AbsEmbedder, diversity: Diversity) -> list[Hit]:
    """Return those of the hits of a dense search that `marginal_relevance` chooses, each with that as its score.

    The stores do not give vectors out, so that the hits' texts are encoded again, in one pass.

    Args:
        hits: Hits with a dense score.
        model: What the store encodes with.
        diversity: How many to choose, and how.
    """
    if not hits:
        return []
    with turn_of(model):
        encoded = encode_documents(model, [hit.text for hit in hits], [f"node {hit.id!r}" for hit in hits], ["dense"])
    vectors = np.array([one.dense for one in encoded], dtype=np.float32)
    similarities = np.array([hit.scores["dense"] for hit in hits])
    return [replace(hits[row], score=score) for row, score in marginal_relevance(similarities, vectors, diversity)]


def marginal_relevance(
    similarities: NDArray[np.floating[Any]], vectors: NDArray[np.float32], diversity: Diversity
) -> list[tuple[int, float]]:
    """Choose rows one by one: each time the one of the highest marginal relevance.

    That is threshold * (similarity to the query) - (1 - threshold) * (highest similarity to what was chosen before),
    as in Carbonell and Goldstein, "The use of MMR, diversity-based reranking for reordering documents and producing
    summaries" (SIGIR 1998); of the first one there is no second term.

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
    relevance = threshold * similarities
    chosen = []
    for _ in range(min(diversity.limit, len(similarities))):
        best = int(np.argmax(np.where(left, relevance, -np.inf)))
        chosen.append((best, float(relevance[best])))
        left[best] = False
        repetition = np.maximum(repetition, vectors @ vectors[best])
        relevance = threshold * similarities - (1 - threshold) * repetition
    return chosen
