"""Encode the same documents with 1 and 2 actors of Ray, in turns: ``python benchmarks/ray_actors.py [--turns 3]``.

mini-M3 with all three outputs, into Parquet, an actor for each of two CPUs. A run of a few documents shows
what starting takes; the rate is that of the further ones.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

import ray
import ray.data

from flagvec_ray import Actors, ModelSettings, encode_to_parquet
from workloads import bulk_texts

FEW, MANY = 50, 4_050


def seconds_of(data: ray.data.Dataset, actors: int) -> float:
    """Return the seconds that so many actors take to encode a data set."""
    options = {"return_sparse": True, "return_colbert_vecs": True}
    with tempfile.TemporaryDirectory() as directory:
        began = perf_counter()
        encode_to_parquet(
            data,
            Path(directory) / "v",
            model=ModelSettings("mini-m3", {"model_class": "encoder-only-m3", **options}),
            actors=Actors(actors, batch_size=100),
        )
        return perf_counter() - began


def main() -> None:
    """Print a row of a table for each number of actors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    turns = parser.parse_args().turns
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = [{"id": f"d{place}", "text": text} for place, text in enumerate(bulk_texts(MANY))]
    few, many = ray.data.from_items(rows[:FEW]).materialize(), ray.data.from_items(rows).materialize()
    found: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    for _ in range(turns):
        for actors, times in found.items():
            times.append((seconds_of(few, actors), seconds_of(many, actors)))
            print(actors, *(f"{one:.1f}" for one in times[-1]), flush=True)
    for actors, times in found.items():
        start, whole = (statistics.median(one) for one in zip(*times, strict=True))
        print(f"| {actors} | {start:.1f} | {whole:.1f} | {(MANY - FEW) / (whole - start):.0f} |")
    ray.shutdown()


if __name__ == "__main__":
    main()
