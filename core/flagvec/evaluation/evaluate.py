"""`evaluate`: how well each kind of search finds what it should, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flagvec.evaluation.bootstrap import CONFIDENCE, Estimate, checked_confidence, mean_with_interval
from flagvec.evaluation.encoded import encoded_queries
from flagvec.evaluation.measures import MEASURES, depth_of, parsed, values_of
from flagvec.evaluation.queries import JudgedQueries, check_relevant_are_stored, document_of
from flagvec.evaluation.searches import checked_searches, usual_searches
from flagvec.evaluation.tables import Shown
from flagvec.m3_output import M3Output
from flagvec.progress import progress_bar
from flagvec.search.options import SearchKeywords
from flagvec.store.base import HybridStore

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class Latency:
    """How long something takes, in milliseconds: the median (``p50``) and what 95 of 100 do not exceed (``p95``)."""

    p50: float
    p95: float

    @classmethod
    def of(cls, seconds: NDArray[np.float64]) -> Latency:
        """Return the latency of (n,) durations in seconds."""
        p50, p95 = np.percentile(seconds, [50, 95]) * 1_000
        return cls(float(p50), float(p95))


@dataclass(frozen=True, slots=True)
class SearchQuality:
    """How well one kind of search finds what it should.

    Args:
        estimates: The mean of each measure over queries with its interval, by the measure's name.
        values: For each measure (queries,) float64, in the order of the queries.
        latency: The time of a search in the store, without encoding.
    """

    estimates: Mapping[str, Estimate]
    values: Mapping[str, NDArray[np.float64]] = field(repr=False)
    latency: Latency


@dataclass(frozen=True)
class Evaluation(Shown):
    """What `evaluate` found. In a notebook and in rich's ``print`` it is a table.

    Args:
        searches: The quality of each search by its name.
        queries: How many queries there were.
        documents: How many documents the store holds.
        encoding: The time of encoding a query, which every search takes once.
        confidence: That of the intervals.
        notes: What a reader must know, such as relevant documents that the store does not have.
    """

    searches: Mapping[str, SearchQuality]
    queries: int
    documents: int
    encoding: Latency
    confidence: float = CONFIDENCE
    notes: tuple[str, ...] = ()

    @property
    def measures(self) -> tuple[str, ...]:
        """The names of the measures."""
        return tuple(next(iter(self.searches.values())).estimates)

    def table(self) -> Table:
        """Return a table of rich: a search a row, each mean above its interval."""
        from rich.table import Table
        from rich.text import Text

        table = Table(title=self._title(), title_justify="left", title_style="bold", box=None, pad_edge=False)
        table.add_column("search")
        for name in (*self.measures, "p50 ms", "p95 ms"):
            table.add_column(name, justify="right", no_wrap=True)
        best = {name: max(one.estimates[name].value for one in self.searches.values()) for name in self.measures}
        for search, found in self.searches.items():
            cells = []
            for name, one in found.estimates.items():
                style = "bold" if one.value == best[name] else ""
                cells.append(Text.assemble((f"{one.value:.3f}", style), (f"\n{one.low:.3f}-{one.high:.3f}", "dim")))
            table.add_row(Text(search), *cells, f"{found.latency.p50:.1f}", f"{found.latency.p95:.1f}")
        return table

    def lines(self) -> list[str]:
        """Return what stands below the table, a sentence each."""
        return [
            f"Below each mean is its {self.confidence:.0%} interval. Times are those of the store; encoding a query "
            f"takes {self.encoding.p50:.1f} ms more (p95 {self.encoding.p95:.1f} ms).",
            *(f"{note}." for note in self.notes),
        ]

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return the names and the values of a plain table's columns: means, ends of intervals, milliseconds."""
        columns = ["search", *(f"{name}{end}" for name in self.measures for end in ("", " low", " high"))]
        rows = []
        for search, found in self.searches.items():
            numbers = [number for one in found.estimates.values() for number in (one.value, one.low, one.high)]
            times = [f"{found.latency.p50:.2f}", f"{found.latency.p95:.2f}"]
            rows.append([search, *(f"{number:.4f}" for number in numbers), *times])
        return [*columns, "p50 ms", "p95 ms"], rows

    def to_json(self) -> dict[str, Any]:
        """Return all but the values of single queries, in JSON's types."""
        return {
            "queries": self.queries,
            "documents": self.documents,
            "confidence": self.confidence,
            "encoding_ms": _milliseconds(self.encoding),
            "searches": {
                search: {
                    "measures": {name: one.to_json() for name, one in found.estimates.items()},
                    "store_ms": _milliseconds(found.latency),
                }
                for search, found in self.searches.items()
            },
            "notes": list(self.notes),
        }

    def _title(self) -> str:
        plural = "query" if self.queries == 1 else "queries"
        return f"{self.queries:,} {plural} in {self.documents:,} documents"


def _milliseconds(latency: Latency) -> dict[str, float]:
    return {"p50": latency.p50, "p95": latency.p95}


def evaluate(
    store: HybridStore,
    queries: Iterable[Any],
    *,
    searches: Mapping[str, SearchKeywords] | None = None,
    measures: Sequence[str] = MEASURES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    show_progress: bool | None = None,
) -> Evaluation:
    """Search for queries whose relevant documents are known, and measure what is found.

    Each query is encoded once for all searches, and each search runs one query at a time. The largest number in
    `measures` is the ``limit``, and ``candidates`` grows with it as in every search. If documents were split, a part
    counts as its document, and of several parts among the hits the first counts.

    Args:
        store: The store.
        queries: What `read_queries` read; or `JudgedQuery` objects, or dicts like
            ``{"query": "loaf", "relevant": ["bread"]}``.
        searches: The options of each search by its name, as ``HybridStore.search`` takes them. None compares dense,
            sparse, their fusions, and those with ColBERT, if the store holds them.
        measures: ``MRR@k``, ``nDCG@k``, ``recall@k``, or another measure of ir-measures with ``@k``.
        confidence: That of the bootstrap intervals, 0 to 1.
        seed: Chooses the resamples, so that the same call gives the same intervals.
        show_progress: Show a progress bar. None shows one in a terminal or notebook after two seconds.

    Raises:
        TypeError: A query or an option of a wrong type.
        ValueError: There is no query, one has no relevant document, or the store has none of these documents; a
            measure is unknown; an option is not valid.
        ImportError: ir-measures is not installed; has the pip line.
        StoreError: As ``HybridStore.search``.
    """
    judged, wanted = JudgedQueries.of(queries), parsed(measures)
    checked_confidence(confidence)
    limit = max(depth_of(name) for name in wanted)
    note = check_relevant_are_stored(store, judged)
    given = usual_searches(store.schema) if searches is None else searches
    checked = checked_searches(store, given, limit)
    used = {name for options in checked.values() for name in options.representations}
    outputs, encoding = encoded_queries(store.model, judged, used, show_progress)
    found = {}
    with progress_bar(len(judged) * len(checked), "searching", "query", show_progress) as bar:
        for name in checked:
            rankings, seconds = _searched(store, outputs, limit, given[name], bar)
            values = values_of(wanted, judged, rankings)
            estimates = {measure: mean_with_interval(one, confidence, seed) for measure, one in values.items()}
            found[name] = SearchQuality(estimates, values, Latency.of(seconds))
    notes = (*judged.notes, *([note] if note else []))
    return Evaluation(found, len(judged), len(store), Latency.of(encoding), confidence, notes)


def _searched(
    store: HybridStore, outputs: Sequence[M3Output], limit: int, options: SearchKeywords, bar: Any
) -> tuple[list[list[str]], NDArray[np.float64]]:
    """Return the ids of the documents that a search finds for each query, and the seconds of each."""
    # The first search of a kind may load what later ones use.
    store.search_vectors(outputs[0], limit, **options)
    rankings, seconds = [], np.zeros(len(outputs))
    for position, output in enumerate(outputs):
        began = time.perf_counter()
        hits = store.search_vectors(output, limit, **options)
        seconds[position] = time.perf_counter() - began
        # A document counts once, at its best part.
        rankings.append(list(dict.fromkeys(map(document_of, hits))))
        bar.update(1)
    return rankings, seconds
