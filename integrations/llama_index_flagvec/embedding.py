"""`FlagEmbedding`: a flagvec model as LlamaIndex's embedding model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr

from flagvec.embedder import AbsEmbedder
from flagvec.frameworks.one_pass import OnePass, one_pass
from llama_index_flagvec.described_model import DescribedModel, MadeAgain, as_model

# The most that LlamaIndex takes.
LARGEST_BATCH = 2048


class FlagEmbedding(MadeAgain, BaseEmbedding):
    """The dense vectors of a model, for LlamaIndex's indices and vector stores.

    Queries and documents each get the instruction that the model has for them. While a sparse embedding of the same
    model is in use, `M3SparseEmbedding`, `sparse_doc_fn` or `M3SparseEmbeddingFunction`, the two share what one pass
    gave, so that a text is encoded once for both. What awaits embeddings waits for a worker thread; the model works for
    one caller at a time.

    It is serialised and pickled as what the model was made with, without weights or access token; what reads it loads
    the checkpoint again. A deep copy shares the model.

    Args:
        model: Any flagvec model; or the description of one that `to_dict` gives.
        embed_batch_size: How many texts LlamaIndex hands over at once, 2,048 at most; the model's own batch size if
            None.
        options: LlamaIndex's own fields: ``callback_manager``, ``num_workers``, ``embeddings_cache``, ``rate_limiter``.
            A cache does not tell queries from documents: give it only to a model that has no instructions.

    Raises:
        TypeError: Something else than a model.
        ValueError: An unknown option, or one out of range.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> embedding = FlagEmbedding(BGEM3FlagModel("bge-m3"))
        >>> len(embedding.get_query_embedding("How is rice cooked?"))
        1024
    """

    model_config = ConfigDict(extra="forbid")

    model: DescribedModel = Field(frozen=True, description="The model that encodes.")
    embeddings_cache: Any | None = Field(default=None, exclude=True, description="Keeps embeddings by text.")
    _one_pass: OnePass = PrivateAttr()

    def __init__(
        self, model: AbsEmbedder | Mapping[str, Any], *, embed_batch_size: int | None = None, **options: Any
    ) -> None:
        loaded = as_model(model)
        options.setdefault("model_name", loaded.model_name_or_path)
        size = min(loaded.batch_size, LARGEST_BATCH) if embed_batch_size is None else embed_batch_size
        super().__init__(**{"model": loaded, "embed_batch_size": size, **options})
        self._one_pass = one_pass(loaded)
        self._one_pass.serve("dense")

    @classmethod
    def class_name(cls) -> str:
        """Return the name that a serialised one carries."""
        return "FlagEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._rows(self._one_pass.queries([query]))[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._rows(self._one_pass.documents(texts))

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)

    def _rows(self, output: Mapping[str, Any]) -> list[list[float]]:
        rows: list[list[float]] = output["dense_vecs"].tolist()
        return rows
