"""langchain-qdrant as a subject of a comparison."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from langchain_core.embeddings import Embeddings
from langchain_qdrant import QdrantVectorStore, RetrievalMode, SparseEmbeddings, SparseVector
from qdrant_client import QdrantClient

from comparison import LIMIT
from flagvec import Document
from ready_model import ReadyModel

_MODES = {"dense": RetrievalMode.DENSE, "sparse": RetrievalMode.SPARSE}


class LangChain:
    """`langchain_qdrant.QdrantVectorStore` of dense vectors and lexical weights, with its default options.

    Args:
        model: Gives the ready outputs.
        client: Any client.
        collection: A collection with the vectors ``dense`` and ``sparse``.
    """

    def __init__(self, model: ReadyModel, client: QdrantClient, collection: str) -> None:
        self.store = QdrantVectorStore(
            client,
            collection,
            embedding=_Dense(model),
            sparse_embedding=_Sparse(model),
            retrieval_mode=RetrievalMode.HYBRID,
            vector_name="dense",
            sparse_vector_name="sparse",
            content_payload_key="text",
            # The check would embed a text that `ReadyModel` does not have.
            validate_collection_config=False,
        )

    @property
    def collection(self) -> str:
        """The collection that it writes and searches."""
        return self.store.collection_name

    @collection.setter
    def collection(self, name: str) -> None:
        self.store.collection_name = name

    def write(self, documents: Sequence[Document]) -> None:
        """Add texts and wait for each batch."""
        self.store.add_texts(
            [document.text for document in documents],
            [dict(document.metadata) for document in documents],
            ids=[str(uuid.uuid5(uuid.NAMESPACE_OID, document.id)) for document in documents],
        )

    def search(self, query: str, mode: str) -> list[str]:
        """Search; a hit has the document's number and no id."""
        self.store.retrieval_mode = _MODES[mode]
        return [f"document-{found.metadata['number']}" for found in self.store.similarity_search(query, LIMIT)]


class _Dense(Embeddings):
    def __init__(self, model: ReadyModel) -> None:
        self.model = model

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self.model.encode_corpus(texts, return_sparse=False)["dense_vecs"].tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


class _Sparse(SparseEmbeddings):
    def __init__(self, model: ReadyModel) -> None:
        self.model = model

    def embed_documents(self, texts: list[str]) -> list[SparseVector]:
        weights = self.model.encode_corpus(texts, return_dense=False)["lexical_weights"]
        return [SparseVector(indices=list(one), values=list(one.values())) for one in weights]

    def embed_query(self, text: str) -> SparseVector:
        return self.embed_documents([text])[0]
