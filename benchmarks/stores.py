"""Measures flagvec's stores beside the same calls written by hand on each database's own client.

    python benchmarks/stores.py [--engine qdrant-edge ...] [--documents 20000] [--searches 500]

Both sides get ready outputs, so no model is timed. They write and search in turns, in one process, because load on the
machine then slows down both. The write ratio says how many times as long the store takes. Added milliseconds say by how
much its searches are longer, in the order of the columns. Both are medians of the turns. An explained rrf search also
returns each hit's own scores, and the calls by hand do not.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib import import_module

from rich.console import Console
from rich.table import Table

from comparison import STORE, Comparison, Timing, measure
from corpus import Corpus, make_corpus

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
    for name in options.engine or MODULES:
        module = import_module(MODULES[name])
        if name not in module.ENGINES:
            console.print(f"{name}: left out, its package is not installed")
            continue
        if (variable := module.NEEDS.get(name)) and not os.environ.get(variable):
            console.print(f"{name}: left out, {variable} is not set")
            continue
        documents = min(options.documents, module.LARGEST.get(name, options.documents))
        engine: Callable[[Corpus], AbstractContextManager[Comparison]] = module.ENGINES[name]
        corpus = make_corpus(documents, QUERIES)
        with engine(corpus) as comparison:
            timings = measure(comparison, corpus, options.searches)
        console.print(_table(comparison.name, timings, documents, options.searches))


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
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--searches", type=int, default=500)
    return parser.parse_args()


if __name__ == "__main__":
    main()
