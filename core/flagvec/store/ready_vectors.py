"""Ready dense vectors, which frameworks hand over as lists of numbers, as queries of a store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flagvec.m3_output import M3Output


def dense_query(embedding: Sequence[float]) -> M3Output:
    """Return a dense vector as what ``HybridStore.search_vectors`` takes for a dense search.

    Args:
        embedding: (dimension,) numbers of any length but 0, which becomes 1.

    Raises:
        ValueError: Something else than one vector, or one that is not finite or of length 0.

    Example:
        >>> dense_query([3.0, 4.0])["dense_vecs"]
        array([[0.6, 0.8]], dtype=float32)
    """
    vector = np.asarray(embedding, dtype=np.float32)
    if vector.ndim != 1 or not len(vector):
        raise ValueError(f"embedding takes one vector of numbers, not the shape {vector.shape}")
    length = np.linalg.norm(vector)
    if not np.isfinite(length) or not length:
        raise ValueError(f"embedding has length {length}: no direction to search in")
    return M3Output(dense_vecs=(vector / length)[None])
