"""Measures a model on ``["cpu", "cpu"]`` beside the same model in one process, in turns.

    python benchmarks/workers.py [--texts 1000] [--turns 9] [--devices cpu cpu]

Both give all three outputs of mini-M3 as numpy arrays. A ratio is the time of one process divided by that of several,
and 1 means equally fast. Starting the processes is not measured. Then one short query goes through both, which needs
no process.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from flagvec import BGEM3FlagModel
from workloads import SHORT_QUERY, bulk_texts

QUERIES = 1_000


def compare(name: str, one: Callable[[], object], several: Callable[[], object], turns: int) -> None:
    """Time two calls in turns, and print the median ratio of the first to the second."""
    calls, seconds = (one, several), np.empty((turns + 1, 2))
    for turn in range(turns + 1):
        for place in (turn % 2, 1 - turn % 2):
            began = time.perf_counter()
            calls[place]()
            seconds[turn, place] = time.perf_counter() - began
    # The first turn warms both up, and starts the processes.
    seconds = seconds[1:]
    alone, together = np.median(seconds, axis=0) * 1e3
    low, ratio, high = np.percentile(seconds[:, 0] / seconds[:, 1], [25, 50, 75])
    print(
        f"{name}: one process {alone:,.2f} ms, several {together:,.2f} ms; ratio {ratio:.3f}, half of {turns} turns "
        f"from {low:.3f} to {high:.3f}",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=1_000)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--devices", nargs="+", default=["cpu", "cpu"])
    options = parser.parse_args()
    texts = bulk_texts(options.texts)
    given = {"return_sparse": True, "return_colbert_vecs": True}
    one = BGEM3FlagModel("mini-m3", devices=options.devices[0], **given)
    with BGEM3FlagModel("mini-m3", devices=options.devices, **given) as several:
        encodes = [lambda model=model: model.encode_queries(SHORT_QUERY) for model in (one, several)]
        compare("one query", *encodes, QUERIES)
        compare(
            f"{len(texts):,} texts",
            *(lambda model=model: model.encode(texts) for model in (one, several)),
            options.turns,
        )


if __name__ == "__main__":
    main()
