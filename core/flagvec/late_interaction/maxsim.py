"""MaxSim of a query with documents whose ColBERT vectors are codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flagvec.engine.kernels import bit_vectors
from flagvec.late_interaction.codec import Codes, ColbertCodec
from flagvec.scoring import as_float32

# Rows that are unpacked at once, so that their numbers stay in the processor's cache.
_ROWS_AT_ONCE = 256


def maxsim(query: Any, documents: Sequence[Codes], codec: ColbertCodec) -> NDArray[np.float64]:
    """Return each document's score: the mean over query vectors of the best dot product with a document's vector.

    Args:
        query: (query vectors, dimension) array or tensor, in full precision.
        documents: The codes of each document.
        codec: What made the codes.

    Returns:
        (documents,) float64: what `flagvec.scoring.colbert_score` gives for the decoded vectors, to 1e-4. 0.0 for a
        document or query without vectors.

    Raises:
        ValueError: The query has another width, or codes are of another codec or damaged.
    """
    query = as_float32(query)
    if query.ndim != 2 or query.shape[1] != codec.dimension:
        raise ValueError(f"query has the shape {query.shape}; the codes are of (vectors, {codec.dimension})")
    for number, codes in enumerate(documents):
        if codes.shape[1:] != (codec.row_bytes,):
            raise ValueError(
                f"documents[{number}] has the shape {codes.shape}; this codec's codes have (vectors, "
                f"{codec.row_bytes}), so encode the documents with it"
            )
    lengths = np.array([len(codes) for codes in documents], dtype=np.intp)
    rows = np.concatenate([np.empty((0, codec.row_bytes), np.uint8), *documents])
    return maxsim_of_rows(query, codec.checked(rows, "documents"), lengths, codec)


def maxsim_of_rows(
    query: NDArray[np.float32], rows: Codes, lengths: NDArray[np.intp], codec: ColbertCodec
) -> NDArray[np.float64]:
    """Do as `maxsim` does for codes that are checked, and those of all documents in one array.

    Args:
        query: (query vectors, dimension) float32.
        rows: The codes of the first document, then those of the next.
        lengths: (documents,) how many codes each document has.
        codec: What made the codes.
    """
    scores = np.zeros(len(lengths))
    filled = lengths > 0
    if not len(rows) or not len(query):
        return scores
    rotated = query if codec.rotation is None else codec.rotation.apply(query)
    starts = (np.cumsum(lengths) - lengths)[filled]
    best = np.maximum.reduceat(_dot_products(rotated, rows, codec), starts, axis=0)
    scores[filled] = best.mean(axis=1, dtype=np.float64)
    return scores


def dot_products(query: Any, codes: Codes, codec: ColbertCodec) -> NDArray[np.float32]:
    """Return what `maxsim` takes the best of: (query vectors, code vectors) float32, for one document.

    Args:
        query: (query vectors, dimension) array or tensor.
        codes: The document's codes.
        codec: What made the codes.

    Raises:
        ValueError: Codes are of another codec or damaged.
    """
    query = as_float32(query)
    rotated = query if codec.rotation is None else codec.rotation.apply(query)
    return np.ascontiguousarray(_dot_products(rotated, codec.checked(codes, "codes"), codec).T)


def _dot_products(query: NDArray[np.float32], codes: Codes, codec: ColbertCodec) -> NDArray[np.float32]:
    """Return the (code vectors, query vectors) dot products of vectors that are both rotated."""
    if codec.bits == 16:
        return _in_parts(codes, len(query), lambda part: codec.numbers(part) @ query.T)
    if codec.bits == 1 and bit_vectors.can_sum_bits():
        products = bit_vectors.bit_sums(query, codes)
    else:
        products = _in_parts(codes, len(query), lambda part: _level_products(query, part, codec))
    # Levels are counted from 0, and stand for numbers around 0.
    products -= codec.middle * query.sum(axis=1)
    products *= codec.factors(codes)[:, None]
    return products


def _in_parts(codes: Codes, width: int, products_of: Callable[[Codes], NDArray[np.float32]]) -> NDArray[np.float32]:
    products = np.empty((len(codes), width), dtype=np.float32)
    for start in range(0, len(codes), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        products[part] = products_of(codes[part])
    return products


def _level_products(query: NDArray[np.float32], codes: Codes, codec: ColbertCodec) -> NDArray[np.float32]:
    # One product for each place in a byte takes less time than to put the levels in the order of the numbers.
    products = np.zeros((len(codes), len(query)), dtype=np.float32)
    for place, levels in enumerate(codec.levels(codes)):
        numbers = query[:, place :: 8 // codec.bits]
        products += levels[:, : numbers.shape[1]].astype(np.float32) @ numbers.T
    return products
