"""A model's lexical weights for LlamaIndex: `M3SparseEmbedding`, and the functions for its ``QdrantVectorStore``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from llama_index.core.base.embeddings.base_sparse import BaseSparseEmbedding
from llama_index.core.bridge.pydantic import ConfigDict

from flagvec.embedder import AbsEmbedder
from flagvec.frameworks.one_pass import one_pass
from flagvec.m3_output import M3Output
from llama_index_flagvec.views import EmbeddingView, ModelLike

# It returns the token ids of each text, and then the weights of each text.
SparseFunction = Callable[[list[str]], tuple[list[list[int]], list[list[float]]]]


class M3SparseEmbedding(EmbeddingView, BaseSparseEmbedding):
    """The lexical weights of a BGE-M3 style model, by token id; empty for a text in which no token has a weight.

    LlamaIndex's own stores do not take this class, because each asks for another form. `sparse_doc_fn` and
    `sparse_query_fn` are for its ``QdrantVectorStore``, and `M3SparseEmbeddingFunction` for its ``MilvusVectorStore``.

    Pass the attribute ``model`` of a `FlagEmbedding`, and each text is encoded once for both. Serialising, pickling,
    copying and awaiting work as in that class.

    Args:
        model: A `BGEM3FlagModel`, the name or directory of a model, or the dict that ``model_dump`` gives for it.
        embed_batch_size: As in `FlagEmbedding`.
        options: LlamaIndex's own field ``num_workers``.

    Raises:
        TypeError: ``model`` is something else.
        ValueError: The model gives no lexical weights, or an option is unknown or out of range.
        FlagvecError: There is no such model, or its checkpoint cannot be used.

    Example:
        >>> weights = M3SparseEmbedding("bge-m3").get_text_embedding("Rice is cooked in water.")
        >>> {type(token) for token in weights}, {type(weight) for weight in weights.values()}
        ({<class 'int'>}, {<class 'float'>})
    """

    model_config = ConfigDict(extra="forbid")

    part = "sparse"

    def __init__(self, model: ModelLike, *, embed_batch_size: int | None = None, **options: Any) -> None:
        # `model_dump` writes it, and a sparse embedding has no `from_dict` that removes it.
        options.pop("class_name", None)
        super().__init__(model, embed_batch_size=embed_batch_size, **options)

    @classmethod
    def class_name(cls) -> str:
        """Return the class's name in serialised data."""
        return "M3SparseEmbedding"

    def _vectors(self, output: M3Output) -> list[dict[int, float]]:
        weights: list[dict[int, float]] = output["lexical_weights"]
        return weights


def sparse_doc_fn(model: AbsEmbedder) -> SparseFunction:
    """Return the ``sparse_doc_fn`` of a ``QdrantVectorStore``: the lexical weights of documents.

    Give the index a `FlagEmbedding` of the same model as ``embed_model``, and each node is encoded once. Make the
    store before the first node is embedded, because otherwise the first nodes are encoded twice.

    Args:
        model: A loaded `BGEM3FlagModel`.

    Raises:
        ValueError: The model gives no lexical weights.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> token_ids, weights = sparse_doc_fn(BGEM3FlagModel("bge-m3"))(["Rice is cooked in water."])
        >>> len(token_ids[0]) == len(weights[0])
        True
    """
    return _sparse_function(model, "documents")


def sparse_query_fn(model: AbsEmbedder) -> SparseFunction:
    """Return the ``sparse_query_fn``: as `sparse_doc_fn`, for queries."""
    return _sparse_function(model, "queries")


def _sparse_function(model: AbsEmbedder, role: Literal["documents", "queries"]) -> SparseFunction:
    shared = one_pass(model)
    shared.serve("sparse")

    def sparse_vectors(texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
        output = shared.documents(texts) if role == "documents" else shared.queries(texts)
        weights: list[dict[int, float]] = output["lexical_weights"]
        return [list(one) for one in weights], [list(one.values()) for one in weights]

    return sparse_vectors
