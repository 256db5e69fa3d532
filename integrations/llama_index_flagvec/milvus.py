"""`M3SparseEmbeddingFunction`: what LlamaIndex's ``MilvusVectorStore`` takes for sparse vectors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llama_index.vector_stores.milvus.utils import BaseSparseEmbeddingFunction  # type: ignore[import-untyped]

from flagvec.frameworks.one_pass import one_pass
from flagvec.m3_output import M3Output
from flagvec.store.encoding import LARGEST_TOKEN_ID, SMALLEST_WEIGHT
from flagvec_milvus.convert import NO_TOKEN

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

# Milvus takes no empty vector, and refuses all rows of an insert for one. Neither number is a token's, so that what
# stands for a text without weights scores with nothing; and each is another's, so that not even with one another.
_DOCUMENT_WITHOUT_WEIGHTS = {NO_TOKEN: SMALLEST_WEIGHT}
_QUERY_WITHOUT_WEIGHTS = {LARGEST_TOKEN_ID: SMALLEST_WEIGHT}


class M3SparseEmbeddingFunction(BaseSparseEmbeddingFunction):  # type: ignore[misc]  # an untyped class
    """The ``sparse_embedding_function`` of a ``MilvusVectorStore``: the lexical weights of a BGE-M3 style model.

    The store asks for one document at a time, and for its bare text, where the index embedded text and metadata
    together. With a `FlagEmbedding` of the same model as the index's ``embed_model``, a node is encoded once where the
    two are equal: where it has no metadata, or all of its keys are in ``excluded_embed_metadata_keys``. Any other
    node is encoded a second time, alone, and its lexical weights are those of the text without the metadata.

    Make it before the first node is embedded.

    Args:
        model: A flagvec model with a sparse head.

    Raises:
        ValueError: The model gives no lexical weights.
    """

    def __init__(self, model: AbsEmbedder) -> None:
        self._one_pass = one_pass(model)
        self._one_pass.serve("sparse")

    def encode_queries(self, queries: list[str]) -> list[dict[int, float]]:
        """Return the weights of each query by token id, never empty."""
        return _storable(self._one_pass.queries(queries), _QUERY_WITHOUT_WEIGHTS)

    async def async_encode_queries(self, queries: list[str]) -> list[dict[int, float]]:
        """Do as `encode_queries` does, in a worker thread."""
        return await asyncio.to_thread(self.encode_queries, queries)

    def encode_documents(self, documents: list[str]) -> list[dict[int, float]]:
        """Return the weights of each document by token id, never empty."""
        return _storable(self._one_pass.documents(documents), _DOCUMENT_WITHOUT_WEIGHTS)

    async def async_encode_documents(self, documents: list[str]) -> list[dict[int, float]]:
        """Do as `encode_documents` does, in a worker thread."""
        return await asyncio.to_thread(self.encode_documents, documents)


def _storable(output: M3Output, without_weights: dict[int, float]) -> list[dict[int, float]]:
    weights: Sequence[dict[int, float]] = output["lexical_weights"]
    return [one or dict(without_weights) for one in weights]
