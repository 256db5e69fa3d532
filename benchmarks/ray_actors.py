"""Encode the same documents with 1 and 2 actors of Ray: ``python benchmarks/ray_actors.py DIRECTORY``.

Its argument is the directory of a model like BGE-M3. The time includes starting the actors and loading the model.
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
        with tempfile.TemporaryDirectory() as directory:
            began = perf_counter()
            encode_to_parquet(data, Path(directory) / "v", model=model, actors=Actors(actors, batch_size=400))
            seconds = perf_counter() - began
        print(f"| {actors} | {seconds:.1f} | {DOCUMENTS / seconds:.0f} |", flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main()
