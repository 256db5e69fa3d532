"""flagvec in LlamaIndex: embeddings for its stores and indices, a vector store over any of ours, a ColBERT reranker."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llama_index_flagvec.deferred_embedding import DeferredEmbedding
    from llama_index_flagvec.embedding import FlagEmbedding
    from llama_index_flagvec.milvus import M3SparseEmbeddingFunction
    from llama_index_flagvec.qdrant import sparse_doc_fn, sparse_query_fn
    from llama_index_flagvec.rerank import ColbertRerank
    from llama_index_flagvec.sparse_embedding import M3SparseEmbedding
    from llama_index_flagvec.store import FlagVectorStore

__all__ = [
    "ColbertRerank",
    "DeferredEmbedding",
    "FlagEmbedding",
    "FlagVectorStore",
    "M3SparseEmbedding",
    "M3SparseEmbeddingFunction",
    "sparse_doc_fn",
    "sparse_query_fn",
]

_CORE = ("llama-index-core", "pip install 'flagvec[llama-index]'")
_MILVUS = ("llama-index-vector-stores-milvus", "pip install llama-index-vector-stores-milvus")

# LlamaIndex's store for Milvus cannot be installed beside ours, so each name is imported when it is first asked for:
# its module, and the package that this stands on with the line that installs it.
_MODULES = {
    "ColbertRerank": ("llama_index_flagvec.rerank", *_CORE),
    "DeferredEmbedding": ("llama_index_flagvec.deferred_embedding", *_CORE),
    "FlagEmbedding": ("llama_index_flagvec.embedding", *_CORE),
    "FlagVectorStore": ("llama_index_flagvec.store", *_CORE),
    "M3SparseEmbedding": ("llama_index_flagvec.sparse_embedding", *_CORE),
    "M3SparseEmbeddingFunction": ("llama_index_flagvec.milvus", *_MILVUS),
    "sparse_doc_fn": ("llama_index_flagvec.qdrant", *_CORE),
    "sparse_query_fn": ("llama_index_flagvec.qdrant", *_CORE),
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'llama_index_flagvec' has no attribute {name!r}")
    module, package, remedy = _MODULES[name]
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "llama_index":
            raise
        raise ImportError(f"{name} needs the package {package}: {remedy}", name=package) from error


def __dir__() -> list[str]:
    return sorted(__all__)
