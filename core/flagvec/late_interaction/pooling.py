"""Fewer ColBERT vectors for a document: similar ones are replaced by their mean."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Vectors that are clustered together. Similar vectors are mostly neighbours, so spans lose little.
_SPAN = 1_024
# The length of a sum of vectors that cancel out.
_NO_DIRECTION = 1e-6


def checked_pool_factor(pool_factor: Any) -> int:
    """Return `pool_factor`.

    Raises:
        ValueError: It is not a whole number of at least 1.
    """
    if not isinstance(pool_factor, int) or isinstance(pool_factor, bool) or pool_factor < 1:
        raise ValueError(f"colbert_pool_factor={pool_factor!r}: give a whole number, 1 to keep every vector")
    return pool_factor


def pooled_rows(rows: NDArray[np.float32], pool: int, normalize: bool = True) -> NDArray[np.float32]:
    """Replace clusters of similar vectors by their means, so that one in `pool` vectors is left.

    The clusters come from Ward's hierarchical clustering, as in Clavié, Chaffin and Adams, "Reducing the Footprint of
    Multi-Vector Retrieval with Minimal Performance Impact via Token Pooling" (arXiv 2409.14683). A document of more
    than 1,024 vectors is clustered in spans of equal size, because time and memory grow with the square of a span.

    Args:
        rows: (vectors, dimension) float32, finite, of one document.
        pool: How many times fewer vectors to return, 1 and up.
        normalize: Give the means length 1.

    Returns:
        (clusters, dimension) float32, ordered by each cluster's first vector. A span of n vectors has ``n // pool``
        clusters, and at least one, as the authors' program counts them.
    """
    if pool == 1 or len(rows) < 2:
        return rows
    spans = np.array_split(rows, -(-len(rows) // _SPAN))
    return np.concatenate([_cluster_means(span, max(len(span) // pool, 1), normalize) for span in spans])


def _cluster_means(rows: NDArray[np.float32], clusters: int, normalize: bool) -> NDArray[np.float32]:
    sums, labels = _cluster_sums(rows, clusters)
    if not normalize:
        sums /= np.bincount(labels)[:, None]
        return sums
    lengths: NDArray[np.float32] = np.sqrt(np.einsum("ij,ij->i", sums, sums))[:, None]
    if lengths.min() > _NO_DIRECTION:
        return np.divide(sums, lengths, out=sums)
    # Vectors that cancel out have no mean direction, so the first one represents them.
    _, first = np.unique(labels, return_index=True)
    return np.where(lengths > _NO_DIRECTION, sums / np.maximum(lengths, _NO_DIRECTION), rows[first])


def _cluster_sums(rows: NDArray[np.float32], clusters: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the sum of each cluster's vectors, and the number of each vector's cluster.

    Clusters are numbered in the order of their first vectors.
    """
    from flagvec.engine.kernels import clusters as kernel  # which imports torch

    if kernel.can_cluster(len(rows)):
        return kernel.cluster_sums(rows, clusters)
    labels = _labels(rows, clusters)
    belongs = np.zeros((clusters, len(rows)), dtype=np.float32)
    belongs[labels, np.arange(len(rows))] = 1
    return belongs @ rows, labels


def _labels(rows: NDArray[np.float32], clusters: int) -> NDArray[np.int64]:
    """Return the number of each vector's cluster; clusters are numbered in the order of their first vectors."""
    from scipy.cluster.hierarchy import linkage

    merges = linkage(_distances(rows), method="ward")[: len(rows) - clusters, :2].astype(int).tolist()
    # scipy's `fcluster` is slow, and leaves fewer clusters if several merges have the same distance.
    roots = list(range(len(rows) + len(merges)))
    for number, (one, other) in reversed(list(enumerate(merges, start=len(rows)))):
        roots[one] = roots[other] = roots[number]
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(root, len(numbers)) for root in roots[: len(rows)]], dtype=np.int64)


def _distances(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the Euclidean distance of each pair of rows, as scipy's condensed matrix."""
    from scipy.spatial.distance import squareform

    # One product of matrices gives the squares of all distances, which is faster than scipy's `pdist`.
    distances = rows @ rows.T
    squares = distances.diagonal().copy()
    distances *= -2
    distances += squares[:, None]
    distances += squares
    np.sqrt(np.maximum(distances, 0, out=distances), out=distances)
    return squareform(distances, checks=False)
