"""Maximal marginal relevance: hits that are near the query and far from one another."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def maximal_marginal_relevance(
    query: NDArray[np.float32], documents: NDArray[np.float32], count: int, relevance_share: float
) -> list[int]:
    """Choose documents one by one: the nearest to the query first, then each time the best by Carbonell and Goldstein.

    That is the one with the highest share * relevance - (1 - share) * redundancy, relevance being the dot product with
    the query, redundancy the highest one with a document that was chosen before ("The use of MMR, diversity-based
    reranking for reordering documents and producing summaries", SIGIR 1998).

    Args:
        query: (dimension,), of length 1.
        documents: (n, dimension), rows of length 1.
        count: How many to choose; of fewer documents, all are chosen.
        relevance_share: From 0, the most diverse, to 1, the most relevant.

    Returns:
        The positions of the chosen documents, in the order in which they were chosen; of equal ones the first.

    Example:
        >>> documents = np.eye(3, dtype=np.float32)[[0, 0, 1]]
        >>> maximal_marginal_relevance(documents[0], documents, 2, relevance_share=0.4)
        [0, 2]
    """
    if not len(documents):
        return []
    relevance = documents @ query
    chosen = [int(np.argmax(relevance))]
    redundancy = documents @ documents[chosen[0]]
    while len(chosen) < min(count, len(documents)):
        gain = relevance_share * relevance - (1 - relevance_share) * redundancy
        gain[chosen] = -np.inf
        chosen.append(int(np.argmax(gain)))
        redundancy = np.maximum(redundancy, documents @ documents[chosen[-1]])
    return chosen


def checked_relevance_share(argument: str, value: Any) -> float:
    """Return the value of an argument that takes a share of relevance.

    Raises:
        TypeError: It is no number.
        ValueError: It is not between 0 and 1.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{argument} takes a number, not {type(value).__name__}")
    if not math.isfinite(value) or not 0 <= value <= 1:
        raise ValueError(f"{argument}={value}: from 0, the most diverse, to 1, the most relevant")
    return float(value)
