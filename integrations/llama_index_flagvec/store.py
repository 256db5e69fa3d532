"""`FlagVectorStore`: any of flagvec's stores as LlamaIndex's vector store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from flagvec.filters.portable import Any_, Not
from flagvec.ingest.report import WriteReport
from flagvec.search.options import Fusion, Mode, Rerank, SearchOptions
from flagvec.store.base import HybridStore
from flagvec.store.documents import Document, Hit
from llama_index_flagvec.deferred_embedding import DeferredEmbedding
from llama_index_flagvec.hits import hits_of
from llama_index_flagvec.nodes import DOCUMENT_ID, as_documents, to_node
from llama_index_flagvec.queries import Defaults, search_of
from llama_index_flagvec.selection import chosen, unwanted
from llama_index_flagvec.text_match import with_whole_values

_EVERYTHING = Not(Any_(()))


class FlagVectorStore(BasePydanticVectorStore):
    """LlamaIndex's nodes in any of flagvec's stores, found by hybrid search.

    The store encodes nodes and queries itself, once each, for all that it holds of them. So no index need embed
    anything: give it `embed_model`. Nodes come back as they were added, but for their embedding.

    The modes of a query are these searches, for ``similarity_top_k`` nodes unless said otherwise:

    - ``default``: that of `default_mode`.
    - ``hybrid``: dense and sparse, fused as `fusion` says; with ``alpha`` by ``Weighted(dense=alpha,
      sparse=1 - alpha)``, so that 1 is dense alone. Each leg finds as many candidates; ``sparse_top_k`` says how many.
      ``hybrid_top_k``, where given, is the number of nodes. Both hold for ``default`` where that is hybrid.
    - ``semantic_hybrid``: hybrid, then ordered by ColBERT.
    - ``sparse`` and ``text_search``: by lexical weights; ``sparse_top_k``, where given, is the number of nodes.
    - ``mmr``: dense, then chosen from by maximal marginal relevance, which encodes what it chooses from again.
    - ``svm``, ``linear_regression`` and ``logistic_regression`` are refused: no database gives all vectors out.

    A node's similarity is the score of `flagvec.store.documents.Hit`, and for ``mmr`` the marginal relevance. With
    ``"rrf"`` it is 0.033 at most, so that a ``similarity_cutoff`` wants another fusion, or dense search. Each query
    takes further options as ``vector_store_kwargs`` of a retriever: ``fusion``, ``rerank``, ``candidates`` and
    ``timeout`` as ``HybridStore.search`` does; in the mode ``mmr`` ``mmr_threshold`` (0.5), and ``mmr_prefetch_k`` or
    ``mmr_prefetch_factor`` (4), how many nodes are chosen from. What `HybridStore` and `portable_filter` refuse is
    refused here. A query is its text: an embedding that comes with it, as of a hypothetical document, has no effect. An
    embedding that comes alone is compared with dense vectors, in the modes ``default`` and ``mmr``.

    ``MetadataFilters`` are taken with all operators and nested. No index is over parts of texts: ``text_match`` and
    ``text_match_insensitive`` read the metadata of all nodes that the other filters leave.

    Documents that were added to the store itself are found as well, as text nodes, but not by ids.

    Args:
        store: Any flagvec store; `create` makes it.
        default_mode: ``"dense"``, ``"sparse"`` or ``"hybrid"``; None is hybrid where the store holds lexical weights,
            and else dense.
        fusion: ``"rrf"`` or a `Weighted`, for hybrid searches.
        rerank: ``"colbert"`` orders what every search but MMR finds by ColBERT.
        candidates: How many nodes each leg finds before fusion or rerank; 100 if None, and never below the limit.

    Raises:
        TypeError: Something else than a store.
        ValueError: An option that is unknown, out of range, in conflict with another, or needs what the store does not
            hold.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> from flagvec_qdrant import QdrantEdgeStore
        >>> from llama_index.core import Document, StorageContext, VectorStoreIndex
        >>> store = QdrantEdgeStore(BGEM3FlagModel("bge-m3"), "nodes")
        >>> store.create()
        >>> vectors = FlagVectorStore(store)
        >>> index = VectorStoreIndex.from_vector_store(vectors, embed_model=vectors.embed_model)
        >>> index.insert(Document(text="Rice is cooked in water."))
        >>> [found.text for found in index.as_retriever().retrieve("Rice is cooked in water.")]
        ['Rice is cooked in water.']
        >>> store.close()
    """

    model_config = ConfigDict(extra="forbid")

    stores_text: bool = Field(default=True, exclude=True, frozen=True)
    is_embedding_query: bool = Field(default=False, exclude=True, frozen=True)
    default_mode: Mode | None = Field(default=None, frozen=True)
    fusion: Fusion = Field(default="rrf", frozen=True)
    rerank: Rerank | None = Field(default=None, frozen=True)
    candidates: int | None = Field(default=None, frozen=True)
    _store: HybridStore = PrivateAttr()

    def __init__(
        self,
        store: HybridStore,
        *,
        default_mode: Mode | None = None,
        fusion: Fusion | Mapping[str, float] = "rrf",
        rerank: Rerank | None = None,
        candidates: int | None = None,
    ) -> None:
        if not isinstance(store, HybridStore):
            raise TypeError(
                f"store takes a flagvec store, like QdrantEdgeStore(model, 'index'), not {type(store).__name__}"
            )
        SearchOptions.checked(store.schema, limit=1, mode=default_mode, rerank=rerank, candidates=candidates)
        options: dict[str, Any] = {"default_mode": default_mode, "fusion": fusion}
        options |= {"rerank": rerank, "candidates": candidates}
        super().__init__(**options)
        if self.fusion != "rrf":
            SearchOptions.checked(store.schema, limit=1, mode="hybrid", fusion=self.fusion, rerank=rerank)
        self._store = store

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> FlagVectorStore:
        return self.model_copy()

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            "a FlagVectorStore cannot be pickled, as it holds a model and an open database: make it where it is "
            "used; to_dict and from_dict(data, store=store) carry its options"
        )

    @classmethod
    def class_name(cls) -> str:
        """Return the name that a serialised one carries."""
        return "FlagVectorStore"

    @property
    def client(self) -> HybridStore:
        """The store."""
        return self._store

    @property
    def embed_model(self) -> DeferredEmbedding:
        """What indices and pipelines take as their embedding model, so that nothing is encoded twice."""
        return DeferredEmbedding()

    def add(self, nodes: Sequence[BaseNode], **add_kwargs: Any) -> list[str]:
        """Encode nodes and write them, replacing those of the same id; their embeddings have no part in it.

        Args:
            nodes: Any nodes. What is encoded is their text, with the metadata that is not excluded from embedding.
            add_kwargs: ``timeout``, the seconds that one request to the database may take.

        Returns:
            The ids of the nodes, in order.

        Raises:
            TypeError: Something else than a node; an unknown argument; metadata that JSON cannot hold.
            ValueError: A bad id or metadata, or a vector that the store cannot take; names the node.
            WriteError: The database did not take some of the nodes; its ``report`` says which and why.
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        timeout = _timeout(add_kwargs)
        return _written(nodes, self._store.add(as_documents(nodes), timeout=timeout))

    async def async_add(self, nodes: Sequence[BaseNode], **add_kwargs: Any) -> list[str]:
        """Do as `add` does."""
        timeout = _timeout(add_kwargs)
        return _written(nodes, await self._store.aadd(as_documents(nodes), timeout=timeout))

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Find the nodes that fit a query best; the class says how.

        Raises:
            TypeError: An argument that the mode does not take; a value of a wrong type.
            ValueError: A query without a text or embedding, or in a mode that is refused; an option that is unknown,
                out of range, in conflict with another, or needs what the store does not hold; a filter that cannot be
                said.
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        filters = self._filters(query.filters, kwargs.get("timeout"))
        search = search_of(replace(query, filters=filters), self._defaults(), kwargs)
        return _result(hits_of(search, self._store))

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Do as `query` does."""
        return await asyncio.to_thread(self.query, query, **kwargs)

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **kwargs: Any
    ) -> list[BaseNode]:
        """Return the nodes of these ids, in their order, those that filters hold for, or that both do; or all.

        Args:
            node_ids: The ids; of one that is not there no node is returned, and of an empty list none at all.
            filters: Metadata filters; None for any node.
            kwargs: ``timeout``.

        Raises:
            TypeError: An unknown argument.
            ValueError: A filter that cannot be said, or an id that no node can have.
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        timeout = _timeout(kwargs)
        if filters is None and node_ids is not None:
            return _nodes(self._store.get(node_ids, timeout=timeout))
        return _nodes(self._store.scroll(chosen(node_ids, self._filters(filters, timeout)), timeout=timeout))

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **kwargs: Any
    ) -> list[BaseNode]:
        """Do as `get_nodes` does."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters, **kwargs)

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete the nodes that are from a document.

        Args:
            ref_doc_id: The document's id.
            delete_kwargs: ``timeout``.

        Raises:
            TypeError: An unknown argument.
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        self._store.delete(filter={DOCUMENT_ID: ref_doc_id}, timeout=_timeout(delete_kwargs))

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Do as `delete` does."""
        await self._store.adelete(filter={DOCUMENT_ID: ref_doc_id}, timeout=_timeout(delete_kwargs))

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Delete the nodes of these ids, those that filters hold for, or that both do.

        Args:
            node_ids: The ids; of an empty list no node is deleted.
            filters: Metadata filters; None for any node.
            delete_kwargs: ``timeout``.

        Raises:
            TypeError: Neither of the two; an unknown argument.
            ValueError: Filters that hold everywhere, that cannot be said, or an id that no node can have.
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        timeout = _timeout(delete_kwargs)
        self._store.delete(**unwanted(node_ids, self._filters(filters, timeout)), timeout=timeout)

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Do as `delete_nodes` does."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    def clear(self) -> None:
        """Delete everything in the store, which stays.

        Raises:
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        self._store.delete(filter=_EVERYTHING)

    async def aclear(self) -> None:
        """Do as `clear` does."""
        await self._store.adelete(filter=_EVERYTHING)

    def _defaults(self) -> Defaults:
        mode = self.default_mode or ("hybrid" if self._store.schema.sparse else "dense")
        return Defaults(mode, self.fusion, self.rerank, self.candidates)

    def _filters(self, filters: MetadataFilters | None, timeout: float | None) -> MetadataFilters | None:
        """Return filters of whole values."""
        return None if filters is None else with_whole_values(filters, partial(self._store.scroll, timeout=timeout))


def _written(nodes: Sequence[BaseNode], report: WriteReport) -> list[str]:
    report.raise_for_failures()
    return [node.node_id for node in nodes]


def _result(hits: Sequence[Hit]) -> VectorStoreQueryResult:
    return VectorStoreQueryResult(
        nodes=[to_node(Document(hit.id, hit.text, hit.metadata)) for hit in hits],
        similarities=[hit.score for hit in hits],
        ids=[hit.id for hit in hits],
    )


def _nodes(documents: Iterable[Document]) -> list[BaseNode]:
    return [to_node(document) for document in documents]


def _timeout(given: Mapping[str, Any]) -> Any:
    for name in given:
        if name != "timeout":
            raise TypeError(f"a FlagVectorStore takes no argument {name!r} here; it takes timeout")
    return given.get("timeout")
