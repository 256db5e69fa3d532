"""Two ways to do the same work on one database, timed side by side."""

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
# What the others are asked for beside an adapter that gives each hit's own scores as well.
PLAIN = {"explained": "rrf"}
STORE = "flagvec"
LIMIT = 10
# The least share of documents found that must be the same. Indexes are approximate, and Elasticsearch's, asked twice
# with several segments, finds another document now and then; and equal scores at the end may be cut anywhere.
AGREEMENT = 0.95
# Writing takes turns by so many documents, so that neither side has a quieter machine.
DOCUMENTS_PER_TURN = 1_000


class Subject(Protocol):
    """One way to use a database."""

    def write(self, documents: Sequence[Document]) -> None:
        """Write documents; all are found once this returns."""

    def search(self, query: str, mode: str) -> Sequence[str]:
        """Return the ids of the ten best documents for a query, best first; `mode` is one of `MODES`."""


@dataclass(frozen=True)
class Comparison:
    """What is compared.

    Args:
        name: The database, and how it is reached.
        store: The adapter.
        others: What it is compared with, by name; each writes to a place of its own.
        modes: In which modes all of them can search.
        at_rest: Returns once the database does nothing of its own account, like merging what was written; untimed,
            before each write and before searching: how much of that one side meets is chance.
        settle: What is done once between writing and searching, untimed, for databases where searching
            one place takes another time than another, equal one.
    """

    name: str
    store: Subject
    others: Mapping[str, Subject]
    modes: Sequence[str] = MODES
    at_rest: Callable[[], object] = lambda: None
    settle: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Timing:
    """What one subject took, turn by turn.

    Args:
        writes: Seconds of each part of the documents.
        searches: Seconds of each search, by mode.
    """

    writes: Sequence[float]
    searches: Mapping[str, Sequence[float]]

    def median(self, mode: str) -> float:
        """Return the middle search's milliseconds."""
        return float(np.median(self.searches[mode])) * 1e3

    def write_ratio(self, other: Timing) -> float:
        """Return how many times as long as another's this one's writes take, the middle of all turns."""
        return float(np.median(np.divide(self.writes, other.writes)))

    def added(self, mode: str, other: Timing) -> float:
        """Return by how many milliseconds this one's searches are longer than another's, the middle of all turns."""
        return float(np.median(np.subtract(self.searches[mode], other.searches[mode]))) * 1e3


def measure(comparison: Comparison, corpus: Corpus, searches: int) -> dict[str, Timing]:
    """Return each subject's timing by name, the adapter's as `STORE`; all take turns.

    Args:
        comparison: Empty stores.
        corpus: What is written, and what is searched for.
        searches: How many searches a mode; queries are used again if there are fewer.

    Raises:
        AssertionError: In some mode two subjects find different documents.
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
    """Check, which also warms up, that all subjects do the same work."""
    asked = queries[:40]
    first, *others = ([set(subject.search(query, mode)) for query in asked] for subject in subjects.values())
    for found in others:
        shared = sum(len(mine & theirs) for mine, theirs in zip(first, found, strict=True))
        share = shared / sum(map(len, first))
        assert share >= AGREEMENT, f"{mode}: {share:.1%} of the documents found are the same"
