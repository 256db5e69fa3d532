"""Measures ingestion beside encoding alone: its rate, a second run over the same documents, and its peak memory.

    python benchmarks/ingest.py [--documents 4000] [--rounds 3] [--unchanged 50000] [--memory 5000 50000]

The model is mini-M3 with all three outputs. The rate of encoding alone is `encode_stream` over the same texts. Encoding
and each combination of stores take turns, each in a process of its own, because load on the machine then slows down all
of them. A ratio is the median of the rounds. ELASTICSEARCH_URL adds Elasticsearch.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from peak_memory import peak_megabytes
from workloads import BUILD, bulk_texts, mini_m3

BATCH_SIZE = 256


def main() -> None:
    """Measure everything and print a table for each question."""
    options = _options()
    if options.inside is not None:
        print(json.dumps(_inside(options.inside, options.documents)))
        return
    mini_m3(BUILD)
    stores = ["edge", "elasticsearch"] if os.environ.get("ELASTICSEARCH_URL") else ["edge"]
    console = Console(highlight=False)
    console.print(_rates(stores, options.documents, options.rounds))
    console.print(_unchanged(options.unchanged))
    console.print(_memory(options.memory))


def _rates(stores: list[str], documents: int, rounds: int) -> Table:
    subjects = ["encoding", *stores, *(["+".join(stores)] if len(stores) > 1 else [])]
    seconds: dict[str, list[float]] = {subject: [] for subject in subjects}
    for _ in range(rounds):
        for subject in subjects:
            seconds[subject].append(_measured(subject, documents)["seconds"])
    table = Table(title=f"{documents:,} documents, mini-M3, all three outputs", title_justify="left")
    for column in ("", "documents/s", "rate beside encoding alone", "time beside the slower store"):
        table.add_column(column, justify="right" if column else "left")
    slower = [max(times) for times in zip(*(seconds[store] for store in stores), strict=True)]
    for subject in subjects:
        shares = [alone / taken for alone, taken in zip(seconds["encoding"], seconds[subject], strict=True)]
        beside = [taken / slow for taken, slow in zip(seconds[subject], slower, strict=True)]
        table.add_row(
            subject,
            f"{documents / statistics.median(seconds[subject]):,.0f}",
            f"{statistics.median(shares):.1%}",
            f"{statistics.median(beside):.1%}" if "+" in subject else "",
        )
    return table


def _unchanged(documents: int) -> Table:
    found = _measured("unchanged", documents)
    table = Table(title=f"A second run over {documents:,} documents", title_justify="left")
    for column in ("encoded", "documents/s"):
        table.add_column(column, justify="right")
    table.add_row(f"{found['encoded']:,}", f"{documents / found['seconds']:,.0f}")
    return table


def _memory(sizes: list[int]) -> Table:
    table = Table(title="Peak memory of ingesting into QdrantEdge", title_justify="left")
    for column in ("documents", "peak MB", "more than the first"):
        table.add_column(column, justify="right")
    peaks = [_measured("edge", documents)["peak"] for documents in sizes]
    for documents, peak in zip(sizes, peaks, strict=True):
        table.add_row(f"{documents:,}", f"{peak:,.0f}", f"{peak - peaks[0]:+,.0f}")
    return table


def _measured(subject: str, documents: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--inside", subject, "--documents", str(documents)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    print(subject, documents, found, flush=True)
    return found


def _inside(subject: str, documents: int) -> dict[str, float]:
    from flagvec import BGEM3FlagModel, Document

    if subject == "unchanged":
        return _second_run(documents)
    model = BGEM3FlagModel(mini_m3(BUILD), pooling_method="mean", return_sparse=True, return_colbert_vecs=True)
    model.encode_corpus(bulk_texts(64))
    texts = itertools.islice(endless_texts(), documents)
    if subject == "encoding":
        began = time.perf_counter()
        for _ in model.encode_stream(texts, batch_size=BATCH_SIZE):
            pass
        return {"seconds": time.perf_counter() - began, "peak": peak_megabytes()}
    given = (Document(str(number), text, {"number": number}) for number, text in enumerate(texts))
    return _ingested(subject.split("+"), model, given)


def _ingested(kinds: list[str], model: Any, documents: Iterator[Any]) -> dict[str, float]:
    from flagvec.ingest import ingest

    with tempfile.TemporaryDirectory() as directory:
        stores = {kind: _store(kind, model, Path(directory)) for kind in kinds}
        try:
            for store in stores.values():
                store.create()
            began = time.perf_counter()
            ingest(documents, stores=stores, journal=Path(directory) / "journal", dead_letters=Path(directory) / "dead")
            return {"seconds": time.perf_counter() - began, "peak": peak_megabytes()}
        finally:
            for store in stores.values():
                store.drop()
                store.close()


def _second_run(documents: int) -> dict[str, float]:
    """Ingest ready vectors, because it does not matter how they were made, and then once more."""
    from flagvec import Document
    from flagvec.ingest import ingest

    class Constant:
        model_name_or_path = "constant"
        representations = frozenset({"dense"})
        dimension = 2
        colbert_dimension = None
        encoded = 0

        def encode_corpus(self, texts: list[str], convert_to_numpy: bool = True) -> Any:
            import numpy as np

            self.encoded += len(texts)
            return np.tile(np.array([0.6, 0.8], np.float32), (len(texts), 1))

        encode_queries = encode_corpus

    given = [
        Document(str(number), text, {"number": number, "source": "benchmark"})
        for number, text in enumerate(itertools.islice(endless_texts(), documents))
    ]
    with tempfile.TemporaryDirectory() as directory:
        model = Constant()
        store = _store("edge", model, Path(directory))
        store.create()
        ingest(given, stores=store, journal=Path(directory) / "journal")
        before, began = model.encoded, time.perf_counter()
        ingest(iter(given), stores=store, journal=Path(directory) / "journal")
        return {"seconds": time.perf_counter() - began, "encoded": model.encoded - before}


def _store(kind: str, model: Any, directory: Path) -> Any:
    if kind == "edge":
        from flagvec_qdrant import QdrantEdgeStore

        return QdrantEdgeStore(model, directory / "edge")
    from elasticsearch import Elasticsearch

    from flagvec_elasticsearch import ElasticsearchStore

    client = Elasticsearch(os.environ["ELASTICSEARCH_URL"], request_timeout=60)
    return ElasticsearchStore(model, client, f"flagvec_benchmark_{uuid.uuid4().hex}")


def endless_texts() -> Iterator[str]:
    """Yield endless descriptions, no two the same."""
    for round_, text in ((round_, text) for round_ in itertools.count() for text in bulk_texts(2_000)):
        yield f"{round_} {text}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--unchanged", type=int, default=50_000)
    parser.add_argument("--memory", type=int, nargs="+", default=[5_000, 50_000])
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
