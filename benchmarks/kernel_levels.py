"""Compares encoding with flagvec's kernels and with torch's, in turns in one process, at the level of FLAGVEC_KERNELS.

    OMP_NUM_THREADS=1 FLAGVEC_KERNELS=avx512 ONEDNN_MAX_CPU_ISA=AVX512_CORE python benchmarks/kernel_levels.py \
        [--model mini-M3] [--bfloat16] [--turns 5] [--texts 100] [--queries 20]

It prints CPU milliseconds of the process, the best turn of bulk and the median of one short query. Other work on the
machine changes CPU time little. docs/kernels.md has the limits for each level.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from flagvec import BGEM3FlagModel
from flagvec.engine.kernels import availability
from flagvec.engine.kernels.availability import Level
from workloads import BUILD, SHORT_QUERY, bulk_texts, cpu_seconds, m3_shape, mini_m3

MODELS = {"mini-M3": (mini_m3, "mean"), "m3-shape": (m3_shape, "cls")}


def main() -> None:
    """Measure both and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="mini-M3")
    parser.add_argument("--bfloat16", action="store_true", help="instead of float32")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--texts", type=int, default=100)
    parser.add_argument("--queries", type=int, default=20, help="short queries in a turn")
    options = parser.parse_args()
    checkpoint, pooling = MODELS[options.model]
    texts, bulk, query = bulk_texts(options.texts), ([], []), ([], [])
    models = []
    for has_kernels in (False, True):
        with _kernels(has_kernels):
            models.append(
                BGEM3FlagModel(
                    checkpoint(BUILD), pooling, devices="cpu", use_fp16=False, use_bf16=options.bfloat16,
                    return_sparse=True, return_colbert_vecs=True,
                )
            )  # fmt: skip
    for turn in range(options.turns + 1):
        for has_kernels, model in enumerate(models):
            with _kernels(bool(has_kernels)):
                seconds = cpu_seconds(lambda model=model: model.encode(texts))
                each = [cpu_seconds(lambda model=model: model.encode(SHORT_QUERY)) for _ in range(options.queries)]
            if turn:  # the first turn warms up
                bulk[has_kernels].append(seconds)
                query[has_kernels].extend(each)
    name = "bfloat16" if options.bfloat16 else "float32"
    sys.stdout.write(f"{options.model}, {name}, {availability.level()}\n")
    for title, seconds, of in ((f"{len(texts)} texts", bulk, min), ("one query", query, statistics.median)):
        torchs, ours = (of(one) * 1e3 for one in seconds)
        sys.stdout.write(f"{title}: torch's {torchs:.2f} ms, kernels {ours:.2f} ms, {torchs / ours:.2f}x\n")


@contextmanager
def _kernels(are_on: bool) -> Iterator[None]:
    if are_on:
        yield
        return
    with patch.object(availability, "level", lambda: Level.OFF):
        yield


if __name__ == "__main__":
    main()
