# mypy: disable-error-code="override"
# LangChain's methods take any keyword. These take the ones that they know, so that a typing error is one.
"""`FlagVectorStore`: LangChain's vector store over any of flagvec's."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import Embeddings

from flagvec import Document
from flagvec.filters.portable import Any_, FilterLike, Not
from flagvec.ingest.batches import batches
from flagvec.search.options import Fusion, Mode, Rerank, whole_number
from flagvec.store.base import HybridStore
from langchain_flagvec.documents import texts_to_flagvec, to_flagvec, to_langchain
from langchain_flagvec.embeddings import FlagEmbeddings
from langchain_flagvec.vector_search import VectorSearch

if TYPE_CHECKING:
    from typing_extensions import Self

    from flagvec.embedder import AbsEmbedder

# Of nothing, one part or more never holds.
_EVERYTHING = Not(Any_(()))


class FlagVectorStore(VectorSearch):
    """A flagvec store as a LangChain vector store: one forward pass a text, hybrid search by default.

    The store is made as anywhere else, and is there as ``store``: call its ``create`` where it is new, its ``close`` at
    the end. The arguments below are what a search does unless its call says otherwise; every method that searches
    takes them too, and ``filter``, as `flagvec.store.base.HybridStore.search` does.

    Methods that LangChain names with an ``a`` run in worker threads; the model is never called from two at once. What
    is wrong with an argument is said before any work; an unknown keyword is a ``TypeError``. A deep copy of what holds
    a vector store shares its store, and as that holds a connection or an open directory, it cannot be pickled.

    Args:
        store: A `QdrantEdgeStore`, `QdrantStore`, `MilvusStore` or `ElasticsearchStore`.
        mode: ``"dense"``, ``"sparse"`` or ``"hybrid"``; None is hybrid where the store holds lexical weights.
        fusion: ``"rrf"`` or `Weighted`, for hybrid searches.
        rerank: ``"colbert"`` orders the candidates by ColBERT.
        candidates: How many documents each leg of a search finds before fusion or rerank, or as many as a call wants.
        timeout: Seconds that a request of a search may take.

    Raises:
        TypeError: ``store`` is none of flagvec's; an option is of a type that it does not take.
        ValueError: An option that the store cannot do; the message says what to use instead.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> from flagvec_qdrant import QdrantEdgeStore
        >>> with QdrantEdgeStore(BGEM3FlagModel("bge-m3"), "recipes") as store:
        ...     store.create()
        ...     vector_store = FlagVectorStore(store)
        ...     ids = vector_store.add_texts(["Rice is cooked in water.", "Bread is baked in an oven."], ids=["1", "2"])
        ...     vector_store.similarity_search("Rice is cooked in water.", k=1)
        [Document(id='1', metadata={}, page_content='Rice is cooked in water.')]
    """

    def __repr__(self) -> str:
        return f"FlagVectorStore({self.store!r})"

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        store: HybridStore | None = None,
        path: str | os.PathLike[str] | None = None,
        mode: Mode | None = None,
        fusion: Fusion = "rrf",
        rerank: Rerank | None = None,
        candidates: int | None = None,
        timeout: float | None = None,
    ) -> Self:
        """Write texts into a store, which is made if it is not there, and return it as a vector store.

        `from_documents`, `afrom_texts` and `afrom_documents` take the same.

        Args:
            texts: The texts.
            embedding: `FlagEmbeddings`, whose model encodes documents and queries: not its dense vectors alone, but
                all that the model gives.
            metadatas: The metadata of each.
            ids: The id of each; None for new ones.
            store: Where to; it was made with the same model.
            path: In place of ``store``, the directory of a `QdrantEdgeStore`; ``vector_store.store.close()`` frees it.
            mode: As in the constructor, like those below.
            fusion: As in the constructor.
            rerank: As in the constructor.
            candidates: As in the constructor.
            timeout: As in the constructor.

        Raises:
            TypeError: Both ``store`` and ``path`` or neither; an embedding that is no flagvec model's.
            ValueError: Another model than that of the store.
            WriteError: Documents that were not written; its ``report`` says which and why.
            StoreError: What is there does not fit the model.
        """
        if (store is None) == (path is None):
            raise TypeError(
                "from_texts takes store=, one of flagvec's stores, or path=, a directory for a QdrantEdgeStore"
            )
        model = _model_of(embedding)
        documents = texts_to_flagvec(texts, metadatas, ids)
        made = _store_at(model, path) if store is None else _of_one_model(store, model)
        try:
            vector_store = cls(made, mode=mode, fusion=fusion, rerank=rerank, candidates=candidates, timeout=timeout)
            made.create()
            vector_store._add(documents, None, None)
        except BaseException:
            if store is None:
                made.close()
            raise
        return vector_store

    @property
    def embeddings(self) -> Embeddings:
        """The dense vectors of the store's model, as LangChain's embeddings."""
        return FlagEmbeddings(self.store.model)

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
        timeout: float | None = None,
    ) -> list[str]:
        """Encode texts and write them, replacing those of the same id.

        Args:
            texts: The texts.
            metadatas: The metadata of each, in JSON's types.
            ids: The id of each, any string of 1 to 512 bytes; where there is none, the text gets a random UUID.
            batch_size: How many texts are written at once, at most. Whatever it is, they are encoded in batches of
                bounded size.
            timeout: Seconds that a request to the database may take.

        Returns:
            The ids, in the order of the texts.

        Raises:
            TypeError: No iterable of ``str``; metadata that JSON cannot hold.
            ValueError: Another number of metadatas or ids than of texts; a bad id.
            WriteError: Documents that were not written; its ``report`` says which and why. Those of the batches before
                were written.
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        return self._add(texts_to_flagvec(texts, metadatas, ids), batch_size, timeout)

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
        timeout: float | None = None,
    ) -> list[str]:
        """Do as `add_texts` does."""
        return await self._aadd(texts_to_flagvec(texts, metadatas, ids), batch_size, timeout)

    def add_documents(
        self,
        documents: Iterable[LangChainDocument],
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
        timeout: float | None = None,
    ) -> list[str]:
        """Encode documents and write them, replacing those of the same id; the documents given stay as they are.

        Args:
            documents: The documents.
            ids: An id for each, before its own; where there is neither, the document gets a random UUID.
            batch_size: As in `add_texts`.
            timeout: As in `add_texts`.

        Returns:
            The ids, in the order of the documents.

        Raises:
            As `add_texts` does.
        """
        return self._add(to_flagvec(documents, ids), batch_size, timeout)

    async def aadd_documents(
        self,
        documents: Iterable[LangChainDocument],
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
        timeout: float | None = None,
    ) -> list[str]:
        """Do as `add_documents` does."""
        return await self._aadd(to_flagvec(documents, ids), batch_size, timeout)

    def get_by_ids(self, ids: Sequence[str], /) -> list[LangChainDocument]:
        """Return the documents of these ids, in the order of the ids; one that is not there is left out.

        Raises:
            TypeError: Something else than strings.
            ValueError: An id that no document can have.
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        return [to_langchain(document) for document in self.store.get(ids)]

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[LangChainDocument]:
        """Do as `get_by_ids` does."""
        return [to_langchain(document) for document in await self.store.aget(ids)]

    def delete(
        self, ids: Sequence[str] | None = None, *, filter: FilterLike | None = None, timeout: float | None = None
    ) -> bool:
        """Delete the documents of these ids, those that a filter holds for, or, with neither, all, as LangChain has it.

        Args:
            ids: The ids; those that are not there are no error, and an empty list deletes nothing.
            filter: Which documents, in place of ids. An empty one is refused.
            timeout: Seconds that a request to the database may take.

        Returns:
            True.

        Raises:
            TypeError: Both ids and a filter; a value of a type that is not taken.
            ValueError: An id that no document can have; a bad filter.
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        self.store.delete(ids, filter=_unwanted(ids, filter), timeout=timeout)
        return True

    async def adelete(
        self, ids: Sequence[str] | None = None, *, filter: FilterLike | None = None, timeout: float | None = None
    ) -> bool:
        """Do as `delete` does."""
        await self.store.adelete(ids, filter=_unwanted(ids, filter), timeout=timeout)
        return True

    def _add(self, documents: Sequence[Document], batch_size: int | None, timeout: float | None) -> list[str]:
        for batch in _batches(documents, batch_size):
            self.store.add(batch, timeout=timeout).raise_for_failures()
        return [document.id for document in documents]

    async def _aadd(self, documents: Sequence[Document], batch_size: int | None, timeout: float | None) -> list[str]:
        for batch in _batches(documents, batch_size):
            (await self.store.aadd(batch, timeout=timeout)).raise_for_failures()
        return [document.id for document in documents]


def _model_of(embedding: Any) -> AbsEmbedder:
    model: Any = getattr(embedding, "model", None)
    if not hasattr(model, "encode_corpus"):
        raise TypeError(
            "embedding takes FlagEmbeddings, whose model gives all that the store holds, not "
            f"{type(embedding).__name__}"
        )
    return cast("AbsEmbedder", model)


def _of_one_model(store: HybridStore, model: AbsEmbedder) -> HybridStore:
    if not isinstance(store, HybridStore):
        raise TypeError(f"store takes one of flagvec's stores, like QdrantEdgeStore, not {type(store).__name__}")
    if store.model is not model:
        raise ValueError(
            f"embedding has the model {model.model_name_or_path!r}, and store another one, {store.schema.model!r}: "
            "make both with one model"
        )
    return store


def _store_at(model: AbsEmbedder, path: Any) -> HybridStore:
    # Only this needs the extra of QdrantEdgeStore.
    from flagvec_qdrant import QdrantEdgeStore

    return QdrantEdgeStore(model, path)


def _batches(documents: Sequence[Document], batch_size: int | None) -> Iterable[list[Document]]:
    if batch_size is None:
        return [list(documents)]
    return batches(documents, whole_number("batch_size", batch_size, at_least=1))


def _unwanted(ids: Sequence[str] | None, filter: FilterLike | None) -> FilterLike | None:
    return _EVERYTHING if ids is None and filter is None else filter
