"""Measures ingestion beside encoding alone: its rate, a second run over the same documents, and its peak memory.

    python benchmarks/ingest.py [--documents 4000] [--rounds 3] [--form compact ...] [--apart] [--threads 1]
        [--unchanged 50000] [--memory 5000 50000]

The model is mini-M3, with ColBERT vectors if the stores keep some. The rate of encoding alone is `encode_stream` over
the same texts. Encoding and each combination of stores take turns in one process, after a small ingestion into each.
With --apart, each is measured in a process of its own, with what its first ingestion loads and connects. A ratio is the
median of the rounds, with the least and the greatest. Processor time is that of this process, without a server's. It
hardly depends on other load. The share that it gives is what is left of the rate of encoding if encoding keeps all
cores busy. ELASTICSEARCH_URL adds Elasticsearch, and ELASTICSEARCH_PID the processor time of this process, which is the
node on this machine. With --threads 1, encoding leaves the other cores to the databases, as if they had a machine of
their own.

The second run and the peak memory are measured with a model that has its vectors ready, and an edge store. The peak is
of anonymous memory, because the engine also maps its files.
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
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from workloads import BUILD, bulk_texts, mini_m3

BATCH_SIZE = 256
WARM_UP = 200
# How the stores keep ColBERT vectors.
FORMS = ("none", "compact", "native")


def main() -> None:
    """Measure everything and print a table for each question."""
    options = _options()
    if options.inside is not None:
        print(json.dumps(_inside(options.inside, options.documents)))
        return
    mini_m3(BUILD)
    if options.threads:
        torch.set_num_threads(options.threads)
        # Processes that measure one subject read this.
        os.environ["OMP_NUM_THREADS"] = str(options.threads)
    console = Console(width=140, highlight=False)
    for form in options.form or FORMS:
        console.print(_rates(form, options.documents, options.rounds, options.apart))
    if options.unchanged:
        console.print(_unchanged(options.unchanged))
    if options.memory:
        console.print(_memory(options.memory))


def _rates(form: str, documents: int, rounds: int, apart: bool) -> Table:
    stores = [f"edge-{form}"]
    # Native ones would need an Enterprise licence.
    if os.environ.get("ELASTICSEARCH_URL") and form != "native":
        stores.append(f"elasticsearch-{form}")
    alone, both = f"encoding-{form}", "+".join(stores)
    subjects = list(dict.fromkeys([alone, *stores, both]))
    found: dict[str, list[dict[str, float]]] = {subject: [] for subject in subjects}
    model = None if apart else _model(form)
    if model is not None:
        for subject in subjects:
            _once(subject, model, WARM_UP)
    for number in range(rounds):
        # Each second round goes backwards, so that a load that grows falls on all alike.
        for subject in subjects if number % 2 == 0 else reversed(subjects):
            measured = _measured(subject, documents) if model is None else _once(subject, model, documents)
            found[subject].append(measured)
    title = f"{documents:,} documents, mini-M3, ColBERT vectors: {form}, threads of encoding: {torch.get_num_threads()}"
    title += ", processes of their own" if apart else ""
    table = Table(title=title, title_justify="left")
    for column in (
        "",
        "documents/s",
        "rate beside encoding",
        "by processor time",
        "processor ms a document",
        "the node's",
        "time beside the slower",
        "by processor time",
    ):
        table.add_column(column, justify="right" if column else "left")
    for subject in subjects:
        row = [f"{documents / statistics.median(one['seconds'] for one in found[subject]):,.0f}"]
        row += [_share(found[alone], found[subject], what) for what in ("seconds", "processor")]
        for what in ("processor", "node"):
            row.append(f"{1e3 * statistics.median(one[what] for one in found[subject]) / documents:.2f}")
        of_stores = [found[one] for one in stores]
        for what in ("seconds", "processor"):
            slower = [{what: max(one[what] for one in each)} for each in zip(*of_stores, strict=True)]
            row.append(_share(found[subject], slower, what) if "+" in subject else "")
        table.add_row(subject, *row)
    return table


def _share(first: list[dict[str, float]], second: list[dict[str, float]], what: str) -> str:
    """Return the median of the first beside the second, and the least and the greatest."""
    shares = sorted(one[what] / other[what] for one, other in zip(first, second, strict=True))
    return f"{statistics.median(shares):.0%} ({shares[0]:.0%} to {shares[-1]:.0%})"


def _unchanged(documents: int) -> Table:
    found = _measured("unchanged", documents)
    table = Table(title=f"A second run over {documents:,} documents", title_justify="left")
    for column in ("encoded", "documents/s"):
        table.add_column(column, justify="right")
    table.add_row(f"{found['encoded']:,}", f"{documents / found['seconds']:,.0f}")
    return table


def _memory(sizes: list[int]) -> Table:
    table = Table(title="Peak of anonymous memory", title_justify="left")
    for column in ("documents", "peak MB", "more than the first"):
        table.add_column(column, justify="right")
    peaks = [_measured("ready", documents)["peak"] for documents in sizes]
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
    if subject in ("unchanged", "ready"):
        return _ready(documents, is_again=subject == "unchanged")
    return _once(subject, _model(subject.rpartition("-")[2]), documents)


def _model(form: str) -> Any:
    from flagvec import BGEM3FlagModel

    model = BGEM3FlagModel(mini_m3(BUILD), pooling_method="mean", return_sparse=True, return_colbert_vecs=True)
    model.encode_corpus(bulk_texts(64), return_colbert_vecs=form != "none")
    return model


def _once(subject: str, model: Any, documents: int) -> dict[str, float]:
    if not subject.startswith("encoding"):
        return _ingested(subject.split("+"), model, _numbered(documents))
    texts = itertools.islice(endless_texts(), documents)
    # A store without ColBERT vectors asks for none.
    wanted = {"return_colbert_vecs": not subject.endswith("none")}
    with _Measure() as measure:
        for _ in model.encode_stream(texts, batch_size=BATCH_SIZE, **wanted):
            pass
    return measure.found


def _ingested(kinds: list[str], model: Any, documents: Iterator[Any]) -> dict[str, float]:
    from flagvec.ingest import ingest

    with tempfile.TemporaryDirectory() as directory:
        stores = {kind: _store(kind, model, Path(directory)) for kind in kinds}
        try:
            for store in stores.values():
                store.create()
            with _Measure() as measure:
                ingest(documents, stores=stores, journal=Path(directory) / "journal")
            return measure.found
        finally:
            for store in stores.values():
                store.drop()
                store.close()


def _ready(documents: int, is_again: bool) -> dict[str, float]:
    """Ingest documents whose vectors are ready; if `is_again`, measure a second ingestion of the same."""
    from flagvec.ingest import ingest

    with tempfile.TemporaryDirectory() as directory:
        model = Constant()
        store = _store("edge-none", model, Path(directory))
        store.create()
        with _Measure() as measure:
            ingest(_numbered(documents), stores=store, journal=Path(directory) / "journal")
        if not is_again:
            return measure.found
        given, before = list(_numbered(documents)), model.encoded
        with _Measure() as measure:
            ingest(iter(given), stores=store, journal=Path(directory) / "journal")
        return measure.found | {"encoded": model.encoded - before}


def _numbered(documents: int) -> Iterator[Any]:
    from flagvec import Document

    for number, text in enumerate(itertools.islice(endless_texts(), documents)):
        yield Document(str(number), text, {"number": number, "source": "benchmark"})


class Constant:
    """Gives every text the same dense vector of 384 numbers and the same 40 weights."""

    model_name_or_path = "constant"
    representations = frozenset({"dense", "sparse"})
    dimension = 384
    colbert_dimension = None

    def __init__(self) -> None:
        self.encoded = 0

    def encode_corpus(
        self,
        texts: list[str],
        return_dense: bool,
        return_sparse: bool,
        return_colbert_vecs: bool,
        convert_to_numpy: bool,
    ) -> Any:
        """Return the vectors of so many texts."""
        from flagvec import M3Output

        self.encoded += len(texts)
        row = np.full(self.dimension, self.dimension**-0.5, np.float32)
        weights = [{token: 0.1 for token in range(40)} for _ in texts]
        return M3Output(dense_vecs=np.tile(row, (len(texts), 1)), lexical_weights=weights)


class _Measure:
    """The seconds and the processor seconds of a ``with`` block, and its peak of anonymous memory in megabytes."""

    def __init__(self) -> None:
        self.found: dict[str, float] = {}
        self._ended = threading.Event()
        self._peak = 0.0
        self._sampling = threading.Thread(target=self._sample)

    def _sample(self) -> None:
        while not self._ended.wait(0.05):
            [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in line]
            self._peak = max(self._peak, int(line.split()[1]) / 1000)

    def __enter__(self) -> _Measure:
        self._sampling.start()
        self._node = _node_seconds()
        self._began, self._processor = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *error: object) -> None:
        self.found = {
            "seconds": time.perf_counter() - self._began,
            "processor": time.process_time() - self._processor,
            "node": _node_seconds() - self._node,
        }
        self._ended.set()
        self._sampling.join()
        self.found["peak"] = self._peak


def _node_seconds() -> float:
    """Return the processor seconds of the Elasticsearch node so far; 0 if its process is not known."""
    if (process := os.environ.get("ELASTICSEARCH_PID")) is None:
        return 0.0
    # The name of a program, in parentheses, may hold spaces.
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _store(kind: str, model: Any, directory: Path) -> Any:
    engine, _, form = kind.partition("-")
    colbert: Any = {"none": False, "compact": "compact", "native": "native"}[form]
    if engine == "edge":
        from flagvec_qdrant import QdrantEdgeStore

        return QdrantEdgeStore(model, directory / kind, colbert=colbert)
    from elasticsearch import Elasticsearch

    from flagvec_elasticsearch import ElasticsearchStore

    client = Elasticsearch(os.environ["ELASTICSEARCH_URL"], request_timeout=60)
    return ElasticsearchStore(model, client, f"flagvec_benchmark_{uuid.uuid4().hex}", colbert=colbert)


def endless_texts() -> Iterator[str]:
    """Yield endless descriptions, no two the same."""
    for round_, text in ((round_, text) for round_ in itertools.count() for text in bulk_texts(2_000)):
        yield f"{round_} {text}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=4_000)
    parser.add_argument("--form", action="append", choices=FORMS, help="of ColBERT vectors; may be given several times")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--apart", action="store_true", help="measure each rate in a process of its own")
    parser.add_argument("--threads", type=int, help="of encoding; all cores by default")
    parser.add_argument("--unchanged", type=int, default=50_000)
    parser.add_argument("--memory", type=int, nargs="*", default=[5_000, 50_000])
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
