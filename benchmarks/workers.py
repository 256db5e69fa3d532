"""Measures a model on ``["cpu", "cpu"]`` beside the same model in one process, in turns.

    python benchmarks/workers.py [--texts 4000] [--turns 5] [--devices cpu cpu]

Both give all three outputs of mini-M3 as numpy arrays. The ratio is the time of one process divided by that of several.
"""

from __future__ import annotations

import argparse
import statistics
import time

from flagvec import BGEM3FlagModel
from workloads import bulk_texts


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=4_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--devices", nargs="+", default=["cpu", "cpu"])
    options = parser.parse_args()
    texts = bulk_texts(options.texts)
    given = {"return_sparse": True, "return_colbert_vecs": True}
    one = BGEM3FlagModel("mini-m3", devices=options.devices[0], **given)
    with BGEM3FlagModel("mini-m3", devices=options.devices, **given) as several:
        models = {"one process": one, f"{len(options.devices)} processes": several}
        for model in models.values():
            model.encode(texts)
        seconds: dict[str, list[float]] = {name: [] for name in models}
        for _ in range(options.turns):
            for name, model in models.items():
                began = time.perf_counter()
                model.encode(texts)
                seconds[name].append(time.perf_counter() - began)
    first, second = seconds.values()
    for name, found in seconds.items():
        print(f"{name}: {len(texts) / min(found):,.0f} texts/s at best")
    ratios = [alone / together for alone, together in zip(first, second, strict=True)]
    print(f"ratio: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
