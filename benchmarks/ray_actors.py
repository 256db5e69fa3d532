"""Encode the same documents with one and two actors of Ray, and print the rate: ``python benchmarks/ray_actors.py``.

The model has BGE-M3's tokenizer interface and mini-M3's size, so that the rate is that of this machine and not of a
GPU. Each number of actors is timed after its actors are up in a warm-up run of the same cluster.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import ray
import ray.data

from flagvec_ray import Actors, ModelSettings, encode_to_parquet

DOCUMENTS = 8_000


def main() -> None:
    """Print a row of a table for each number of actors."""
    options = {"model_class": "encoder-only-m3", "use_fp16": False, "return_sparse": True, "return_colbert_vecs": True}
    model = ModelSettings(sys.argv[1], options)
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = [{"id": f"d{i}", "text": f"Document {i} " + "about rice, soup and bread " * 16} for i in range(DOCUMENTS)]
    data = ray.data.from_items(rows).materialize()
    for actors in (1, 2):
        seconds = []
        for count in (400, DOCUMENTS):
            with tempfile.TemporaryDirectory() as directory:
                began = perf_counter()
                part = data if count == DOCUMENTS else data.limit(count)
                encode_to_parquet(part, Path(directory) / "v", model=model, actors=Actors(actors, batch_size=400))
                seconds.append(perf_counter() - began)
        steady = (DOCUMENTS - 400) / (seconds[1] - seconds[0])
        print(f"| {actors} | {seconds[1]:.1f} | {DOCUMENTS / seconds[1]:.0f} | {steady:.0f} |", flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main()
