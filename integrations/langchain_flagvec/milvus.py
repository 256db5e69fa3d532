"""`MilvusSparseEmbeddings`: a model's lexical weights, for langchain-milvus."""

from __future__ import annotations

from langchain_milvus.utils.sparse import BaseSparseEmbedding

from flagvec.store.encoding import LARGEST_TOKEN_ID, SMALLEST_WEIGHT
from flagvec_milvus.convert import NO_TOKEN
from langchain_flagvec.views import SparseView

# Milvus takes no vector without a weight. These are of tokens that no tokenizer has, and not of the same one: neither
# counts in any score, and a query without weights finds nothing.
_NO_DOCUMENT_WEIGHTS = {NO_TOKEN: SMALLEST_WEIGHT}
_NO_QUERY_WEIGHTS = {LARGEST_TOKEN_ID: SMALLEST_WEIGHT}


class MilvusSparseEmbeddings(SparseView, BaseSparseEmbedding):
    """A model's lexical weights as Milvus's sparse vectors: weights by token id.

    The ``a`` methods do the same in a worker thread. With `FlagEmbeddings` of the same model at its side, a text goes
    through the model once for both. By default ``langchain_milvus.Milvus`` leaves out each text's smallest weights
    (``drop_ratio_build``), which Milvus Lite refuses; the example says how it keeps them all.

    Args:
        model: A loaded `BGEM3FlagModel`.
        batch_size: The most texts that go through the model at once; the model's own ``batch_size`` if None.
        show_progress: Show a progress bar while documents are encoded.

    Raises:
        TypeError: The model is none.
        ValueError: The model gives no lexical weights, or a ``batch_size`` below 1.

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
        """Return the weights of each document by token id; where no token has any, one that counts nowhere.

        Args:
            texts: Documents; an empty list gives an empty one.

        Raises:
            TypeError: A bare str, or an item that is no str; names its position.
            ValueError: A weight that is not finite; names the text by its position.
        """
        return [dict(weights or _NO_DOCUMENT_WEIGHTS) for weights in self._document_weights(texts)]

    def embed_query(self, query: str) -> dict[int, float]:
        """Return the weights of a query, as `embed_documents` returns those of documents.

        Raises:
            TypeError: The query is no str.
            ValueError: A weight that is not finite.
        """
        return dict(self._query_weights(query) or _NO_QUERY_WEIGHTS)
