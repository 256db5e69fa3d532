"""`ColbertReranker`: orders the documents of any retriever by ColBERT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict, field_validator

from flagvec.frameworks.models import loaded_model
from flagvec.frameworks.rerank import best_by_colbert
from flagvec.search.options import whole_number


class ColbertReranker(BaseDocumentCompressor):
    """Orders documents by the score of a BGE-M3 style or ColBERT model, and keeps the best.

    It is a document compressor, for example for ``ContextualCompressionRetriever``. The score is the mean over the
    query's tokens of the best match among the document's tokens, between -1 and 1. The documents of a call are encoded
    in one pass. If a flagvec store holds ColBERT vectors, its own ``rerank="colbert"`` gives the same order without
    encoding documents again.

    ``acompress_documents`` runs in a worker thread; the model takes one call at a time. A pickled reranker holds the
    model's arguments, without weights and token; a deep copy shares the model.

    Args:
        model: A `BGEM3FlagModel` or `ColbertFlagModel`, or the name or directory of a model that gives ColBERT vectors.
        top_n: How many documents to keep; None keeps all.

    Raises:
        TypeError: ``model`` is neither a model nor a name.
        ValueError: The model cannot be loaded or gives no ColBERT vectors, ``top_n`` is below 1, or an argument is
            unknown. pydantic's ``ValidationError`` is a ``ValueError``.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> reranker = ColbertReranker(model=BGEM3FlagModel("bge-m3"), top_n=1)
        >>> documents = [Document("Bread is baked in an oven."), Document("Rice is cooked in water.")]
        >>> [best] = reranker.compress_documents(documents, "Rice is cooked in water.")
        >>> best.page_content, round(best.metadata["relevance_score"], 2)
        ('Rice is cooked in water.', 1.0)
    """

    model_config = ConfigDict(extra="forbid")

    model: Any
    top_n: int | None = 3

    def __repr_args__(self) -> list[tuple[str, Any]]:
        return [("model", getattr(self.model, "model_name_or_path", self.model)), ("top_n", self.top_n)]

    @field_validator("model")
    @classmethod
    def _with_colbert(cls, model: Any) -> Any:
        model = loaded_model(model)
        if "colbert" not in model.representations:
            raise ValueError(
                f"the model {model.model_name_or_path!r} gives no ColBERT vectors: choose a BGE-M3 style one, whose "
                "directory has colbert_linear.pt, or a ColBERT model"
            )
        return model

    @field_validator("top_n")
    @classmethod
    def _at_least_one(cls, top_n: int | None) -> int | None:
        return None if top_n is None else whole_number("top_n", top_n, at_least=1)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return copies of the best documents, best first, equal scores in the order of the documents.

        Args:
            documents: Any documents.
            query: Any text; it gets the model's query instruction.
            callbacks: Ignored; nothing here makes events.

        Returns:
            The documents, with the score in their metadata as ``relevance_score``.

        Raises:
            TypeError: The query is not a ``str``.
            ValueError: A vector is not finite or not of length 1; names the document by its position.
        """
        if not isinstance(query, str):
            raise TypeError(f"query takes a str, not {type(query).__name__}")
        texts = [document.page_content for document in documents]
        names = [f"documents[{position}]" for position in range(len(documents))]
        best = best_by_colbert(self.model, query, texts, names, self.top_n)
        return [_with_score(documents[position], score) for position, score in best]


def _with_score(document: Document, score: float) -> Document:
    return document.model_copy(update={"metadata": {**document.metadata, "relevance_score": score}})
