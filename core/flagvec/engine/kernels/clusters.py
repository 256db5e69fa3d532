"""Clusters of similar vectors, by the compiled kernel."""

from __future__ import annotations

import numpy as np
import torch  # noqa: F401  # its OpenMP library decides whether kernels run
from numpy.typing import NDArray

from flagvec.engine.kernels.availability import _compiled, can_run, why_not

# The most rows that are clustered together, as in clusters.h.
MOST_ROWS = 1_024
_VECTOR = 8


def can_cluster(rows: int) -> bool:
    """Return whether `cluster_sums` takes so many rows: 2 to 1,024, on a CPU with AVX2."""
    return 2 <= rows <= MOST_ROWS and can_run("clusters")


def cluster_sums(rows: NDArray[np.float32], clusters: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Divide vectors into clusters by Ward's hierarchical clustering, and add up those of each cluster.

    Args:
        rows: (vectors, width) float32.
        clusters: How many to make, 1 to the number of vectors.

    Returns:
        The sums, (clusters, width) float32, and the number of each vector's cluster. Clusters are numbered in the order
        of their first vectors.

    Raises:
        ValueError: `can_cluster` is false, or `clusters` is out of range.
    """
    count, width = rows.shape
    if not can_cluster(count):
        raise ValueError(f"{count} rows cannot be clustered: {why_not('clusters') or 'ask can_cluster first'}")
    if not 1 <= clusters <= count:
        raise ValueError(f"clusters={clusters}: choose 1 to {count}, the number of rows")
    padded = -(-width // _VECTOR) * _VECTOR
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    if padded != width:
        rows = np.pad(rows, ((0, 0), (0, padded - width)))
    stride = -(-count // _VECTOR) * _VECTOR
    distances = np.empty((count, stride), dtype=np.float32)
    labels, sums = np.empty(count, dtype=np.int64), np.empty((clusters, padded), dtype=np.float32)
    _compiled.sum_clusters(
        (rows.ctypes.data, count, padded),
        clusters,
        distances.ctypes.data,
        stride,
        labels.ctypes.data,
        sums.ctypes.data,
    )
    return sums[:, :width], labels
