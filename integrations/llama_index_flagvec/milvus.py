"""`M3SparseEmbeddingFunction`: what LlamaIndex's ``MilvusVectorStore`` takes for sparse vectors."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llama_index.vector_stores.milvus.utils import BaseSparseEmbeddingFunction  # type: ignore[import-untyped]

from flagvec.frameworks.one_pass import one_pass
from flagvec.m3_output import M3Output
from flagvec.store.vectors import LARGEST_TOKEN_ID, SMALLEST_WEIGHT
from flagvec_milvus.convert import NO_TOKEN

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

# Milvus refuses an empty sparse vector. Each of these has a token that no tokenizer has, and not the same one, so that
# neither changes a score and a query without weights finds nothing.
_NO_DOCUMENT_WEIGHTS = {NO_TOKEN: SMALLEST_WEIGHT}
_NO_QUERY_WEIGHTS = {LARGEST_TOKEN_ID: SMALLEST_WEIGHT}


class M3SparseEmbeddingFunction(BaseSparseEmbeddingFunction):  # type: ignore[misc]  # an untyped class
    """The ``sparse_embedding_function`` of a ``MilvusVectorStore``: the lexical weights of a BGE-M3 style model.

    Give the index a `FlagEmbedding` of the same model as ``embed_model``, and make this before the first node is
    embedded. A node is then encoded once if it has no metadata, or if all its keys are in
    ``excluded_embed_metadata_keys``. Any other node is encoded a second time, because the index embeds text and
    metadata together and this store asks for the weights of the text alone.

    Args:
        model: A loaded `BGEM3FlagModel`.

    Raises:
        ValueError: The model gives no lexical weights.
    """

    def __init__(self, model: AbsEmbedder) -> None:
        self._one_pass = one_pass(model)
        self._one_pass.serve("sparse")

    def encode_queries(self, queries: list[str]) -> list[dict[int, float]]:
        """Return the weights of each query by token id, never empty."""
        return _never_empty(self._one_pass.queries(queries), _NO_QUERY_WEIGHTS)

    async def async_encode_queries(self, queries: list[str]) -> list[dict[int, float]]:
        """Do as `encode_queries` does."""
        return await asyncio.to_thread(self.encode_queries, queries)

    def encode_documents(self, documents: list[str]) -> list[dict[int, float]]:
        """Return the weights of each document by token id, never empty."""
        return _never_empty(self._one_pass.documents(documents), _NO_DOCUMENT_WEIGHTS)

    async def async_encode_documents(self, documents: list[str]) -> list[dict[int, float]]:
        """Do as `encode_documents` does."""
        return await asyncio.to_thread(self.encode_documents, documents)


def _never_empty(output: M3Output, instead: dict[int, float]) -> list[dict[int, float]]:
    return [weights or dict(instead) for weights in output["lexical_weights"]]
