"""`Tuning`: which fusion does best, what it gains, and the picture of all that were tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flagvec.evaluation.bootstrap import Estimate
from flagvec.evaluation.tables import Shown
from flagvec.search.fusion import Weighted
from flagvec.search.options import DEFAULT_CANDIDATES, SearchKeywords
from flagvec.search.settings import save_settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

_NAMES = {"dense": "dense", "sparse": "sparse", "colbert": "ColBERT"}


@dataclass(frozen=True)
class Tuning(Shown):
    """What `tune` found. In a notebook and in rich's ``print`` it is a table.

    Args:
        fusion: The fusion that did best on all queries: ``"rrf"``, or weights that add up to 1.
        candidates: How many documents each leg of a search finds.
        measure: What was raised.
        queries: How many queries there were.
        documents: How many documents the store holds.
        model: The name of the store's model.
        held_out: The measure of fusions on queries for which they were not chosen.
        baselines: The measure of ``"rrf"`` and of ``"equal weights"``. A store without lexical weights has no rrf.
        gains: ``held_out`` minus each of them, with the interval of a paired bootstrap over queries.
        fold_fusions: The fusion that was chosen for each fold. If they differ much, the queries are too few.
        fusions: All fusions that were tried.
        means: (fusions,) float64, the measure of each on all queries.
        confidence: That of the intervals.
        notes: What a reader must know, such as relevant documents that the store does not have.
    """

    fusion: Weighted | str
    candidates: int
    measure: str
    queries: int
    documents: int
    model: str
    held_out: Estimate
    baselines: Mapping[str, Estimate]
    gains: Mapping[str, Estimate]
    fold_fusions: Sequence[Weighted | str]
    fusions: Sequence[Weighted | str] = field(repr=False)
    means: NDArray[np.float64] = field(repr=False)
    confidence: float
    notes: tuple[str, ...] = ()

    @property
    def is_gain_certain(self) -> bool:
        """Whether all intervals of the gains are above 0."""
        return all(gain.low > 0 for gain in self.gains.values())

    def settings(self) -> SearchKeywords:
        """Return the options that ``HybridStore.search`` takes."""
        options: dict[str, Any] = {"fusion": self.fusion}
        if self.candidates != DEFAULT_CANDIDATES:
            options["candidates"] = self.candidates
        return options  # type: ignore[return-value]  # TypedDict knows no computed keys

    def save(self, path: str | Path) -> None:
        """Write a file of settings, which `flagvec.search.settings.load_settings` and the command line read.

        Raises:
            OSError: The file cannot be written.
        """
        save_settings(path, self.settings(), self.to_json())

    def heatmap(self) -> Figure:
        """Return a figure of matplotlib that shows the measure over all weights.

        Raises:
            ImportError: matplotlib is not installed; has the pip line.
        """
        from flagvec.evaluation.heatmap import heatmap

        return heatmap(self)

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return the names and the values of the table's columns."""
        ends = f"{self.confidence:.0%} interval"
        rows = [["tuned, on held-out queries", *_cells(self.held_out, "")]]
        rows += [[name, *_cells(one, "")] for name, one in self.baselines.items()]
        rows += [[f"gain over {name}", *_cells(one, "+")] for name, one in self.gains.items()]
        return ["fusion", self.measure, ends], rows

    def table(self) -> Table:
        """Return a table of rich."""
        from rich.table import Table

        title = f"{self.queries:,} queries in {self.documents:,} documents"
        table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
        columns, rows = self.rows()
        for place, name in enumerate(columns):
            table.add_column(name, justify="right" if place else "left", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        return table

    def lines(self) -> list[str]:
        """Return what stands below the table, a sentence each."""
        verdict = (
            "It is better than each of them on queries that did not choose it."
            if self.is_gain_certain
            else "An interval of the gains holds 0, so these queries do not show that it is better; more may."
        )
        alike = sum(one == self.fusion for one in self.fold_fusions)
        folds = f"{alike} of {len(self.fold_fusions)} folds chose the same; the others: " if alike else "The folds chose "
        others = "; ".join(dict.fromkeys(said(one) for one in self.fold_fusions if one != self.fusion))
        return [
            f"Best on all queries: {said(self.fusion)}. {verdict}",
            f"{folds}{others}." if others else "Each fold chose the same.",
            *(f"{note}." for note in self.notes),
        ]

    def to_json(self) -> dict[str, Any]:
        """Return all but the means of all fusions, in JSON's types."""
        return {
            "measure": self.measure,
            "queries": self.queries,
            "documents": self.documents,
            "model": self.model,
            "confidence": self.confidence,
            "held_out": self.held_out.to_json(),
            "baselines": {name: one.to_json() for name, one in self.baselines.items()},
            "gains": {name: one.to_json() for name, one in self.gains.items()},
            "folds": [_plain(one) for one in self.fold_fusions],
            "notes": list(self.notes),
        }


def said(fusion: Weighted | str) -> str:
    """Return a fusion for readers, as in "0.35 dense + 0.65 ColBERT"."""
    if isinstance(fusion, str):
        return fusion
    return " + ".join(f"{getattr(fusion, name):g} {_NAMES[name]}" for name in fusion.representations)


def _plain(fusion: Weighted | str) -> Any:
    return asdict(fusion) if isinstance(fusion, Weighted) else fusion


def _cells(one: Estimate, sign: str) -> tuple[str, str]:
    return f"{one.value:{sign}.4f}", f"{one.low:{sign}.4f} to {one.high:{sign}.4f}"
