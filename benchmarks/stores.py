"""Measures flagvec's stores beside the same calls written by hand on each database's own client.

    python benchmarks/stores.py [--engine qdrant-edge ...] [--documents 20000] [--searches 500]
    python benchmarks/stores.py --colbert [--engine qdrant-edge ...] [--documents 1500] [--searches 50]

Both sides get ready outputs, so no model is timed. They write and search in turns, in one process, because load on the
machine then slows down both. The write ratio says how many times as long the store takes. Added milliseconds say by how
much its searches are longer, in the order of the columns. Both are medians of the turns. An explained rrf search also
returns each hit's own scores, and the calls by hand do not.

With ``--colbert`` each document also has 200 ColBERT vectors of 1,024 numbers. Each store keeps them in every form that
its database can, and the table says what each form costs. In parentheses is the processor time that a search takes in
this process. Other load on the machine hardly changes that.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from types import ModuleType

from rich.console import Console
from rich.table import Table

from colbert_stores import CHOICES, SEARCHES, Cost, Open, cost
from comparison import STORE, Comparison, Timing, measure
from corpus import COLBERT_ROWS, Corpus, make_corpus

MODULES = {
    "qdrant-edge": "engines.qdrant",
    "qdrant-local": "engines.qdrant",
    "qdrant-server": "engines.qdrant",
    "qdrant-server-langchain": "engines.qdrant",
    "milvus-lite": "engines.milvus",
    "milvus-server": "engines.milvus",
    "elasticsearch": "engines.elasticsearch",
    "elasticsearch-langchain": "engines.elasticsearch",
}
QUERIES = 100


def main() -> None:
    """Measure the given engines, or all that are available, and print one table each."""
    options = _options()
    console = Console(highlight=False)
    measured = _colbert if options.colbert else _beside_calls_by_hand
    for name in options.engine or MODULES:
        module = import_module(MODULES[name])
        if name not in (module.STORES if options.colbert else module.ENGINES):
            console.print(f"{name}: left out, its package is not installed, or it is not measured so")
            continue
        if (variable := module.NEEDS.get(name)) and not os.environ.get(variable):
            console.print(f"{name}: left out, {variable} is not set")
            continue
        console.print(measured(name, module, options))


def _beside_calls_by_hand(name: str, module: ModuleType, options: argparse.Namespace) -> Table:
    documents, searches = options.documents or 20_000, options.searches or 500
    documents = min(documents, module.LARGEST.get(name, documents))
    engine: Callable[[Corpus], AbstractContextManager[Comparison]] = module.ENGINES[name]
    corpus = make_corpus(documents, QUERIES)
    with engine(corpus) as comparison:
        timings = measure(comparison, corpus, searches)
    return _table(comparison.name, timings, documents, searches)


def _colbert(name: str, module: ModuleType, options: argparse.Namespace) -> Table:
    documents, searches = options.documents or 1_500, options.searches or 50
    open_store: Open = module.STORES[name]
    corpus = make_corpus(documents, QUERIES, with_colbert=True)
    title = f"{name}: {documents:,} documents of {COLBERT_ROWS} ColBERT vectors, {searches} searches of a kind"
    table = Table(title=title, title_justify="left")
    for heading in ("ColBERT", "bytes a document", "documents/s", *(f"{search}, ms" for search in SEARCHES)):
        table.add_column(heading)
    for choice in options.choice or CHOICES:
        table.add_row(choice, *_cells(cost(open_store, corpus, choice, searches)))
    return table


def _cells(found: Cost | None) -> list[str]:
    if found is None:
        return ["not possible"]
    size = "" if found.bytes is None else f"{found.bytes:,.0f}"
    took = (
        f"{found.searches[search]:.1f} ({found.processor[search]:.1f})" if search in found.searches else ""
        for search in SEARCHES
    )
    return [size, f"{found.rate:,.0f}", *took]


def _table(name: str, timings: Mapping[str, Timing], documents: int, searches: int) -> Table:
    ours = timings[STORE]
    modes = list(ours.searches)
    table = Table(title=f"{name}: {documents:,} documents, {searches} searches a mode", title_justify="left")
    for heading in ("", "documents/s", *(f"{mode}, ms" for mode in modes), "write ratio", "added ms a search"):
        table.add_column(heading, justify="right" if heading else "left")
    for who, timing in timings.items():
        medians = [f"{timing.median(mode):.2f}" for mode in modes]
        compared = ["", ""]
        if who != STORE:
            added = [f"{ours.added(mode, timing):+.2f}" for mode in modes]
            compared = [f"{ours.write_ratio(timing):.3f}", " / ".join(added)]
        table.add_row(who, f"{documents / sum(timing.writes):,.0f}", *medians, *compared)
    return table


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", action="append", choices=list(MODULES), help="may be given several times")
    parser.add_argument("--documents", type=int)
    parser.add_argument("--searches", type=int)
    parser.add_argument("--colbert", action="store_true", help="measure what ColBERT vectors cost")
    parser.add_argument("--choice", action="append", choices=list(CHOICES), help="with --colbert, instead of all")
    return parser.parse_args()


if __name__ == "__main__":
    main()
