"""`MilvusSparseEmbeddings`: a model's lexical weights, for langchain-milvus."""

from __future__ import annotations

from langchain_milvus.utils.sparse import BaseSparseEmbedding

from flagvec.store.vectors import LARGEST_TOKEN_ID, SMALLEST_WEIGHT
from flagvec_milvus.convert import NO_TOKEN
from langchain_flagvec.views import SparseView

# Milvus refuses an empty sparse vector. Each of these has a token that no tokenizer has, and not the same one, so that
# neither changes a score and a query without weights finds nothing.
_NO_DOCUMENT_WEIGHTS = {NO_TOKEN: SMALLEST_WEIGHT}
_NO_QUERY_WEIGHTS = {LARGEST_TOKEN_ID: SMALLEST_WEIGHT}


class MilvusSparseEmbeddings(SparseView, BaseSparseEmbedding):
    """A model's lexical weights as Milvus's sparse vectors: weights by token id.

    If `FlagEmbeddings` use the same model, each text is encoded once for both. The ``a`` methods do the same in a
    worker thread. ``langchain_milvus.Milvus`` leaves out each text's smallest weights by default
    (``drop_ratio_build``), which Milvus Lite refuses. The example shows how to keep them all.

    Args:
        model: A loaded `BGEM3FlagModel`.
        batch_size: The most texts that the model encodes at once; None for the model's own ``batch_size``.
        show_progress: Show a progress bar while documents are encoded; None shows one after two seconds in a terminal
            or notebook.

    Raises:
        TypeError: ``model`` is not a loaded model.
        ValueError: The model gives no lexical weights, or ``batch_size`` is below 1.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> from langchain_flagvec import FlagEmbeddings
        >>> from langchain_milvus import Milvus
        >>> from pymilvus import Function, FunctionType
        >>> model = BGEM3FlagModel("bge-m3")
        >>> store = Milvus(
        ...     [FlagEmbeddings(model), MilvusSparseEmbeddings(model)],
        ...     vector_field=["dense", "sparse"],
        ...     index_params=[
        ...         {"index_type": "FLAT", "metric_type": "IP"},
        ...         {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "IP"},
        ...     ],
        ...     search_params=[{"metric_type": "IP"}, {"metric_type": "IP"}],
        ...     connection_args={"uri": "langchain.db"},
        ...     auto_id=True,
        ... )
        >>> ids = store.add_texts(["Bread is baked in an oven.", "Rice is cooked in water."])
        >>> fusion = {"reranker": "rrf", "k": 60}
        >>> rrf = Function(name="rrf", input_field_names=[], function_type=FunctionType.RERANK, params=fusion)
        >>> store.similarity_search("Bread is baked in an oven.", k=1, fetch_k=100, reranker=rrf)[0].page_content
        'Bread is baked in an oven.'
    """

    def embed_documents(self, texts: list[str]) -> list[dict[int, float]]:
        """Return the weights of each document by token id.

        A document without weights gets one that changes no score, because Milvus refuses an empty vector.

        Raises:
            TypeError: A single str, or an item that is not a str; names its position.
            ValueError: A weight is not finite; names the text by its position.
        """
        return [dict(weights or _NO_DOCUMENT_WEIGHTS) for weights in self._document_weights(texts)]

    def embed_query(self, query: str) -> dict[int, float]:
        """Return the weights of a query, with the form and the errors of `embed_documents`."""
        return dict(self._query_weights(query) or _NO_QUERY_WEIGHTS)
