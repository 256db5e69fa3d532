"""`M3SparseEmbedding`: a model's lexical weights as LlamaIndex's sparse embedding."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from llama_index.core.base.embeddings.base_sparse import BaseSparseEmbedding
from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr

from flagvec.embedder import AbsEmbedder
from flagvec.frameworks.one_pass import OnePass, one_pass
from llama_index_flagvec.described_model import DescribedModel, MadeAgain, as_model
from llama_index_flagvec.embedding import LARGEST_BATCH


class M3SparseEmbedding(MadeAgain, BaseSparseEmbedding):
    """The lexical weights of a BGE-M3 style model, by token id.

    A text without weights has an empty one. LlamaIndex's own stores do not take this class, each asks for another form:
    `sparse_doc_fn` and `sparse_query_fn` are for its ``QdrantVectorStore``, `M3SparseEmbeddingFunction` for its
    ``MilvusVectorStore``. All share one pass with a `FlagEmbedding` of the same model, and are serialised as that one.

    Args:
        model: A flagvec model with a sparse head; or the description of one that ``model_dump`` gives.
        embed_batch_size: How many texts LlamaIndex hands over at once, 2,048 at most; the model's own batch size if
            None.
        options: LlamaIndex's own fields: ``num_workers``.

    Raises:
        TypeError: Something else than a model.
        ValueError: A model without lexical weights; an unknown option, or one out of range.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> weights = M3SparseEmbedding(BGEM3FlagModel("bge-m3")).get_text_embedding("Rice is cooked in water.")
        >>> {type(token) for token in weights}, {type(weight) for weight in weights.values()}
        ({<class 'int'>}, {<class 'float'>})
    """

    model_config = ConfigDict(extra="forbid")

    model: DescribedModel = Field(frozen=True, description="The model that encodes.")
    _one_pass: OnePass = PrivateAttr()

    def __init__(
        self, model: AbsEmbedder | Mapping[str, Any], *, embed_batch_size: int | None = None, **options: Any
    ) -> None:
        loaded = as_model(model)
        options.setdefault("model_name", loaded.model_name_or_path)
        # LlamaIndex writes it and has no `from_dict` here that would take it out again.
        options.pop("class_name", None)
        size = min(loaded.batch_size, LARGEST_BATCH) if embed_batch_size is None else embed_batch_size
        super().__init__(**{"model": loaded, "embed_batch_size": size, **options})
        self._one_pass = one_pass(loaded)
        self._one_pass.serve("sparse")

    @classmethod
    def class_name(cls) -> str:
        """Return the name that a serialised one carries."""
        return "M3SparseEmbedding"

    def _get_query_embedding(self, query: str) -> dict[int, float]:
        weights: dict[int, float] = self._one_pass.queries([query])["lexical_weights"][0]
        return weights

    async def _aget_query_embedding(self, query: str) -> dict[int, float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> dict[int, float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> dict[int, float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    def _get_text_embeddings(self, texts: list[str]) -> list[dict[int, float]]:
        weights: list[dict[int, float]] = self._one_pass.documents(texts)["lexical_weights"]
        return weights

    async def _aget_text_embeddings(self, texts: list[str]) -> list[dict[int, float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)
