"""Measures how many documents with native ColBERT vectors a second become Parquet files, and come back.

    python benchmarks/parquet.py [--rounds 5]

Each shape is a number of ColBERT vectors a document and their width. A rate is the median of the rounds, in one thread,
with the sync of the file at the end.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from flagvec import Document
from flagvec.ingest.parquet import read_vectors
from flagvec.ingest.vector_writer import Position, VectorFilesWriter
from flagvec.store.backend import Record
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors

# mini-M3 on package descriptions, and BGE-M3 on texts of 200 tokens.
SHAPES = {(83, 384): 1_500, (200, 1_024): 300}
RECORDS_AT_ONCE = 256


def main() -> None:
    """Measure each shape, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    table = Table("ColBERT vectors", "bytes a document", "written a second", "read a second")
    for (rows, width), documents in SHAPES.items():
        records = _records(rows, width, documents)
        schema = Schema("random", width, True, width)
        written, read = [], []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as directory:
                folder = Path(directory) / "vectors"
                written.append(_seconds(partial(_write, folder, schema, records)))
                size = sum(file.stat().st_size for file in folder.glob("*.parquet"))
                read.append(_seconds(partial(_read, folder)))
        rates = [f"{documents / statistics.median(seconds):,.0f}" for seconds in (written, read)]
        table.add_row(f"{rows} of {width:,}", f"{size / documents:,.0f}", *rates)
    Console(highlight=False).print(table)


def _write(folder: Path, schema: Schema, records: list[Record]) -> None:
    with VectorFilesWriter(folder, schema, "float32") as writer:
        for start in range(0, len(records), RECORDS_AT_ONCE):
            part = records[start : start + RECORDS_AT_ONCE]
            writer.write(part, Position(start + len(part)))


def _read(folder: Path) -> None:
    for _ in read_vectors(folder):
        pass


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _records(rows: int, width: int, documents: int) -> list[Record]:
    generator = np.random.default_rng(0)
    weights = {token: 0.1 for token in range(40)}
    return [
        Record(
            Document(str(number), "word " * rows, {"number": number}),
            TextVectors(
                generator.standard_normal(width, dtype=np.float32),
                weights,
                generator.standard_normal((rows, width), dtype=np.float32),
            ),
        )
        for number in range(documents)
    ]


if __name__ == "__main__":
    main()
