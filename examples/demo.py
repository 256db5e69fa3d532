"""`make demo`: index 2,400 documents once, then compare and measure dense, sparse, hybrid and ColBERT search."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tqdm import tqdm
from transformers.utils import logging as transformers_logging

from debian import Query, load_documents, load_queries
from evaluation import DEPTH, mean_recall, mean_reciprocal_rank
from flagvec import BGEM3FlagModel, Hit, Weighted
from flagvec_qdrant import QdrantEdgeStore

BUILD = Path(__file__).parents[1] / "build"
SHOWN_HITS = 3
PIPED_WIDTH = 100

# The options of `store.search`, by the name in the tables.
SIDE_BY_SIDE: dict[str, dict[str, Any]] = {
    "dense": {"mode": "dense"},
    "sparse": {"mode": "sparse"},
    "hybrid: rrf": {"fusion": "rrf"},
    "ColBERT rerank": {"rerank": "colbert"},
}
MEASURED: dict[str, dict[str, Any]] = {
    "dense": {"mode": "dense"},
    "sparse": {"mode": "sparse"},
    "hybrid: rrf": {"fusion": "rrf"},
    "hybrid: dense + sparse": {"fusion": Weighted(dense=1, sparse=1, colbert=0)},
    "hybrid: rrf, then ColBERT rerank": {"rerank": "colbert"},
    "hybrid: dense + sparse + ColBERT": {"fusion": Weighted(dense=1, sparse=1, colbert=1)},
}

# The searches rank these queries differently.
SHOWN_QUERIES = (
    "music jukebox / music player",
    "lightweight implementation of the Ruby language",
    "Extensible editor for structured binary data",
    "interactive physical simulator for KDE",
)


def main() -> None:
    """Index, search and measure."""
    transformers_logging.disable_progress_bar()
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    documents, queries = load_documents(), load_queries()
    model = BGEM3FlagModel("mini-m3")
    index = BUILD / "demo-index"
    shutil.rmtree(index, ignore_errors=True)
    with QdrantEdgeStore(model, index) as store:
        store.create()
        started = time.perf_counter()
        store.add(_progress(documents, "indexing", "documents"))
        seconds = time.perf_counter() - started
        # A query is too short to be divided among threads.
        torch.set_num_threads(1)
        by_text = {query.text: query for query in queries}
        for text in SHOWN_QUERIES:
            show_side_by_side(console, store, by_text[text])
        show_measures(console, measure(store, queries), len(documents), len(queries))
    size = sum(path.stat().st_blocks for path in index.rglob("*")) * 512
    console.print(
        f"Indexed once, in one pass for all three: {len(documents):,} documents in {seconds:.1f} s, "
        f"{len(documents) / seconds:.0f} documents/s; {size / 1e6:.0f} MB on disk in {index.relative_to(BUILD.parent)}."
    )


def show_side_by_side(console: Console, store: QdrantEdgeStore, query: Query) -> None:
    """Print the first hits of a query, one column for each search; a check mark is on the hit that it should find."""
    console.print(f"“{query.text}”", style="bold")
    table = Table(expand=True)
    columns = []
    for name, options in SIDE_BY_SIDE.items():
        table.add_column(name, ratio=1, no_wrap=True)
        columns.append(store.search(query.text, limit=SHOWN_HITS, **options))
    for rank in range(SHOWN_HITS):
        table.add_row(*(_cell(hits[rank], query) if rank < len(hits) else "" for hits in columns))
    console.print(table)


def measure(store: QdrantEdgeStore, queries: list[Query]) -> dict[str, tuple[float, float]]:
    """Return (MRR@10, recall@10) over all `queries`, by name of the search."""
    relevant = [query.relevant for query in queries]
    measures = {}
    for name, options in MEASURED.items():
        bar = _progress(queries, name, "queries")
        rankings = [[hit.id for hit in store.search(query.text, limit=DEPTH, **options)] for query in bar]
        measures[name] = mean_reciprocal_rank(rankings, relevant), mean_recall(rankings, relevant)
    return measures


def show_measures(console: Console, measures: dict[str, tuple[float, float]], documents: int, queries: int) -> None:
    """Print the result of `measure` as a table."""
    console.print(f"{queries} one-line summaries searched in {documents:,} package descriptions", style="bold")
    table = Table()
    table.add_column("search")
    for name in (f"MRR@{DEPTH}", f"recall@{DEPTH}"):
        table.add_column(name, justify="right")
    for name, values in measures.items():
        table.add_row(name, *(f"{value:.3f}" for value in values))
    console.print(table)


def _cell(hit: Hit, query: Query) -> Text:
    """Return a hit's package, and below it the beginning of its text."""
    found = hit.id in query.relevant
    package = f"{'✓ ' if found else ''}{hit.metadata['package']}"
    snippet = " ".join(hit.text.split())[:80]
    return Text.assemble((package, "bold green" if found else ""), "\n", (snippet, "dim"))


def _progress(items: Iterable[Any], doing: str, unit: str) -> tqdm[Any]:
    return tqdm(items, desc=doing, unit=f" {unit}", leave=False, file=sys.stderr, dynamic_ncols=True)


if __name__ == "__main__":
    main()
