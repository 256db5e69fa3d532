"""Measures the peak memory of `encode_stream` over few and over many documents, each in its own process."""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from peak_memory import peak_megabytes
from workloads import BUILD, bulk_texts, mini_m3

BATCH_SIZE = 256


def main() -> None:
    """Measure each number of documents in a process of its own and print the peaks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, nargs="+", default=[2_000, 20_000])
    parser.add_argument("--inside", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside is not None:
        encode(arguments.inside)
        print(peak_megabytes())
        return
    mini_m3(BUILD)
    table = Table(title="encode_stream, mini-M3, all three outputs", title_justify="left")
    for column in ("documents", "peak MB", "more than the first"):
        table.add_column(column, justify="right")
    peaks = [measured(documents) for documents in arguments.documents]
    for documents, peak in zip(arguments.documents, peaks, strict=True):
        table.add_row(f"{documents:,}", f"{peak:,.0f}", f"{peak - peaks[0]:+,.0f}")
    Console().print(table)


def measured(documents: int) -> float:
    """Return the peak memory of a process that encodes so many documents."""
    command = [sys.executable, __file__, "--inside", str(documents)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def encode(documents: int) -> None:
    """Encode documents as a stream and keep no output."""
    from flagvec import BGEM3FlagModel

    model = BGEM3FlagModel(mini_m3(BUILD), pooling_method="mean", return_sparse=True, return_colbert_vecs=True)
    for _ in model.encode_stream(itertools.islice(endless_texts(), documents), batch_size=BATCH_SIZE):
        pass


def endless_texts() -> Iterator[str]:
    """Yield endless descriptions, no two the same."""
    for round_, text in ((round_, text) for round_ in itertools.count() for text in bulk_texts(2_000)):
        yield f"{round_} {text}"


if __name__ == "__main__":
    main()
