"""Fewer ColBERT vectors for a document: similar ones are replaced by their mean."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Vectors that are clustered together. Time and memory grow with the square, and similar vectors are mostly neighbours.
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
    """Replace clusters of similar vectors by their means, so that about one in `pool` vectors is left.

    The clusters come from Ward's hierarchical clustering, as in Clavié, Chaffin and Adams, "Reducing the Footprint of
    Multi-Vector Retrieval with Minimal Performance Impact via Token Pooling" (arXiv 2409.14683). A text of more than
    1,024 vectors is clustered in spans of equal size.

    Args:
        rows: (tokens, dimension) float32, of one document.
        pool: How many times fewer vectors to return, 1 and up. At least one vector is left.
        normalize: Give the means length 1.

    Returns:
        (clusters, dimension) float32, ordered by each cluster's first vector in the text.
    """
    if pool == 1 or len(rows) < 2:
        return rows
    spans = np.array_split(rows, -(-len(rows) // _SPAN))
    return np.concatenate([_cluster_means(span, max(len(span) // pool, 1), normalize) for span in spans])


def _cluster_means(vectors: NDArray[np.float32], clusters: int, normalize: bool) -> NDArray[np.float32]:
    from scipy.cluster.hierarchy import fcluster, linkage

    labels = fcluster(linkage(vectors, method="ward"), clusters, criterion="maxclust")
    _, first, members = np.unique(labels, return_index=True, return_inverse=True)
    sums = np.zeros((len(first), vectors.shape[1]), dtype=np.float32)
    np.add.at(sums, members, vectors)
    if normalize:
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        # Vectors that cancel out have no mean direction, so the first one represents them.
        means = np.where(lengths > 1e-6, sums / np.maximum(lengths, 1e-6), vectors[first])
    else:
        means = sums / np.bincount(members)[:, None].astype(np.float32)
    return np.asarray(means[np.argsort(first)], dtype=np.float32)
