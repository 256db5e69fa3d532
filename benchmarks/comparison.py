"""Times two ways to do the same work on one database, side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from corpus import Corpus
from flagvec import Document

MODES = ("dense", "sparse", "rrf", "explained")
# The mode that the others search in while the store also returns each hit's own scores.
PLAIN = {"explained": "rrf"}
STORE = "flagvec"
LIMIT = 10
# The share of documents that two subjects must find alike. It is below 1 because indexes are approximate, Elasticsearch
# with several segments may answer the same request differently, and ties at the last place are cut anywhere.
AGREEMENT = 0.95
# Subjects write so many documents in turn, so that both meet the same load on the machine.
DOCUMENTS_PER_TURN = 1_000


class Subject(Protocol):
    """One way to use a database."""

    def write(self, documents: Sequence[Document]) -> None:
        """Write documents; searches find all of them once this returns."""

    def search(self, query: str, mode: str) -> Sequence[str]:
        """Return the ids of the ten best documents for a query, best first; `mode` is one of `MODES`."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The subjects that are compared, and what happens between the timed parts.

    Args:
        name: The database, and how it is reached.
        store: The adapter.
        others: The other subjects, by name; each writes to a collection of its own.
        modes: The modes in which all subjects can search.
        at_rest: Returns once the database has finished background work like merging. Called untimed before each write
            and before the searches, because it is chance which subject would meet that work.
        settle: Called once, untimed, between writing and searching. Some databases search two equal collections at
            different speeds; there it points all subjects to one collection.
    """

    name: str
    store: Subject
    others: Mapping[str, Subject]
    modes: Sequence[str] = MODES
    at_rest: Callable[[], object] = lambda: None
    settle: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Timing:
    """The seconds of one subject, turn by turn.

    Args:
        writes: Seconds of each part of the documents.
        searches: Seconds of each search, by mode.
    """

    writes: Sequence[float]
    searches: Mapping[str, Sequence[float]]

    def median(self, mode: str) -> float:
        """Return the median milliseconds of a search."""
        return float(np.median(self.searches[mode])) * 1e3

    def write_ratio(self, other: Timing) -> float:
        """Return the median over all turns of this subject's writing time divided by another's."""
        return float(np.median(np.divide(self.writes, other.writes)))

    def added(self, mode: str, other: Timing) -> float:
        """Return the median over all turns of this subject's milliseconds a search minus another's."""
        return float(np.median(np.subtract(self.searches[mode], other.searches[mode]))) * 1e3


def measure(comparison: Comparison, corpus: Corpus, searches: int) -> dict[str, Timing]:
    """Let all subjects write and search in turn, and return each one's timing by name; the adapter's is `STORE`.

    Args:
        comparison: The subjects, whose collections are empty.
        corpus: The documents and the queries.
        searches: The number of searches a mode; queries repeat if there are fewer.

    Raises:
        AssertionError: Two subjects find different documents.
    """
    subjects: dict[str, Subject] = {STORE: comparison.store, **comparison.others}
    names = list(subjects)
    written: dict[str, list[float]] = {name: [] for name in names}
    for turn, start in enumerate(range(0, len(corpus.documents), DOCUMENTS_PER_TURN)):
        part = corpus.documents[start : start + DOCUMENTS_PER_TURN]
        for name in _turned(names, turn):
            comparison.at_rest()
            written[name].append(_seconds(partial(subjects[name].write, part)))
    comparison.at_rest()
    comparison.settle()
    took: dict[str, dict[str, list[float]]] = {name: {mode: [] for mode in comparison.modes} for name in names}
    for mode in comparison.modes:
        _check_agreement(subjects, corpus.queries, PLAIN.get(mode, mode))
        for turn in range(searches):
            query = corpus.queries[turn % len(corpus.queries)]
            for name in _turned(names, turn):
                asked = mode if name == STORE else PLAIN.get(mode, mode)
                took[name][mode].append(_seconds(partial(subjects[name].search, query, asked)))
    return {name: Timing(written[name], took[name]) for name in names}


def _turned(names: Sequence[str], turn: int) -> list[str]:
    first = turn % len(names)
    return [*names[first:], *names[:first]]


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _check_agreement(subjects: Mapping[str, Subject], queries: Sequence[str], mode: str) -> None:
    """Check that all subjects find the same documents; this also warms them up."""
    asked = queries[:40]
    first, *others = ([set(subject.search(query, mode)) for query in asked] for subject in subjects.values())
    for found in others:
        shared = sum(len(mine & theirs) for mine, theirs in zip(first, found, strict=True))
        share = shared / sum(map(len, first))
        assert share >= AGREEMENT, f"{mode}: {share:.1%} of the documents found are the same"
