"""Queries encoded once for all searches, one at a time as a search encodes them, with the time that it took."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flagvec.evaluation.queries import JudgedQueries
from flagvec.m3_output import M3Output
from flagvec.progress import progress_bar
from flagvec.store.encoding import encode_texts, model_lock

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder


def encoded_queries(
    model: AbsEmbedder, queries: JudgedQueries, representations: Collection[str], show_progress: bool | None
) -> tuple[list[M3Output], NDArray[np.float64]]:
    """Return what a model gives for each query, and (queries,) float64 seconds that each took."""
    outputs, seconds = [], np.zeros(len(queries))
    with progress_bar(len(queries), "encoding", "query", show_progress) as bar:
        for position, query in enumerate(queries):
            began = time.perf_counter()
            with model_lock(model):
                outputs.append(encode_texts(model.encode_queries, model, [query.text], representations))
            seconds[position] = time.perf_counter() - began
            bar.update(1)
    return outputs, seconds
