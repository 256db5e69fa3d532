"""Measures dense searches of an embedded Qdrant store that indexes by itself.

    python benchmarks/edge_index.py [--documents 100000] [--searches 200] [--directions 32]

The vectors have 1,024 numbers, which vary in a few directions and by a little noise, as those of a model do. The more
directions, the harder it is to tell the nearest from the next: 64 are harder than texts are.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corpus import DIMENSION
from flagvec import Document, M3Output
from flagvec_qdrant import QdrantEdgeStore
from ready_model import ReadyModel

LIMIT = 10
_NOISE = 0.3
# The machine may be busy for some seconds, so that the best of several rounds counts.
_ROUNDS = 5


def main() -> None:
    """Print how long `add` takes, how long a dense search takes, and how many of the ten nearest it finds."""
    options = _options()
    generator = np.random.default_rng(0)
    vectors = make_vectors(options.documents + options.searches, options.directions, generator)
    stored, asked = vectors[: options.documents], vectors[options.documents :]
    texts = [str(number) for number in range(len(stored))]
    model = ReadyModel(texts, M3Output(dense_vecs=stored, lexical_weights=[{1: 1.0}] * len(stored)))
    with (
        tempfile.TemporaryDirectory() as directory,
        QdrantEdgeStore(model, Path(directory) / "store") as store,
    ):
        store.create()
        seconds = _seconds(lambda: store.add(Document(text, text) for text in texts))
        print(f"{options.documents:,} documents added and indexed in {seconds[0]:.1f} s, {seconds[1]:.1f} s of a core")
        medians: list[float] = []
        found: list[set[int]] = []
        for _ in range(_ROUNDS):
            took: list[float] = []
            found = []
            for vector in asked:
                query = M3Output(dense_vecs=vector[None])
                started = time.perf_counter()
                hits = store.search_vectors(query, LIMIT, mode="dense")
                took.append(time.perf_counter() - started)
                found.append({int(hit.id) for hit in hits})
            medians.append(float(np.median(took)) * 1e3)
        nearest = np.argsort(-(asked @ stored.T), axis=1)[:, :LIMIT].tolist()
        recall = np.mean([len(mine & {*exact}) / LIMIT for mine, exact in zip(found, nearest, strict=True)])
        print(f"dense search: p50 {min(medians):.2f} ms ({medians}), recall@{LIMIT} {recall:.3f}")


def make_vectors(count: int, directions: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """Return (count, 1024) unit vectors that vary in so many directions, and by noise."""
    basis = generator.standard_normal((directions, DIMENSION), dtype=np.float32)
    vectors = generator.standard_normal((count, directions), dtype=np.float32) @ basis
    vectors += _NOISE * directions**0.5 * generator.standard_normal((count, DIMENSION), dtype=np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that work took, and those of a core."""
    started, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - used


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--searches", type=int, default=200)
    parser.add_argument("--directions", type=int, default=32)
    return parser.parse_args()


if __name__ == "__main__":
    main()
