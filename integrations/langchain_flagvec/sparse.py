"""`M3SparseEmbeddings`: a model's lexical weights, for langchain-qdrant."""

from __future__ import annotations

from collections.abc import Mapping

from langchain_qdrant import SparseEmbeddings, SparseVector

from langchain_flagvec.views import SparseView


class M3SparseEmbeddings(SparseView, SparseEmbeddings):
    """A model's lexical weights as Qdrant's sparse vectors: token ids and their weights, in the order of the tokens.

    If `FlagEmbeddings` use the same model, each text is encoded once for both. The ``a`` methods do the same in a
    worker thread.

    Args:
        model: A loaded `BGEM3FlagModel`.
        batch_size: The most texts that the model encodes at once; None for the model's own ``batch_size``.
        show_progress: Show a progress bar while documents are encoded.

    Raises:
        TypeError: ``model`` is not a loaded model.
        ValueError: The model gives no lexical weights, or ``batch_size`` is below 1.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> from langchain_flagvec import FlagEmbeddings
        >>> from langchain_qdrant import QdrantVectorStore, RetrievalMode
        >>> model = BGEM3FlagModel("bge-m3")
        >>> store = QdrantVectorStore.from_texts(
        ...     ["Bread is baked in an oven.", "Rice is cooked in water."],
        ...     FlagEmbeddings(model),
        ...     sparse_embedding=M3SparseEmbeddings(model),
        ...     retrieval_mode=RetrievalMode.HYBRID,
        ...     location=":memory:",
        ... )
        >>> store.similarity_search("Bread is baked in an oven.", k=1)[0].page_content
        'Bread is baked in an oven.'
    """

    def embed_documents(self, texts: list[str]) -> list[SparseVector]:
        """Return one sparse vector for each document, empty if no token has a weight.

        Raises:
            TypeError: A single str, or an item that is not a str; names its position.
            ValueError: A weight is not finite; names the text by its position.
        """
        return [_vector(weights) for weights in self._document_weights(texts)]

    def embed_query(self, text: str) -> SparseVector:
        """Return the sparse vector of a query, with the form and the errors of `embed_documents`."""
        return _vector(self._query_weights(text))


def _vector(weights: Mapping[int, float]) -> SparseVector:
    return SparseVector(indices=list(weights), values=list(weights.values()))
