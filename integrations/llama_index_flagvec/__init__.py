"""flagvec in LlamaIndex: embeddings for its vector stores, and its own vector store and reranker."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llama_index_flagvec.embeddings import DeferredEmbedding, FlagEmbedding
    from llama_index_flagvec.milvus import M3SparseEmbeddingFunction
    from llama_index_flagvec.reranker import ColbertRerank
    from llama_index_flagvec.sparse import M3SparseEmbedding, sparse_doc_fn, sparse_query_fn
    from llama_index_flagvec.vector_store import FlagVectorStore

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

# Each name is imported when it is first used, because LlamaIndex's store for Milvus may be missing.
_MODULES = {
    "ColbertRerank": "llama_index_flagvec.reranker",
    "DeferredEmbedding": "llama_index_flagvec.embeddings",
    "FlagEmbedding": "llama_index_flagvec.embeddings",
    "FlagVectorStore": "llama_index_flagvec.vector_store",
    "M3SparseEmbedding": "llama_index_flagvec.sparse",
    "M3SparseEmbeddingFunction": "llama_index_flagvec.milvus",
    "sparse_doc_fn": "llama_index_flagvec.sparse",
    "sparse_query_fn": "llama_index_flagvec.sparse",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'llama_index_flagvec' has no attribute {name!r}")
    try:
        return getattr(import_module(_MODULES[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "llama_index":
            raise
        package, remedy = "llama-index-core", "'flagvec[llama-index]'"
        if name == "M3SparseEmbeddingFunction":
            package = remedy = "llama-index-vector-stores-milvus"
        raise ImportError(f"{name} needs the package {package}: pip install {remedy}", name=package) from error


def __dir__() -> list[str]:
    return sorted(__all__)
