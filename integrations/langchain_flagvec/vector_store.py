# mypy: disable-error-code="override"
# LangChain's methods take any keyword, these take known ones, so that a type checker finds a misspelt one.
"""`FlagVectorStore`: LangChain's vector store over any of flagvec's."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import Embeddings
from more_itertools import chunked

from flagvec import Document
from flagvec.filters.portable import Any_, FilterLike, Not
from flagvec.search.options import SearchKeywords, whole_number
from flagvec.store.base import HybridStore
from langchain_flagvec.documents import texts_to_flagvec, to_flagvec, to_langchain
from langchain_flagvec.embeddings import FlagEmbeddings
from langchain_flagvec.vector_search import VectorSearch

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from flagvec.embedder import AbsEmbedder

# "None of nothing holds" is true of every document.
_EVERYTHING = Not(Any_(()))


class FlagVectorStore(VectorSearch):
    """A flagvec store as a LangChain vector store: each text is encoded once, and a search is hybrid by default.

    Make the store as usual; it is the attribute ``store``. Call its ``create`` if it is new, and its ``close`` at the
    end. `from_documents` and `from_texts` make and fill a store in one call.

    The ``a`` methods are LangChain's own, which run the others in worker threads. The model takes one call at a time.
    A deep copy shares the store. A vector store cannot be pickled, because it holds an open database.

    ``as_retriever(search_type="similarity_score_threshold")`` compares a relevance between 0 and 1. It is
    (1 + score) / 2 of the dense score in a dense search and in one fused by ``"rrf"``, whose own scores come from
    ranks; of the score itself in a weighted or reranked search; and score / (1 + score) in a sparse search.

    Args:
        store: A `QdrantEdgeStore`, `QdrantStore`, `MilvusStore` or `ElasticsearchStore`.
        options: What searches do unless their call says otherwise: ``mode``, ``fusion``, ``rerank``, ``candidates``,
            ``filter``, ``explain``, ``min_score`` and ``timeout``, which `flagvec.search.options.SearchKeywords`
            describes. ``candidates`` grows with the ``k`` of a call.

    Raises:
        TypeError: ``store`` is not one of flagvec's; an option is unknown or of a type that it does not take.
        ValueError: The store does not support an option; the message says what to use instead.

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
        return f"FlagVectorStore({self.store!r:.300})"

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
        **options: Unpack[SearchKeywords],
    ) -> Self:
        """Write texts into a store, which is created if it does not exist, and return it as a vector store.

        `from_documents` takes documents in place of ``texts`` and ``metadatas``. A process may open one path again
        while it is open, so that a notebook's cell can run twice. Texts without ids are then stored twice.

        Args:
            texts: The texts.
            embedding: `FlagEmbeddings`. All that its model gives is stored, not its dense vectors alone.
            metadatas: The metadata of each text.
            ids: The id of each text; None for random ones.
            store: The store to write into, made with the same model.
            path: In place of ``store``, the directory of a `QdrantEdgeStore`. ``vector_store.store.close()`` frees it.
            options: As in the constructor.

        Raises:
            TypeError: Both ``store`` and ``path`` or neither; an embedding without a flagvec model; an unknown option.
            ValueError: The store has another model; an invalid text, id or option.
            WriteError: Documents were not written; its ``report`` says which and why.
            StoreError: The store does not fit the model, or is open in another process.
        """
        if (store is None) == (path is None):
            raise TypeError(
                "from_texts takes either store=, one of flagvec's stores, or path=, a directory for a QdrantEdgeStore"
            )
        model = _model_of(embedding)
        documents = texts_to_flagvec(texts, metadatas, ids)
        made = _store_at(model, path) if store is None else _of_one_model(store, model)
        try:
            vector_store = cls(made, **options)
            made.create()
            made.add(documents)
        except BaseException:
            if store is None:
                made.close()
            raise
        return vector_store

    @property
    def embeddings(self) -> FlagEmbeddings:
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
            metadatas: The metadata of each text, as `flagvec.Document` takes it.
            ids: The id of each text, a string of 1 to 512 bytes. A text without an id gets a random UUID.
            batch_size: How many texts are written before the next ones are checked; None checks all first. Encoding
                is bounded in memory in any case.
            timeout: Seconds that one request to the database may take; None for the client's own limit.

        Returns:
            The ids, in the order of the texts.

        Raises:
            TypeError: Something other than an iterable of ``str``; metadata that JSON cannot hold.
            ValueError: The numbers of texts and of metadatas or ids differ; an invalid id.
            WriteError: Documents were not written; its ``report`` says which and why. Earlier batches were written.
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        return self._add(texts_to_flagvec(texts, metadatas, ids), batch_size, timeout)

    def add_documents(
        self,
        documents: Iterable[LangChainDocument],
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
        timeout: float | None = None,
    ) -> list[str]:
        """Encode documents and write them, replacing those of the same id. The documents given are not changed.

        ``ids`` has an id for each document, which replaces its own. The rest, with what is returned and raised, is as
        in `add_texts`.
        """
        return self._add(to_flagvec(documents, ids), batch_size, timeout)

    def get_by_ids(self, ids: Sequence[str], /) -> list[LangChainDocument]:
        """Return the documents of these ids, in the order of the ids; one that is not there is left out.

        Raises:
            TypeError: Something other than strings.
            ValueError: An id that no document can have.
            StoreError: The store does not exist, does not fit the model, was closed, or the database refused.
        """
        return [to_langchain(document) for document in self.store.get(ids)]

    def delete(
        self, ids: Sequence[str] | None = None, *, filter: FilterLike | None = None, timeout: float | None = None
    ) -> bool:
        """Delete the documents of these ids or those for which a filter holds, and return True.

        Without ids and filter, delete all documents: that is LangChain's rule. An empty list deletes nothing.

        Raises:
            TypeError: Both ids and a filter; a value of a type that is not taken.
            ValueError: An id that no document can have; a filter that is empty or invalid.
            StoreError: The store does not exist, does not fit the model, was closed, or the database refused.
        """
        unwanted = _EVERYTHING if ids is None and filter is None else filter
        self.store.delete(ids, filter=unwanted, timeout=timeout)
        return True

    def _add(self, documents: Sequence[Document], batch_size: int | None, timeout: float | None) -> list[str]:
        size = len(documents) if batch_size is None else whole_number("batch_size", batch_size, at_least=1)
        for batch in chunked(documents, size or 1):
            self.store.add(batch, timeout=timeout)
        return [document.id for document in documents]


def _model_of(embedding: Any) -> AbsEmbedder:
    model: Any = getattr(embedding, "model", None)
    if not hasattr(model, "encode_corpus"):
        raise TypeError(
            f"embedding is {type(embedding).__name__}, which has no flagvec model: pass FlagEmbeddings, whose model "
            "gives all that the store holds"
        )
    return cast("AbsEmbedder", model)


def _of_one_model(store: HybridStore, model: AbsEmbedder) -> HybridStore:
    if not isinstance(store, HybridStore):
        raise TypeError(f"store takes one of flagvec's stores, like QdrantEdgeStore, not {type(store).__name__}")
    if store.model is not model:
        raise ValueError(
            f"embedding has the model {model.model_name_or_path!r}, and store another model object, "
            f"{store.schema.model!r}: make both with one model"
        )
    return store


def _store_at(model: AbsEmbedder, path: Any) -> HybridStore:
    # Only this needs the extra `edge`.
    from flagvec_qdrant import QdrantEdgeStore

    return QdrantEdgeStore(model, path)
