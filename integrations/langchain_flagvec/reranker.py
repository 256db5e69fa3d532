"""`ColbertReranker`: orders documents of any retriever by ColBERT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict, field_validator

from flagvec.frameworks.rerank import best_by_colbert
from flagvec.search.options import whole_number


class ColbertReranker(BaseDocumentCompressor):
    """Orders documents, whatever found them, by the ColBERT score of a BGE-M3 style model, and keeps the best.

    The score is the mean over the query's tokens of the best match among the document's, between -1 and 1. The
    documents of a call go through the model together, and nothing is stored: where a flagvec store holds ColBERT
    vectors, its own ``rerank="colbert"`` gives the same order without encoding documents again.

    It goes where LangChain takes a document compressor, like ``ContextualCompressionRetriever``. Its
    ``acompress_documents`` works in a thread; the model is never called from two at once. A reranker is pickled as the
    arguments that its model was made with, without weights and token; a deep copy shares the model.

    Args:
        model: A model that gives ColBERT vectors.
        top_n: How many documents to keep; None keeps all.

    Raises:
        ValueError: A model without ColBERT vectors, a ``top_n`` below 1, or an unknown argument; pydantic's
            ``ValidationError`` is one.

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

    @field_validator("model")
    @classmethod
    def _check_model(cls, model: Any) -> Any:
        if "colbert" not in getattr(model, "representations", ()):
            raise ValueError(
                f"model={model!r:.80} gives no ColBERT vectors: give a loaded BGEM3FlagModel, of a checkpoint with "
                "colbert_linear.pt"
            )
        return model

    @field_validator("top_n")
    @classmethod
    def _check_top_n(cls, top_n: int | None) -> int | None:
        return None if top_n is None else whole_number("top_n", top_n, at_least=1)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return copies of the best documents, best first, of equal scores the one that came first.

        Args:
            documents: Any documents; none gives none. They stay as they are.
            query: Any text; it gets the model's query instruction.
            callbacks: Not used.

        Returns:
            The documents, with the score in their metadata as ``relevance_score``.

        Raises:
            TypeError: The query is no ``str``.
            ValueError: A vector that is not finite or not of length 1; names the document by its position.
        """
        if not isinstance(query, str):
            raise TypeError(f"query takes a str, not {type(query).__name__}")
        texts = [document.page_content for document in documents]
        names = [f"documents[{position}]" for position in range(len(documents))]
        best = best_by_colbert(self.model, query, texts, names, self.top_n)
        return [_with_score(documents[position], score) for position, score in best]


def _with_score(document: Document, score: float) -> Document:
    return document.model_copy(update={"metadata": {**document.metadata, "relevance_score": score}})
