"""What ColBERT vectors cost a store: bytes at rest, writing, and searches. `stores.py` runs it with ``--colbert``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from corpus import Corpus
from flagvec.errors import StoreError
from flagvec.store.base import HybridStore

# What each row of the table gives as the store's argument `colbert`.
CHOICES: dict[str, Any] = {"none": False, "native": "native", "compact": "compact"}
SEARCHES: dict[str, dict[str, Any]] = {
    "dense + sparse": {"fusion": "rrf"},
    "all three": {"fusion": {"dense": 1.0, "sparse": 0.3, "colbert": 1.0}},
}
CANDIDATES = 100
# A block of a file, as `os.stat` counts them.
_BLOCK = 512


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A store that was created.

    Args:
        store: The store, empty.
        at_rest: Returns once the database has finished background work like merging.
        size: Returns the bytes that the store takes on disk, or None if nobody can tell.
    """

    store: HybridStore
    at_rest: Callable[[], object] = lambda: None
    size: Callable[[], int | None]


@dataclass(frozen=True)
class Cost:
    """What was measured.

    Args:
        bytes: Bytes on disk for a document with all that is stored, or None.
        rate: Documents written a second.
        searches: Median milliseconds, by name.
        processor: The mean milliseconds of processor time that a search takes in this process, by name.
    """

    bytes: float | None
    rate: float
    searches: Mapping[str, float]
    processor: Mapping[str, float]


Open = Callable[[Corpus, Any], AbstractContextManager[Kept]]


def cost(open_store: Open, corpus: Corpus, choice: str, searches: int) -> Cost | None:
    """Return the cost of a choice, or None if the database cannot keep ColBERT vectors that way.

    Args:
        open_store: Creates a store, by the corpus and the argument `colbert`.
        corpus: Has ColBERT vectors.
        choice: One of `CHOICES`.
        searches: The number of each kind of search.
    """
    with ExitStack() as stack:
        try:
            kept = stack.enter_context(open_store(corpus, CHOICES[choice]))
        except StoreError:
            return None
        started = time.perf_counter()
        kept.store.add(corpus.documents, show_progress=False).raise_for_failures()
        written = time.perf_counter() - started
        kept.at_rest()
        size = kept.size()
        took = {name: _searches(kept.store, corpus, name, searches) for name in SEARCHES if _possible(name, choice)}
    count = len(corpus.documents)
    medians, processor = ({name: one[at] for name, one in took.items()} for at in range(2))
    return Cost(None if size is None else size / count, count / written, medians, processor)


def _possible(search: str, choice: str) -> bool:
    return choice != "none" or search == "dense + sparse"


def _searches(store: HybridStore, corpus: Corpus, name: str, searches: int) -> tuple[float, float]:
    """Return the median milliseconds of a search, and the mean ones of processor time."""
    for query in corpus.queries[:5]:
        store.search(query, candidates=CANDIDATES, **SEARCHES[name])
    took, processor = [], time.process_time()
    for number in range(searches):
        query = corpus.queries[number % len(corpus.queries)]
        started = time.perf_counter()
        hits = store.search(query, candidates=CANDIDATES, **SEARCHES[name])
        took.append(time.perf_counter() - started)
        assert len(hits) == 10
    return float(np.median(took)) * 1e3, (time.process_time() - processor) / searches * 1e3


def bytes_on_disk(folder: Path) -> int:
    """Return the bytes that all files in a folder take on disk; a hole in a file takes none.

    Qdrant's log of operations is left out, because it holds the last ones only, however many documents there are.
    """
    files = (file for file in folder.rglob("*") if file.is_file() and "wal" not in file.parts)
    return sum(file.stat().st_blocks * _BLOCK for file in files)
