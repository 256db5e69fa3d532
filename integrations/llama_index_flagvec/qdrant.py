"""The functions that LlamaIndex's ``QdrantVectorStore`` takes for sparse vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from flagvec.frameworks.one_pass import one_pass
from flagvec.m3_output import M3Output

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

# The token ids of each text, then the weights of each text.
SparseVectors = tuple[list[list[int]], list[list[float]]]
SparseFunction = Callable[[list[str]], SparseVectors]


def sparse_doc_fn(model: AbsEmbedder) -> SparseFunction:
    """Return the ``sparse_doc_fn`` of a ``QdrantVectorStore``: the lexical weights of documents.

    The store embeds the same texts that its index embedded before, so that with a `FlagEmbedding` of the same model as
    the index's ``embed_model``, each node is encoded once. Make the store before the first node is embedded.

    Args:
        model: A flagvec model with a sparse head.

    Raises:
        ValueError: The model gives no lexical weights.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> token_ids, weights = sparse_doc_fn(BGEM3FlagModel("bge-m3"))(["Rice is cooked in water."])
        >>> len(token_ids[0]) == len(weights[0])
        True
    """
    shared = one_pass(model)
    shared.serve("sparse")
    return lambda texts: _sparse_vectors(shared.documents(texts))


def sparse_query_fn(model: AbsEmbedder) -> SparseFunction:
    """Return the ``sparse_query_fn`` of a ``QdrantVectorStore``: the lexical weights of queries.

    The rest is as in `sparse_doc_fn`.
    """
    shared = one_pass(model)
    shared.serve("sparse")
    return lambda texts: _sparse_vectors(shared.queries(texts))


def _sparse_vectors(output: M3Output) -> SparseVectors:
    weights: Sequence[dict[int, float]] = output["lexical_weights"]
    return [list(one) for one in weights], [list(one.values()) for one in weights]
