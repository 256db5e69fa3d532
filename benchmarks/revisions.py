"""Compares the time of one short query, or of many texts, between two checkouts of flagvec, each with an environment.

    python benchmarks/revisions.py BEFORE/.venv/bin/python .venv/bin/python [--pairs 15] [--blocks 40] [--bulk 400]

A process of each encodes blocks with mini-M3, one block each in turn, because the machine's load then slows down both.
A block is 20 queries on one thread, or with --bulk so many package descriptions once on all threads. The ratio of a
pair is the median over its blocks. Pairs differ by where the system puts their memory.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial

QUERY = "how do I find a library for fingerprints"
CALLS = 20  # in a block


def main() -> None:
    """Compare the given environments, or encode as one of them if none is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="*", metavar="PYTHON", help="the interpreters before and after")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--blocks", type=int, default=40)
    parser.add_argument("--bulk", type=int, default=0, metavar="TEXTS", help="encode so many texts instead of a query")
    options = parser.parse_args()
    if not options.pythons:
        _encode_blocks(options.bulk)
        return
    ratios = []
    for _ in range(options.pairs):
        before, after = _pair(options.pythons, options.blocks, options.bulk)
        ratios.append(statistics.median(late / early for early, late in zip(before, after, strict=True)))
        sys.stdout.write(f"{statistics.median(before):,.0f} and {statistics.median(after):,.0f} us: {ratios[-1]:.3f}\n")
    sys.stdout.write(f"median of {options.pairs} pairs: {statistics.median(ratios):.3f}\n")


def _pair(pythons: Sequence[str], blocks: int, bulk: int) -> list[list[float]]:
    """Return the microseconds of a query, or of all `bulk` texts, in each block, for each of the two."""
    one_thread = {} if bulk else {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    workers = [
        subprocess.Popen(
            [python, __file__, "--bulk", str(bulk)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | one_thread,
        )
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


def _encode_blocks(bulk: int) -> None:
    from flagvec import BGEM3FlagModel
    from workloads import bulk_texts

    model = BGEM3FlagModel("mini-m3", devices="cpu", return_sparse=True, return_colbert_vecs=True)
    encode = partial(model.encode, bulk_texts(bulk)) if bulk else partial(model.encode_queries, QUERY)
    for _ in sys.stdin:
        took = []
        for _ in range(1 if bulk else CALLS):
            started = time.perf_counter()
            encode()
            took.append(time.perf_counter() - started)
        sys.stdout.write(f"{statistics.median(took) * 1e6}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
