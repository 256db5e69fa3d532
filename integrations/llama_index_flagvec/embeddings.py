"""`FlagEmbedding`: a model's dense vectors for LlamaIndex; `DeferredEmbedding`: none, because the store encodes."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import ConfigDict, Field

from flagvec.m3_output import M3Output
from llama_index_flagvec.views import LARGEST_BATCH, EmbeddingView


class FlagEmbedding(EmbeddingView, BaseEmbedding):
    """A model's dense vectors, for LlamaIndex's indices and vector stores.

    The model adds its own instructions for queries and for documents. If `M3SparseEmbedding`, `sparse_doc_fn` or
    `M3SparseEmbeddingFunction` get this one's attribute ``model``, each text is encoded once for both. The async
    methods run in a worker thread; the model takes one call at a time.

    ``to_dict`` and a pickle hold the model's arguments, without weights and access token. Reading them loads the
    checkpoint again. A deep copy shares the model.

    Args:
        model: A `FlagModel` or `BGEM3FlagModel`, the name or directory of a model, or the dict that ``to_dict`` gives
            for it.
        embed_batch_size: The most texts that LlamaIndex passes at once, 1 to 2,048; None for the model's own
            ``batch_size``.
        options: LlamaIndex's own fields ``callback_manager``, ``num_workers``, ``embeddings_cache`` and
            ``rate_limiter``. A cache does not tell queries from documents, so use it only with a model that has no
            instructions.

    Raises:
        TypeError: ``model`` is something else.
        ValueError: An option is unknown or out of range.
        FlagvecError: There is no such model, or its checkpoint cannot be used.

    Example:
        >>> embedding = FlagEmbedding("bge-m3")
        >>> len(embedding.get_query_embedding("How is rice cooked?"))
        1024
    """

    model_config = ConfigDict(extra="forbid")

    part = "dense"
    # LlamaIndex serialises its cache, which may be a database.
    embeddings_cache: Any | None = Field(default=None, exclude=True, description="Keeps embeddings by text.")

    @classmethod
    def class_name(cls) -> str:
        """Return the class's name in serialised data."""
        return "FlagEmbedding"

    def _vectors(self, output: M3Output) -> list[list[float]]:
        rows: list[list[float]] = output["dense_vecs"].tolist()
        return rows


class DeferredEmbedding(BaseEmbedding):
    """An embedding model that encodes nothing, because a `FlagVectorStore` encodes texts itself.

    ``VectorStoreIndex`` and ``IngestionPipeline`` embed every node before they pass it to the store. This model gives
    them an empty vector at no cost.

    Raises:
        ValueError: A query is to be embedded, which a `FlagVectorStore` never asks for; or an option is unknown.

    Example:
        >>> DeferredEmbedding().get_text_embedding("Rice is cooked in water.")
        []
    """

    model_config = ConfigDict(extra="forbid")

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"model_name": "deferred", "embed_batch_size": LARGEST_BATCH, **options})

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        return []

    @classmethod
    def class_name(cls) -> str:
        """Return the class's name in serialised data."""
        return "DeferredEmbedding"

    def _get_text_embedding(self, text: str) -> list[float]:
        return []

    def _get_query_embedding(self, query: str) -> list[float]:
        raise ValueError(
            "DeferredEmbedding encodes no queries, because a FlagVectorStore does: use FlagEmbedding(model) with other "
            "stores"
        )

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)
