"""Measures how long a model takes to load, and its peak memory, in each number format and from an int8 file.

The model has BGE-M3's shape and as many embeddings, with random weights: 2.3 GB in float32. Each load is a process of
its own, which also encodes one query. Files are in the page cache, because a first turn read them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from peak_memory import peak_megabytes
from workloads import BUILD, SHORT_QUERY, m3_shape

EMBEDDINGS = 250_002
MODES: dict[str, dict[str, Any]] = {
    "float32": {"use_fp16": False},
    "bfloat16": {"use_fp16": False, "use_bf16": True},
    "int8 and float32, from the float32 file": {"use_fp16": False, "quantization": "int8"},
    "int8 and float32, from the int8 file": {"use_fp16": False},
    "int8 and bfloat16, from the int8 file": {"use_fp16": False, "use_bf16": True},
}


def main() -> None:
    """Load each mode in turns and print the best time and the peak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        print(json.dumps(loaded(Path(arguments.inside[0]), **json.loads(arguments.inside[1]))))
        return
    whole = m3_shape(BUILD / "whole", EMBEDDINGS)
    small = BUILD / "whole/int8"
    if not small.exists():
        subprocess.run([sys.executable, "-m", "flagvec", "quantize", str(whole), "-o", str(small)], check=True)
    found: dict[str, list[tuple[float, float]]] = {mode: [] for mode in MODES}
    for _ in range(arguments.turns + 1):
        for mode, options in MODES.items():
            directory = small if mode.endswith("int8 file") else whole
            command = [sys.executable, __file__, "--inside", str(directory), json.dumps(options)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found[mode].append(tuple(json.loads(output)))
    table = Table("", "seconds", "peak MB", title="Loading BGE-M3's shape")
    for mode, turns in found.items():
        seconds, peaks = zip(*turns[1:], strict=True)
        table.add_row(mode, f"{min(seconds):.2f}", f"{min(peaks):,.0f}")
    Console(width=100).print(table)


def loaded(directory: Path, **options: Any) -> tuple[float, float]:
    """Return the seconds that a model takes to load, imports left out, and the peak memory after a query."""
    from flagvec import BGEM3FlagModel

    started = time.perf_counter()
    model = BGEM3FlagModel(directory, devices="cpu", return_sparse=True, return_colbert_vecs=True, **options)
    seconds = time.perf_counter() - started
    model.encode(SHORT_QUERY)
    return seconds, peak_megabytes()


if __name__ == "__main__":
    main()
