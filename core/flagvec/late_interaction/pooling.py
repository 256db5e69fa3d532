"""Fewer ColBERT vectors for a document: similar ones are replaced by their mean."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Vectors that are clustered together. Similar vectors are mostly neighbours, so spans lose little.
_SPAN = 1_024


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
    from scipy.sparse import csr_array

    members = _members(rows, clusters)
    ends = np.cumsum([0, *map(len, members)])
    belongs = csr_array((np.ones(len(rows), np.float32), [*chain(*members)], ends), shape=(clusters, len(rows)))
    sums = belongs @ rows
    if not normalize:
        return np.asarray(sums / np.diff(ends)[:, None], dtype=np.float32)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    # Vectors that cancel out have no mean direction, so the first one represents them.
    first = [places[0] for places in members]
    return np.where(lengths > 1e-6, sums / np.maximum(lengths, 1e-6), rows[first])


def _members(rows: NDArray[np.float32], clusters: int) -> list[list[int]]:
    """Return the ascending positions of each cluster's vectors, ordered by the first one."""
    from scipy.cluster.hierarchy import linkage

    merges = linkage(_distances(rows), method="ward")[: len(rows) - clusters, :2].astype(int).tolist()
    # scipy's `fcluster` takes as long as all else here, and leaves fewer clusters if several merges are equally far.
    members = {place: [place] for place in range(len(rows))}
    for number, (one, other) in enumerate(merges, start=len(rows)):
        members[number] = members.pop(one) + members.pop(other)
    return sorted(map(sorted, members.values()))


def _distances(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the Euclidean distance of each pair of rows, as scipy's condensed matrix."""
    from scipy.spatial.distance import squareform

    # The squares of all distances by one product of matrices. scipy's `pdist` takes ten times as long.
    distances = rows @ rows.T
    squares = distances.diagonal().copy()
    distances *= -2
    distances += squares[:, None]
    distances += squares
    np.sqrt(np.maximum(distances, 0, out=distances), out=distances)
    return squareform(distances, checks=False)
