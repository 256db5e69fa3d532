# mypy: disable-error-code="override"
# LlamaIndex's methods take any keyword, these take known ones, so that a misspelt one is found.
"""`FlagVectorStore`: LlamaIndex's vector store over any of flagvec's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from typing_extensions import Unpack

from flagvec.filters.portable import Any_, Not
from flagvec.search.fusion import Weighted
from flagvec.search.options import Fusion, Mode, Rerank, SearchOptions
from flagvec.store.base import HybridStore
from llama_index_flagvec.embeddings import DeferredEmbedding
from llama_index_flagvec.filters import chosen, with_whole_values
from llama_index_flagvec.nodes import DOCUMENT_ID, as_documents, to_node
from llama_index_flagvec.vector_search import Defaults, QueryKeywords, hits_of, search_of

# "None of nothing holds" is true of every document.
_EVERYTHING = Not(Any_(()))


class FlagVectorStore(BasePydanticVectorStore):
    """A flagvec store as a LlamaIndex vector store: each node is encoded once, and a query is hybrid by default.

    Make the store as usual. Call its ``create`` if it is new, and its ``close`` at the end. Pass `embed_model` to
    indices and pipelines: it encodes nothing, because the store does. Nodes come back as they were added, without an
    embedding. Documents that were added to the store itself come back as text nodes, but not by ``node_ids``.

    A query's mode, ``vector_store_query_mode`` of a retriever, chooses the search:

    ===================  =============================================================================================
    ``default``          That of `default_mode`.
    ``hybrid``           Dense and sparse, fused by `fusion`; ``alpha`` sets the weights of dense to ``alpha`` and of
                         sparse to ``1 - alpha``. Each leg finds ``sparse_top_k`` candidates, if it is set.
    ``semantic_hybrid``  Hybrid, then ordered by ColBERT.
    ``sparse``           By lexical weights; ``text_search`` is the same.
    ``mmr``              Dense, then chosen for diversity by LlamaIndex's ``get_top_k_mmr_embeddings``, which compares
                         each candidate with the node chosen last. The candidates are encoded again, because stores do
                         not give vectors out.
    ``svm`` and others   Refused, because they need the vectors of all nodes.
    ===================  =============================================================================================

    A query returns ``similarity_top_k`` nodes. ``hybrid_top_k`` replaces it in a hybrid search, ``sparse_top_k`` in a
    sparse one. `llama_index_flagvec.vector_search.QueryKeywords` describes further options. An embedding beside a text
    has no effect. An embedding alone is compared with dense vectors, in the modes ``default`` and ``mmr``.

    A node's similarity is the score of `flagvec.Hit`, and in the mode ``mmr`` the marginal relevance. With ``"rrf"`` it
    is at most 0.033, because it comes from ranks: for a ``similarity_cutoff``, choose another fusion or a dense search.

    ``MetadataFilters`` may be nested and use every operator. ``text_match`` and ``text_match_insensitive`` take longer,
    because they read the metadata of all nodes for which the other filters hold.

    Async methods run in a worker thread. A deep copy shares the store. A vector store cannot be pickled, because it
    holds an open database; ``to_dict`` and ``from_dict(data, store=store)`` carry its options.

    Args:
        store: A `QdrantEdgeStore`, `QdrantStore`, `MilvusStore` or `ElasticsearchStore`.
        default_mode: ``"dense"``, ``"sparse"`` or ``"hybrid"``. None is hybrid if the store holds lexical weights, and
            dense otherwise.
        fusion: ``"rrf"``, or weights like ``{"dense": 1, "sparse": 0.3}``, for hybrid searches.
        rerank: ``"colbert"`` orders the nodes of every search but ``mmr`` by ColBERT.
        candidates: How many nodes each leg finds before fusion or rerank; None for 100. It grows with the number of
            nodes that a query asks for.

    Raises:
        TypeError: ``store`` is not one of flagvec's; an option is unknown or of a type that it does not take.
        ValueError: An option is out of range, in conflict with another, or needs what the store does not hold.
        StoreError: By every method: the store does not exist, does not fit the model, was closed, or the database
            refused.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> from flagvec_qdrant import QdrantEdgeStore
        >>> from llama_index.core import Document, VectorStoreIndex
        >>> with QdrantEdgeStore(BGEM3FlagModel("bge-m3"), "nodes") as store:
        ...     store.create()
        ...     vectors = FlagVectorStore(store)
        ...     index = VectorStoreIndex.from_vector_store(vectors, embed_model=vectors.embed_model)
        ...     index.insert(Document(text="Rice is cooked in water."))
        ...     [found.text for found in index.as_retriever().retrieve("Rice is cooked in water.")]
        ['Rice is cooked in water.']
    """

    model_config = ConfigDict(extra="forbid")

    stores_text: bool = Field(default=True, exclude=True, frozen=True)
    is_embedding_query: bool = Field(default=False, exclude=True, frozen=True)
    default_mode: Mode | None = Field(default=None, frozen=True)
    fusion: Literal["rrf"] | Weighted = Field(default="rrf", frozen=True)
    rerank: Rerank | None = Field(default=None, frozen=True)
    candidates: int | None = Field(default=None, frozen=True)
    _store: HybridStore = PrivateAttr()

    def __init__(
        self,
        store: HybridStore,
        *,
        default_mode: Mode | None = None,
        fusion: Fusion = "rrf",
        rerank: Rerank | None = None,
        candidates: int | None = None,
    ) -> None:
        if not isinstance(store, HybridStore):
            raise TypeError(f"store takes one of flagvec's stores, like QdrantEdgeStore, not {type(store).__name__}")
        checked = partial(SearchOptions.checked, store.schema, limit=1, rerank=rerank, max_limit=store.max_limit)
        checked(mode=default_mode, candidates=candidates)
        if fusion != "rrf":
            # pydantic would give the weights that a dict leaves out the defaults of `Weighted`, which are 1.
            fusion = checked(mode="hybrid", fusion=fusion).weights or fusion
        options: dict[str, Any] = {"rerank": rerank, "candidates": candidates}
        super().__init__(**{"default_mode": default_mode, "fusion": fusion, **options})
        self._store = store

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        options = [(name, getattr(self, name)) for name in ("default_mode", "fusion", "rerank", "candidates")]
        return [(None, self._store), *((name, value) for name, value in options if value not in (None, "rrf"))]

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> FlagVectorStore:
        return self.model_copy()

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            "a FlagVectorStore cannot be pickled, because it holds a database that is open in this process: make it "
            "where it is used; to_dict and from_dict(data, store=store) carry its options"
        )

    @classmethod
    def class_name(cls) -> str:
        """Return the class's name in serialised data."""
        return "FlagVectorStore"

    @property
    def client(self) -> HybridStore:
        """The store."""
        return self._store

    @property
    def embed_model(self) -> DeferredEmbedding:
        """The embedding model for indices and pipelines; it encodes nothing, because the store does."""
        return DeferredEmbedding()

    def add(
        self, nodes: Sequence[BaseNode], *, show_progress: bool | None = None, timeout: float | None = None
    ) -> list[str]:
        """Encode nodes and write them, replacing those of the same id; their embeddings are ignored.

        Args:
            nodes: Any nodes. Their text is encoded with the metadata that are not excluded from embedding.
            show_progress: Show a progress bar. None shows one in a terminal or notebook after two seconds.
            timeout: Seconds that one request to the database may take; None for the client's own limit.

        Returns:
            The ids of the nodes, in order.

        Raises:
            TypeError: An item is not a node, or has metadata that JSON cannot hold.
            ValueError: An invalid id or metadata, or a vector that the store cannot take; names the node.
            WriteError: Nodes were not written; its ``report`` says which and why.
        """
        # A list is checked whole before anything is written, a generator is not.
        self._store.add(list(as_documents(nodes)), show_progress=show_progress, timeout=timeout)
        return [node.node_id for node in nodes]

    async def async_add(
        self, nodes: Sequence[BaseNode], *, show_progress: bool | None = None, timeout: float | None = None
    ) -> list[str]:
        """Do as `add` does."""
        return await asyncio.to_thread(self.add, nodes, show_progress=show_progress, timeout=timeout)

    def query(self, query: VectorStoreQuery, **options: Unpack[QueryKeywords]) -> VectorStoreQueryResult:
        """Find the nodes that fit a query best; the class describes the modes.

        Raises:
            TypeError: An option that the mode does not take, or a value of a wrong type.
            ValueError: The query has neither text nor embedding, its mode is refused, an option is out of range, in
                conflict with another or needs what the store does not hold, or the filters are invalid.
        """
        asked = replace(query, filters=self._of_whole_values(query.filters, options.get("timeout")))
        hits = hits_of(search_of(asked, self._defaults(), options), self._store)
        return VectorStoreQueryResult(
            nodes=[to_node(hit) for hit in hits],
            similarities=[hit.score for hit in hits],
            ids=[hit.id for hit in hits],
        )

    async def aquery(self, query: VectorStoreQuery, **options: Unpack[QueryKeywords]) -> VectorStoreQueryResult:
        """Do as `query` does."""
        return await asyncio.to_thread(self.query, query, **options)

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, *, timeout: float | None = None
    ) -> list[BaseNode]:
        """Return the nodes of these ids, those for which filters hold, those of both, or with neither all nodes.

        Args:
            node_ids: The ids. An id that is not there is left out. Without filters the nodes come in their order.
            filters: Metadata filters; None for any node.
            timeout: As in `add`.

        Raises:
            TypeError: A value of a type that its operator does not take.
            ValueError: An invalid filter, or an id that no node can have.
        """
        if filters is None and node_ids is not None:
            return [to_node(document) for document in self._store.get(node_ids, timeout=timeout)]
        filter = chosen(node_ids, self._of_whole_values(filters, timeout))
        return [to_node(document) for document in self._store.scroll(filter, timeout=timeout)]

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, *, timeout: float | None = None
    ) -> list[BaseNode]:
        """Do as `get_nodes` does."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters, timeout=timeout)

    def delete(self, ref_doc_id: str, *, timeout: float | None = None) -> None:
        """Delete the nodes of the document with the id ``ref_doc_id``."""
        self._store.delete(filter={DOCUMENT_ID: ref_doc_id}, timeout=timeout)

    async def adelete(self, ref_doc_id: str, *, timeout: float | None = None) -> None:
        """Do as `delete` does."""
        await asyncio.to_thread(self.delete, ref_doc_id, timeout=timeout)

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, *, timeout: float | None = None
    ) -> None:
        """Delete the nodes of these ids, those for which filters hold, or those of both.

        Args:
            node_ids: The ids; an empty list deletes nothing.
            filters: Metadata filters; None for any node.
            timeout: As in `add`.

        Raises:
            TypeError: Neither ids nor filters, or a value of a type that its operator does not take.
            ValueError: Filters that hold for every node, an invalid filter, or an id that no node can have.
        """
        if node_ids is None and filters is None:
            raise TypeError("delete_nodes takes node_ids, filters or both: to delete all nodes, call clear()")
        filter = None if filters is None else chosen(node_ids, self._of_whole_values(filters, timeout))
        if filter is None and filters is not None:
            raise ValueError("empty filters hold for every node: to delete all nodes, call clear()")
        self._store.delete(node_ids if filters is None else None, filter=filter, timeout=timeout)

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, *, timeout: float | None = None
    ) -> None:
        """Do as `delete_nodes` does."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, timeout=timeout)

    def clear(self) -> None:
        """Delete all nodes and documents; the store stays."""
        self._store.delete(filter=_EVERYTHING)

    async def aclear(self) -> None:
        """Do as `clear` does."""
        await asyncio.to_thread(self.clear)

    def _defaults(self) -> Defaults:
        mode = self.default_mode or ("hybrid" if self._store.schema.sparse else "dense")
        return Defaults(mode, self.fusion, self.rerank, self.candidates, self._store.max_limit)

    def _of_whole_values(self, filters: MetadataFilters | None, timeout: float | None) -> MetadataFilters | None:
        return None if filters is None else with_whole_values(filters, partial(self._store.scroll, timeout=timeout))
