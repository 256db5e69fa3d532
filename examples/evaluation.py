"""MRR@10 and recall@10, which the demo and the benchmarks report."""

from __future__ import annotations

from collections.abc import Collection, Sequence

DEPTH = 10


def reciprocal_rank(ranking: Sequence[str], relevant: Collection[str], depth: int = DEPTH) -> float:
    """Return 1 / rank of the first relevant id among the first `depth` of `ranking`, or 0 if none is there."""
    for rank, identifier in enumerate(ranking[:depth], start=1):
        if identifier in relevant:
            return 1.0 / rank
    return 0.0


def recall(ranking: Sequence[str], relevant: Collection[str], depth: int = DEPTH) -> float:
    """Return the share (0 to 1) of `relevant` that is among the first `depth` of `ranking`.

    Raises:
        ValueError: `relevant` is empty.
    """
    if not relevant:
        raise ValueError("relevant is empty: recall needs at least one relevant id")
    return len(set(ranking[:depth]).intersection(relevant)) / len(set(relevant))


def mean_reciprocal_rank(
    rankings: Sequence[Sequence[str]], relevant: Sequence[Collection[str]], depth: int = DEPTH
) -> float:
    """Return MRR@`depth` (0 to 1, higher is better); each query has one ranking and one set of relevant ids.

    Raises:
        ValueError: There is no query, or `rankings` and `relevant` differ in length.
    """
    _check_lengths(rankings, relevant)
    return sum(map(reciprocal_rank, rankings, relevant, [depth] * len(rankings))) / len(rankings)


def mean_recall(rankings: Sequence[Sequence[str]], relevant: Sequence[Collection[str]], depth: int = DEPTH) -> float:
    """Return the mean of recall@`depth` (0 to 1, higher is better) over all queries.

    Raises:
        ValueError: There is no query, a query has no relevant id, or `rankings` and `relevant` differ in length.
    """
    _check_lengths(rankings, relevant)
    return sum(map(recall, rankings, relevant, [depth] * len(rankings))) / len(rankings)


def _check_lengths(rankings: Sequence[Sequence[str]], relevant: Sequence[Collection[str]]) -> None:
    if len(rankings) != len(relevant) or not rankings:
        raise ValueError(
            f"{len(rankings)} rankings and {len(relevant)} sets of relevant ids: give one of each for every query"
        )
