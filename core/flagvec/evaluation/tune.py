"""`tune`: the fusion that finds most for queries whose relevant documents are known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flagvec.evaluation.bootstrap import CONFIDENCE, checked_confidence, mean_with_interval
from flagvec.evaluation.candidates import fetched
from flagvec.evaluation.measures import depth_of
from flagvec.evaluation.queries import JudgedQueries, check_relevant_are_stored
from flagvec.evaluation.tuning import Tried, Tuning
from flagvec.progress import progress_bar
from flagvec.search.fusion import Weighted
from flagvec.search.options import DEFAULT_CANDIDATES, check_choice, checked_limit, whole_number
from flagvec.store.base import HybridStore

STEPS = 20
FOLDS = 5
_FAMILIES = ("MRR", "nDCG", "recall")


def tune(
    store: HybridStore,
    queries: Iterable[Any],
    *,
    measure: str = "MRR@10",
    candidates: int = DEFAULT_CANDIDATES,
    steps: int = STEPS,
    folds: int = FOLDS,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    show_progress: bool | None = None,
) -> Tuning:
    """Find the fusion that does best, and measure by cross-validation what it gains.

    The store is searched once for each query. All fusions are computed from the scores of these candidates, by
    the formulas of `flagvec.search.fusion`: reciprocal ranks, and all weights that are multiples of ``1 / steps``. The
    weights of 1 for one representation alone are among them, and for ColBERT these are its rerank.

    The queries are divided into folds. For each fold, the fusion that does best on the other folds is measured on it.
    The mean of these values is what to expect for new queries; the best mean over all queries is a little too good.
    The fusion that is returned is chosen in the same way on all queries.

    Many fusions do nearly as well as the best, which is the best by chance. So the simplest is chosen of those whose
    mean is within one standard error of the best: ``"rrf"``, which is the default, or else the most even weights. This
    is the one-standard-error rule of Breiman et al., "Classification and Regression Trees" (1984), section 3.4.3, with
    the error of the paired difference.

    A store's own ranking may differ in two cases. An approximate index may miss a document in one leg that the other
    leg found. And a database may order documents otherwise whose scores differ by a rounding error.

    Args:
        store: A store that holds lexical weights or ColBERT vectors.
        queries: As for `evaluate`; as many as there are folds, and 100 or more for intervals that are of use.
        measure: What to raise: ``MRR@k``, ``nDCG@k`` or ``recall@k``.
        candidates: How many documents each leg of a search finds, later too.
        steps: How finely weights are tried. 20 tries 231 mixtures of three representations.
        folds: How many parts the queries are divided into.
        confidence: That of the bootstrap intervals, 0 to 1.
        seed: Chooses the folds and the resamples.
        show_progress: Show a progress bar. None shows one in a terminal or notebook after two seconds.

    Raises:
        TypeError: A query or an argument of a wrong type.
        ValueError: The store holds dense vectors only; there are fewer queries than folds, or one of the reasons of
            `evaluate`.
        StoreError: As ``HybridStore.search``.
    """
    judged = JudgedQueries.of(queries)
    depth = depth_of(measure)
    check_choice("measure", measure.rpartition("@")[0], _FAMILIES)
    steps, folds = whole_number("steps", steps, at_least=1), whole_number("folds", folds, at_least=2)
    candidates = checked_limit("candidates", candidates, store.max_limit, at_least=depth)
    checked_confidence(confidence)
    if len(store.schema.representations) < 2:
        raise ValueError("the store holds dense only, so there is nothing to fuse: make one with a BGE-M3 style model")
    if len(judged) < folds:
        raise ValueError(f"{len(judged)} queries for folds={folds}: give at least as many queries as folds")
    note = check_relevant_are_stored(store, judged)
    fusions: list[Tried] = [*mixtures(store.schema.representations, steps)]
    if store.schema.sparse:
        fusions.insert(0, "rrf")
    pool = fetched(store, judged, candidates, show_progress)
    ideals = np.array([_discounted(np.sort(list(query.relevant.values()))[::-1], depth) for query in judged])
    relevant = np.array([len(query.relevant) for query in judged])
    values = np.empty((len(fusions), len(judged)))
    with progress_bar(len(fusions), "fusing", "fusion", show_progress) as bar:
        for row, fusion in enumerate(fusions):
            values[row] = query_values(measure, pool.best_grades(fusion, depth), ideals, relevant)
            bar.update(1)
    even = int(store.schema.sparse)
    baselines = {**({"rrf": values[0]} if store.schema.sparse else {}), "equal weights": values[even]}
    held_out, chosen = cross_validated(values, folds, seed)
    return Tuning(
        fusion=fusions[simplest_of_the_best(values)],
        candidates=candidates,
        measure=measure,
        queries=len(judged),
        documents=len(store),
        model=store.schema.model,
        held_out=mean_with_interval(held_out, confidence, seed),
        baselines={name: mean_with_interval(one, confidence, seed) for name, one in baselines.items()},
        gains={name: mean_with_interval(held_out - one, confidence, seed) for name, one in baselines.items()},
        fold_fusions=tuple(fusions[row] for row in chosen),
        fusions=tuple(fusions),
        means=values.mean(axis=1),
        confidence=confidence,
        notes=(*judged.notes, *([note] if note else [])),
    )


def mixtures(representations: Sequence[str], steps: int) -> list[Weighted]:
    """Return equal weights, and all weights that are multiples of ``1 / steps`` and add up to 1, the most even first.

    Args:
        representations: Those that get weights. Without ``sparse``, dense vectors alone find candidates, so that their
            weight is above 0.
        steps: How many parts a weight of 1 has.
    """
    found = [
        Weighted(dense / steps, sparse / steps, (steps - dense - sparse) / steps)
        for dense, sparse in product(range(steps + 1), repeat=2)
        if dense + sparse <= steps
    ]
    # Equal weights are a mixture of any number of steps.
    equal = Weighted(*(float(name in representations) for name in ("dense", "sparse", "colbert")))
    usable = [one for one in found if set(one.representations) <= set(representations)]
    if "sparse" not in representations:
        usable = [one for one in usable if one.dense > 0]
    uneven = [one for one in usable if len(set(one.shares().values())) > 1 or len(one.shares()) < len(representations)]
    return [equal, *sorted(uneven, key=lambda one: one.dense**2 + one.sparse**2 + one.colbert**2)]


def query_values(
    measure: str, grades: NDArray[np.float64], ideals: NDArray[np.float64], relevant: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return a measure's value for each query, as ir-measures computes it; this takes rankings of thousands of fusions.

    Args:
        measure: ``MRR@k``, ``nDCG@k`` or ``recall@k``.
        grades: (queries, k) the relevance of the hits, best first.
        ideals: (queries,) the discounted gain of the best possible hits.
        relevant: (queries,) how many documents are relevant.
    """
    family, is_relevant = measure.rpartition("@")[0], grades > 0
    if family == "MRR":
        first = np.argmax(is_relevant, axis=1)
        return np.where(is_relevant.any(axis=1), 1 / (first + 1), 0.0)
    if family == "recall":
        return np.asarray(is_relevant.sum(axis=1) / relevant, dtype=np.float64)
    return np.array([_discounted(row, grades.shape[1]) for row in grades]) / ideals


def cross_validated(values: NDArray[np.float64], folds: int, seed: int) -> tuple[NDArray[np.float64], list[int]]:
    """Return (queries,) values of fusions that were chosen without the query, and the fusion chosen for each fold.

    Args:
        values: (fusions, queries) the value of each fusion for each query.
        folds: How many parts the queries are divided into, at random.
        seed: Chooses the parts.
    """
    order = np.random.default_rng(seed).permutation(values.shape[1])
    held_out, chosen = np.empty(values.shape[1]), []
    for part in np.array_split(order, folds):
        others = np.delete(values, part, axis=1)
        best = simplest_of_the_best(others)
        held_out[part] = values[best, part]
        chosen.append(best)
    return held_out, chosen


def simplest_of_the_best(values: NDArray[np.float64]) -> int:
    """Return the first fusion whose mean is within one standard error of the best mean.

    Args:
        values: (fusions, queries) the value of each fusion for each query, the simplest fusion first.
    """
    means = values.mean(axis=1)
    best = int(np.argmax(means))
    errors = np.std(values[best] - values, axis=1) / np.sqrt(values.shape[1])
    return int(np.argmax(means >= means[best] - errors))


def _discounted(grades: Iterable[float], depth: int) -> float:
    """Return the discounted cumulative gain of grades in the order of their ranks."""
    ranked = np.asarray(list(grades)[:depth], dtype=np.float64)
    return float(np.sum(ranked / np.log2(np.arange(2, len(ranked) + 2))))
