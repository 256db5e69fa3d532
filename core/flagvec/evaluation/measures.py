"""Measures of rankings, computed by the package ir-measures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flagvec.evaluation.queries import JudgedQueries
from flagvec.extras import extra

MEASURES = ("MRR@10", "nDCG@10", "recall@10")
_AS_THE_PACKAGE_SAYS = {"MRR": "RR", "recall": "R"}


def depth_of(measure: str) -> int:
    """Return how many hits a measure looks at, such as 10 for ``"MRR@10"``.

    Raises:
        TypeError: It is not a ``str``.
        ValueError: It does not end with ``@`` and a number from 1 on.
    """
    if not isinstance(measure, str):
        raise TypeError(f"a measure is a str like 'MRR@10', not {type(measure).__name__}")
    matched = re.fullmatch(r".+@(\d{1,9})", measure)
    if matched is None or not (depth := int(matched[1])):
        raise ValueError(f"measure {measure!r}: add how many hits count, as in 'MRR@10', 'nDCG@10' or 'recall@100'")
    return depth


def parsed(measures: Sequence[str]) -> dict[str, Any]:
    """Return the measures as ir-measures knows them, by the names given.

    Raises:
        ValueError: There is none, or one is unknown.
        ImportError: ir-measures is not installed.
    """
    if isinstance(measures, str) or not measures:
        raise ValueError(f"measures={measures!r}: give a list, such as {list(MEASURES)}")
    with extra("evaluate"):
        import ir_measures

    found = {}
    for name in measures:
        depth_of(name)
        family, _, cutoff = name.rpartition("@")
        try:
            measure = ir_measures.parse_measure(f"{_AS_THE_PACKAGE_SAYS.get(family, family)}@{cutoff}")
            measure.validate_params()
            is_known = ir_measures.DefaultPipeline.supports(measure)
        except (NameError, ValueError, AssertionError):
            is_known = False
        if not is_known:
            raise ValueError(f"measure {name!r} is not known: choose MRR@10, nDCG@10, recall@10, P@10 or AP@100")
        found[name] = measure
    return found


def values_of(
    measures: Mapping[str, Any], queries: JudgedQueries, rankings: Sequence[Sequence[str]]
) -> dict[str, NDArray[np.float64]]:
    """Return the value of each measure for each query.

    Args:
        measures: As `parsed` returns them.
        queries: The queries with their relevant documents.
        rankings: The ids that a search found for each query, best first.

    Returns:
        For each measure (queries,) float64, by the names in `measures`. A query that found nothing scores 0.
    """
    with extra("evaluate"):
        import ir_measures

    positions = {query.id: position for position, query in enumerate(queries)}
    relevant = {query.id: dict(query.relevant) for query in queries}
    # It orders by score, so a hit's score is its place from the end.
    run = {
        query.id: {name: float(-place) for place, name in enumerate(ranking)}
        for query, ranking in zip(queries, rankings, strict=True)
    }
    values = {name: np.zeros(len(queries)) for name in measures}
    names = {measure: name for name, measure in measures.items()}
    for metric in ir_measures.iter_calc(list(names), relevant, run):
        values[names[metric.measure]][positions[metric.query_id]] = metric.value
    return values
