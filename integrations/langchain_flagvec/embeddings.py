"""`FlagEmbeddings`: a model's dense vectors, for every vector store of LangChain."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.embeddings import Embeddings

from flagvec.frameworks.models import loaded_model
from langchain_flagvec.views import ModelView

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder


class FlagEmbeddings(ModelView, Embeddings):
    """A model's dense vectors, with the model's own instructions for documents and for queries.

    If `M3SparseEmbeddings` or `MilvusSparseEmbeddings` use the same model, each text is encoded once for both. The
    ``a`` methods do the same in a worker thread.

    Args:
        model: A `FlagModel` or `BGEM3FlagModel`, or the name or directory of a model.
        model_kwargs: Further arguments of `FlagAutoModel.from_finetuned`, like ``{"use_fp16": False}``, for a model
            given by name or directory.
        batch_size: The most texts that the model encodes at once; None for the model's own ``batch_size``.
        show_progress: Show a progress bar while documents are encoded.

    Raises:
        TypeError: ``model`` is neither a model nor a name, or ``model_kwargs`` has an unknown argument.
        ValueError: ``model_kwargs`` beside a loaded model, a ``batch_size`` below 1, or the model cannot be loaded.

    Example:
        >>> from flagvec import FlagModel
        >>> embeddings = FlagEmbeddings(FlagModel("bge-small-en-v1.5"))
        >>> len(embeddings.embed_query("how do I make a loaf?"))
        384
        >>> [len(vector) for vector in embeddings.embed_documents(["Bread is baked.", "Rice is cooked."])]
        [384, 384]
    """

    parts = ("dense",)

    def __init__(
        self,
        model: AbsEmbedder | str | os.PathLike[str],
        *,
        model_kwargs: Mapping[str, Any] | None = None,
        batch_size: int | None = None,
        show_progress: bool = False,
    ) -> None:
        super().__init__(loaded_model(model, model_kwargs), batch_size=batch_size, show_progress=show_progress)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector for each document: ``dimension`` floats, of length 1 if the model normalises.

        Raises:
            TypeError: A single str, or an item that is not a str; names its position.
        """
        vectors: list[list[float]] = self._documents(texts)["dense_vecs"].tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query, with the form and the errors of `embed_documents`."""
        vector: list[float] = self._query(text)["dense_vecs"][0].tolist()
        return vector
