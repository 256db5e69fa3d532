"""Measures a model on ``["cpu", "cpu"]`` beside the same model in one process, in turns.

    python benchmarks/workers.py [--texts 1000] [--turns 9] [--devices cpu cpu]

Both give all three outputs of mini-M3 as numpy arrays. A ratio is the time of one process divided by that of several,
and 1 means equally fast. Starting the processes is not measured. Then one short query goes through both, which needs
no process.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from flagvec import BGEM3FlagModel
from workloads import SHORT_QUERY, bulk_texts

QUERIES_A_TURN = 50


def seconds_of(call: Callable[[], object], times: int) -> float:
    """Return the seconds that a call takes, the mean of `times`."""
    began = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - began) / times


def compare(name: str, one: Callable[[], object], several: Callable[[], object], turns: int, times: int = 1) -> None:
    """Time two calls in turns, and print the median ratio of the first to the second."""
    seconds: list[tuple[float, float]] = []
    for turn in range(turns + 1):
        first = turn % 2
        pair = {place: seconds_of((one, several)[place], times) for place in (first, 1 - first)}
        # The first turn warms both up, and starts the processes.
        if turn:
            seconds.append((pair[0], pair[1]))
    ratios = [alone / together for alone, together in seconds]
    medians = [statistics.median(one) * 1e3 for one in zip(*seconds, strict=True)]
    print(
        f"{name}: one process {medians[0]:,.2f} ms, several {medians[1]:,.2f} ms; ratio "
        f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}), {turns} turns",
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
        compare("one query", *encodes, 2 * options.turns, QUERIES_A_TURN)
        compare(
            f"{len(texts):,} texts",
            *(lambda model=model: model.encode(texts) for model in (one, several)),
            options.turns,
        )


if __name__ == "__main__":
    main()
