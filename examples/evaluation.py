"""How good a ranking is: MRR@10 and recall@10, the two numbers that the demo and the benchmarks report."""

from __future__ import annotations

from collections.abc import Collection, Sequence

DEPTH = 10


def reciprocal_rank(ranking: Sequence[str], relevant: Collection[str], depth: int = DEPTH) -> float:
    """Return 1 / rank of the first relevant id in the first `depth` of `ranking`, best first; 0 if there is none."""
    for rank, identifier in enumerate(ranking[:depth], start=1):
        if identifier in relevant:
            return 1.0 / rank
    return 0.0


def recall(ranking: Sequence[str], relevant: Collection[str], depth: int = DEPTH) -> float:
    """Return the share (0 to 1) of `relevant` that is among the first `depth` of `ranking`, best first.

    Raises:
        ValueError: Nothing is relevant, so that there is no share.
    """
    if not relevant:
        raise ValueError("recall needs at least one relevant id")
    return len(set(ranking[:depth]).intersection(relevant)) / len(set(relevant))


def mean_reciprocal_rank(
    rankings: Sequence[Sequence[str]], relevant: Sequence[Collection[str]], depth: int = DEPTH
) -> float:
    """Return MRR@`depth` (0 to 1, higher is better) of one ranking and one set of relevant ids a query.

    Raises:
        ValueError: No query, or not as many rankings as sets of relevant ids.
    """
    _check_lengths(rankings, relevant)
    return sum(map(reciprocal_rank, rankings, relevant, [depth] * len(rankings))) / len(rankings)


def mean_recall(rankings: Sequence[Sequence[str]], relevant: Sequence[Collection[str]], depth: int = DEPTH) -> float:
    """Return recall@`depth` (0 to 1, higher is better), averaged over queries.

    Raises:
        ValueError: No query, a query with nothing relevant, or not as many rankings as sets of relevant ids.
    """
    _check_lengths(rankings, relevant)
    return sum(map(recall, rankings, relevant, [depth] * len(rankings))) / len(rankings)


def _check_lengths(rankings: Sequence[Sequence[str]], relevant: Sequence[Collection[str]]) -> None:
    if len(rankings) != len(relevant) or not rankings:
        raise ValueError(
            f"{len(rankings)} rankings and {len(relevant)} sets of relevant ids: one of each is needed a query"
        )
