"""`DeferredEmbedding`: what LlamaIndex is given where it asks for an embedding model and the store encodes."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import ConfigDict

from llama_index_flagvec.described_model import MadeAgain


class DeferredEmbedding(MadeAgain, BaseEmbedding):
    """An embedding model that leaves all encoding to a `FlagVectorStore`.

    ``VectorStoreIndex`` embeds every node before it hands it to the store, and ``IngestionPipeline`` hands over only
    nodes that were embedded. A `FlagVectorStore` encodes nodes itself, for dense vectors, lexical weights and ColBERT
    in one pass, and has no use for a vector that was made before. So this gives every text an empty vector, at no cost.

    Raises:
        ValueError: A query is to be embedded, which a `FlagVectorStore` never asks for; or an unknown option.

    Example:
        >>> DeferredEmbedding().get_text_embedding("Rice is cooked in water.")
        []
    """

    model_config = ConfigDict(extra="forbid")

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"model_name": "deferred", "embed_batch_size": 2048, **options})

    @classmethod
    def class_name(cls) -> str:
        """Return the name that a serialised one carries."""
        return "DeferredEmbedding"

    def _get_text_embedding(self, text: str) -> list[float]:
        return []

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return []

    def _get_query_embedding(self, query: str) -> list[float]:
        raise ValueError(
            "DeferredEmbedding embeds no queries, which a FlagVectorStore encodes itself: use it with a "
            "FlagVectorStore alone, and FlagEmbedding(model) for other stores"
        )

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)
