"""MaxSim of a query with documents whose ColBERT vectors are codes."""

from __future__ import annotations

from collections.abc import Sequence
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
    lengths = np.array([len(codes) for codes in documents], dtype=np.int64)
    rows = np.concatenate([np.empty((0, codec.row_bytes), np.uint8), *documents])
    return MaxSim(query, codec).scores(codec.checked(rows, "documents"), lengths)


def dot_products(query: Any, codes: Codes, codec: ColbertCodec) -> NDArray[np.float32]:
    """Return what `maxsim` takes the best of: (query vectors, code vectors) float32, for one document.

    Args:
        query: (query vectors, dimension) array or tensor.
        codes: The document's codes.
        codec: What made the codes.

    Raises:
        ValueError: Codes are of another codec or damaged.
    """
    codes = codec.checked(codes, "codes")
    # In a document of one vector, that is the best one.
    products = MaxSim(as_float32(query), codec).best_products(codes, np.ones(len(codes), dtype=np.int64))
    return np.ascontiguousarray(products.T)


class MaxSim:
    """A query that is ready to be compared with the codes of many documents.

    Args:
        query: (query vectors, dimension) float32.
        codec: What made the codes.
    """

    def __init__(self, query: NDArray[np.float32], codec: ColbertCodec) -> None:
        self.codec = codec
        self._query = query if codec.rotation is None else codec.rotation.apply(query)
        has_kernel = codec.bits == 1 and bit_vectors.can_compare_bits()
        self._bit_vectors = bit_vectors.BitVectors(self._query) if has_kernel else None

    def scores(self, rows: Codes, lengths: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what `maxsim` returns, for codes that are checked.

        Args:
            rows: The codes of the first document, then those of the next.
            lengths: (documents,) how many codes each document has.
        """
        scores = np.zeros(len(lengths))
        filled = lengths > 0
        if len(rows) and len(self._query):
            scores[filled] = self.best_products(rows, lengths[filled]).mean(axis=1, dtype=np.float64)
        return scores

    def best_products(self, rows: Codes, lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return each query vector's best dot product with a code of each document: (documents, query vectors) float32.

        Args:
            rows: As `scores` takes them.
            lengths: (documents,) how many codes each document has, 1 or more.
        """
        if self._bit_vectors is not None:
            return self._bit_vectors.best_products(rows, lengths)
        return np.maximum.reduceat(self._products(rows), np.cumsum(lengths) - lengths, axis=0)

    def _products(self, rows: Codes) -> NDArray[np.float32]:
        query, codec = self._query, self.codec
        products = np.empty((len(rows), len(query)), dtype=np.float32)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            products[part] = _level_products(query, rows[part], codec)
        if codec.bits != 16:
            # Levels are counted from 0, and stand for numbers around 0.
            products -= codec.middle * query.sum(axis=1)
            products *= codec.factors(rows)[:, None]
        return products


def _level_products(query: NDArray[np.float32], codes: Codes, codec: ColbertCodec) -> NDArray[np.float32]:
    if codec.bits == 16:
        return codec.numbers(codes) @ query.T
    # One product for each place in a byte takes less time than to put the levels in the order of the numbers.
    products = np.zeros((len(codes), len(query)), dtype=np.float32)
    for place, levels in enumerate(codec.levels(codes)):
        numbers = query[:, place :: 8 // codec.bits]
        products += levels[:, : numbers.shape[1]].astype(np.float32) @ numbers.T
    return products
