"""A model whose vectors are known in advance, for tests of what stores do with any vectors."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from flagvec import M3Output


class SeededModel:
    """A deterministic model with a BGE-M3's interface: a word's vector is random, seeded by the word.

    A text without words has a dense vector and nothing else, which a real model hardly ever gives.
    """

    model_name_or_path = "seeded"

    def __init__(self, dimension: int = 16, representations: Iterable[str] = ("dense", "sparse", "colbert")) -> None:
        self.dimension = self.colbert_dimension = dimension
        self.representations = frozenset(representations)

    def encode_corpus(
        self,
        texts: Sequence[str],
        return_dense: bool,
        return_sparse: bool,
        return_colbert_vecs: bool,
        convert_to_numpy: bool,
    ) -> M3Output:
        words = [text.split() for text in texts]
        output = M3Output()
        if return_dense:
            output["dense_vecs"] = np.stack([unit(self._rows(["dense", *part]).sum(axis=0)) for part in words])
        if return_sparse:
            output["lexical_weights"] = [{zlib.crc32(word.encode()): len(word) / 10 for word in part} for part in words]
        if return_colbert_vecs:
            output["colbert_vecs"] = [unit(self._rows(part)) for part in words]
        return output

    encode_queries = encode_corpus

    def _rows(self, words: Sequence[str]) -> NDArray[np.float32]:
        rows = [np.random.default_rng(zlib.crc32(word.encode())).normal(size=self.dimension) for word in words]
        return np.array(rows, dtype=np.float32).reshape(len(words), self.dimension)


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)
