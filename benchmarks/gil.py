"""Measures for how long the calls of qdrant-edge keep Python's other threads from running.

    python benchmarks/gil.py [--documents 300]

A thread writes points as `QdrantEdgeStore` does, while this one only counts. The share of a call in which it cannot
count is that in which the engine holds the GIL. An encoding thread stands still for that long. Milliseconds are of
processor time, because the two threads share the GIL while points are made.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
from rich.console import Console
from rich.table import Table

from flagvec import ColbertStorage, Document
from flagvec.store.backend import Record
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors
from flagvec_qdrant import edge_models as native
from flagvec_qdrant.schema import PROFILES

try:
    import qdrant_edge as edge
except ImportError as error:
    raise SystemExit("pip install 'flagvec[edge]'") from error

# Of a package description and mini-M3.
ROWS, WIDTH, WEIGHTS = 83, 384, 40
# A shorter pause of the counting thread is its own.
_LEAST_GAP = 0.001


def main() -> None:
    """Measure each form of ColBERT vectors, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=300)
    documents = parser.parse_args().documents
    table = Table("ColBERT", "call", "processor ms a document", "other threads stood still")
    for form in ("none", "compact", "native"):
        for call, processor, still in _measured(form, documents):
            table.add_row(form, call, f"{processor / documents * 1e3:.2f}", f"{still:.0%}")
    Console(highlight=False).print(table)


def _measured(form: str, documents: int) -> list[tuple[str, float, float]]:
    storage = ColbertStorage(bits=4)
    schema = Schema(
        "random",
        WIDTH,
        sparse=True,
        colbert_dimension=None if form == "none" else WIDTH,
        colbert_storage=storage if form == "compact" else None,
    )
    generator = np.random.default_rng(0)
    records = []
    for number in range(documents):
        rows = generator.standard_normal((ROWS, WIDTH), dtype=np.float32)
        vectors = TextVectors(
            generator.standard_normal(WIDTH, dtype=np.float32),
            {token: 0.1 for token in range(WEIGHTS)},
            rows if form == "native" else None,
            storage.encode(rows) if form == "compact" else None,
        )
        records.append(Record(Document(str(number), "word " * ROWS, {"number": number}), vectors))
    spans: dict[str, tuple[float, float, float]] = {}

    @contextmanager
    def timed(call: str) -> Iterator[None]:
        began, processor = time.perf_counter(), time.thread_time()
        yield
        spans[call] = time.thread_time() - processor, began, time.perf_counter()

    def write(path: str) -> None:
        shard = edge.EdgeShard.create(path, native.shard_config(schema, PROFILES["accurate"]))
        with timed("make points"):
            points = [native.point(record) for record in records]
        with timed("update"):
            shard.update(edge.UpdateOperation.upsert_points(points))
        with timed("flush"):
            shard.flush()
        shard.close()

    with tempfile.TemporaryDirectory() as directory:
        ticks = _counted_beside(lambda: write(f"{directory}/shard"))
    return [(call, took, _still(ticks, began, end)) for call, (took, began, end) in spans.items()]


def _counted_beside(work: Callable[[], object]) -> list[float]:
    thread = threading.Thread(target=work)
    ticks: list[float] = []
    thread.start()
    while thread.is_alive():
        ticks.append(time.perf_counter())
    return ticks


def _still(ticks: list[float], began: float, end: float) -> float:
    """Return the share of a span in which nothing was counted."""
    inside = [began, *(tick for tick in ticks if began <= tick <= end), end]
    gaps = (second - first for first, second in pairwise(inside))
    return sum(gap for gap in gaps if gap > _LEAST_GAP) / (end - began)


if __name__ == "__main__":
    main()
