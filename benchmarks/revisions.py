"""Compares the time of one short query between two environments, such as those of two checkouts of flagvec.

    python benchmarks/revisions.py BEFORE/.venv/bin/python .venv/bin/python [--pairs 15] [--blocks 40]

A process of each encodes blocks of queries with mini-M3, one block each in turn, because the machine's load then slows
down both. The ratio of a pair is the median over its blocks. Pairs differ by where the system puts their memory.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

QUERY = "how do I find a library for fingerprints"
CALLS = 20  # in a block


def main() -> None:
    """Compare the given environments, or encode as one of them if none is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="*", metavar="PYTHON", help="the interpreters before and after")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--blocks", type=int, default=40)
    options = parser.parse_args()
    if not options.pythons:
        _encode_blocks()
        return
    ratios = []
    for _ in range(options.pairs):
        before, after = _pair(options.pythons, options.blocks)
        ratios.append(statistics.median(late / early for early, late in zip(before, after, strict=True)))
        sys.stdout.write(f"{statistics.median(before):.0f} and {statistics.median(after):.0f} us: {ratios[-1]:.3f}\n")
    sys.stdout.write(f"median of {options.pairs} pairs: {statistics.median(ratios):.3f}\n")


def _pair(pythons: Sequence[str], blocks: int) -> list[list[float]]:
    """Return the microseconds of a query in each block, for each of the two."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    workers = [
        subprocess.Popen([python, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for python in pythons
    ]
    for worker in workers:
        _answer(worker)
    took: list[list[float]] = [[] for _ in workers]
    for block in range(blocks):
        for turn in range(len(workers)):
            who = (block + turn) % len(workers)
            took[who].append(_answer(workers[who]))
    for worker in workers:
        worker.communicate()
    return took


def _answer(worker: subprocess.Popen[str]) -> float:
    assert worker.stdin is not None and worker.stdout is not None, "both are pipes"
    worker.stdin.write("\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


def _encode_blocks() -> None:
    from flagvec import BGEM3FlagModel

    model = BGEM3FlagModel("mini-m3")
    for _ in sys.stdin:
        took = []
        for _ in range(CALLS):
            started = time.perf_counter()
            model.encode_queries(QUERY, return_dense=True, return_sparse=True, return_colbert_vecs=True)
            took.append(time.perf_counter() - started)
        sys.stdout.write(f"{statistics.median(took) * 1e6}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
