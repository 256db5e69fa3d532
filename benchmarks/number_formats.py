"""Compares float32, bfloat16, the format that flagvec chooses, and int8, in turns in one process.

    OMP_NUM_THREADS=1 python benchmarks/number_formats.py [--turns 4] [--queries 40]

It prints the measured rates, the choice, and the seconds of bulk and of one short query, for mini-M3 and for BGE-M3's
shape. Times are CPU seconds of the process, which other work on the machine changes little. On one thread they equal
the work's duration on a quiet machine. ``ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 FLAGVEC_KERNELS=0`` takes AMX away.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from flagvec import BGEM3FlagModel
from flagvec.engine.number_format import measured, model_width
from workloads import BUILD, SHORT_QUERY, bulk_texts, cpu_seconds, m3_shape, mini_m3

FORMATS: dict[str, dict[str, Any]] = {
    "float32": {"use_fp16": False},
    "bfloat16": {"use_fp16": False, "use_bf16": True},
    "as chosen": {},
    "int8 and as chosen": {"quantization": "int8"},
}


def main() -> None:
    """Measure both models and print a table for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--queries", type=int, default=40, help="short queries in a turn")
    options = parser.parse_args()
    for name, checkpoint, pooling, texts in (
        ("mini-M3", mini_m3(BUILD), "mean", bulk_texts(100)),
        ("BGE-M3's shape", m3_shape(BUILD), "cls", bulk_texts(12)),
    ):
        Console().print(_table(name, checkpoint, pooling, texts, options.turns, options.queries))


def _table(name: str, checkpoint: Path, pooling: str, texts: list[str], turns: int, queries: int) -> Table:
    models = {key: _model(checkpoint, pooling, **options) for key, options in FORMATS.items()}
    bulk: dict[str, list[float]] = {key: [] for key in models}
    query: dict[str, list[float]] = {key: [] for key in models}
    for turn in range(turns + 1):
        for key, model in models.items():
            seconds = cpu_seconds(lambda model=model: model.encode(texts))
            each = [cpu_seconds(lambda model=model: model.encode(SHORT_QUERY)) for _ in range(queries)]
            if turn:  # the first turn warms up
                bulk[key].append(seconds)
                query[key] += each
    table = Table("", f"{len(texts)} texts, ms", "one query, ms", title=f"{name}: {measured(model_width(checkpoint))}")
    for key, model in models.items():
        chosen = f" ({str(model.checkpoint.backbone.dtype).removeprefix('torch.')})" if "as chosen" in key else ""
        table.add_row(key + chosen, f"{min(bulk[key]) * 1e3:.0f}", f"{statistics.median(query[key]) * 1e3:.2f}")
    return table


def _model(checkpoint: Path, pooling: str, **options: Any) -> BGEM3FlagModel:
    return BGEM3FlagModel(checkpoint, pooling, devices="cpu", return_sparse=True, return_colbert_vecs=True, **options)


if __name__ == "__main__":
    main()
