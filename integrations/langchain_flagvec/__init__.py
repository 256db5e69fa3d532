"""flagvec in LangChain: embeddings for its vector stores, and its own vector store, retriever and reranker."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_flagvec.elasticsearch import (
        AsyncElasticsearchStrategy,
        ElasticsearchEmbeddings,
        ElasticsearchStrategy,
    )
    from langchain_flagvec.embeddings import FlagEmbeddings
    from langchain_flagvec.milvus import MilvusSparseEmbeddings
    from langchain_flagvec.reranker import ColbertReranker
    from langchain_flagvec.retriever import FlagRetriever
    from langchain_flagvec.sparse import M3SparseEmbeddings
    from langchain_flagvec.translator import FlagTranslator
    from langchain_flagvec.vector_store import FlagVectorStore

__all__ = [
    "AsyncElasticsearchStrategy",
    "ColbertReranker",
    "ElasticsearchEmbeddings",
    "ElasticsearchStrategy",
    "FlagEmbeddings",
    "FlagRetriever",
    "FlagTranslator",
    "FlagVectorStore",
    "M3SparseEmbeddings",
    "MilvusSparseEmbeddings",
]

# Each name is imported when it is first used, because each needs other packages.
_MODULES = {
    "AsyncElasticsearchStrategy": "langchain_flagvec.elasticsearch",
    "ColbertReranker": "langchain_flagvec.reranker",
    "ElasticsearchEmbeddings": "langchain_flagvec.elasticsearch",
    "ElasticsearchStrategy": "langchain_flagvec.elasticsearch",
    "FlagEmbeddings": "langchain_flagvec.embeddings",
    "FlagRetriever": "langchain_flagvec.retriever",
    "FlagTranslator": "langchain_flagvec.translator",
    "FlagVectorStore": "langchain_flagvec.vector_store",
    "M3SparseEmbeddings": "langchain_flagvec.sparse",
    "MilvusSparseEmbeddings": "langchain_flagvec.milvus",
}

# What to install if a package is missing.
_INSTALL = {
    "langchain_core": "'flagvec[langchain]'",
    "langchain_milvus": "langchain-milvus",
    "langchain_qdrant": "langchain-qdrant",
    "elasticsearch": "langchain-elasticsearch",
    "orjson": "'flagvec[elasticsearch]'",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'langchain_flagvec' has no attribute {name!r}")
    try:
        module = import_module(_MODULES[name])
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _INSTALL:
            raise
        raise ImportError(
            f"{name} needs the package {package}: pip install {_INSTALL[package]}", name=package
        ) from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
