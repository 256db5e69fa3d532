"""`FlagEmbeddings`: a model's dense vectors, for every vector store of LangChain."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.embeddings import Embeddings

from langchain_flagvec.views import ModelView

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder


class FlagEmbeddings(ModelView, Embeddings):
    """A model's dense vectors: documents and queries each with the model's own instruction.

    The ``a`` methods do the same in a worker thread. With `M3SparseEmbeddings` or `MilvusSparseEmbeddings` of the same
    model at its side, a text goes through the model once for both.

    Args:
        model: A loaded `FlagModel` or `BGEM3FlagModel`; or what `FlagAutoModel` loads one from, a name or a directory.
        model_kwargs: Further arguments of `FlagAutoModel.from_finetuned`, like ``{"use_fp16": False}``, for a model
            that is loaded here.
        batch_size: The most texts that go through the model at once; the model's own ``batch_size`` if None.
        show_progress: Show a progress bar while documents are encoded.

    Raises:
        TypeError: The model is neither a model nor a name, or ``model_kwargs`` has an unknown argument.
        ValueError: ``model_kwargs`` beside a loaded model, a ``batch_size`` below 1, or what loading raises.

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
        super().__init__(_loaded(model, model_kwargs), batch_size=batch_size, show_progress=show_progress)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a vector for each document, ``dimension`` Python floats, of length 1 unless the model says otherwise.

        Args:
            texts: Documents; an empty list gives an empty one.

        Raises:
            TypeError: A bare str, or an item that is no str; names its position.
        """
        vectors: list[list[float]] = self._documents(texts)["dense_vecs"].tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query, as `embed_documents` returns those of documents.

        Raises:
            TypeError: The query is no str.
        """
        vector: list[float] = self._query(text)["dense_vecs"][0].tolist()
        return vector


def _loaded(model: AbsEmbedder | str | os.PathLike[str], model_kwargs: Mapping[str, Any] | None) -> AbsEmbedder:
    if isinstance(model, (str, os.PathLike)):
        # It stands on torch, which takes seconds to import.
        from flagvec.auto_model import FlagAutoModel

        return FlagAutoModel.from_finetuned(os.fspath(model), **(model_kwargs or {}))
    if model_kwargs:
        raise ValueError(
            f"model_kwargs={dict(model_kwargs)!r:.80} is for a model that is loaded by its name; this one is loaded: "
            "give them to the model"
        )
    return model
