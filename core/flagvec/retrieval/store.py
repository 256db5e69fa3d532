"""`HybridStore`: the verbs that every store has, and all of their work that is no database's own."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from types import TracebackType
from typing import TYPE_CHECKING

from flagvec.errors import StoreError
from flagvec.retrieval.batches import batches
from flagvec.retrieval.documents import Document, Hit, as_documents, checked_ids
from flagvec.retrieval.options import Fusion, Mode, Rerank, SearchOptions
from flagvec.retrieval.schema import Schema
from flagvec.retrieval.vectors import TextVectors, encode_documents, encode_query

if TYPE_CHECKING:
    from typing_extensions import Self

    from flagvec.embedder import AbsEmbedder

_logger = logging.getLogger(__name__)

# One batch is encoded and held at a time. The characters bound what ColBERT makes of long documents: 100,000 of them
# are some 25,000 tokens of English, 100 MB of vectors at 1,024 dimensions.
DOCUMENTS_PER_BATCH = 256
CHARACTERS_PER_BATCH = 100_000
IDS_PER_REQUEST = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """A document with its vectors, valid for every store."""

    document: Document
    vectors: TextVectors


class HybridStore(ABC):
    """Documents with the vectors of a model, in a database that finds them again.

    A store is used as soon as its schema is there: `create` makes it, and is not needed for a store that exists. What
    a model gives is what the store holds: dense vectors from every model, lexical weights and ColBERT vectors from a
    BGE-M3 style one. Stores close their own resources in `close` or at the end of a ``with`` block.

    Subclasses give the database's part, the methods from `_found_schema` on; arguments, records and vectors reach
    them checked.

    Args:
        model: Encodes documents and queries.
        colbert: Keep ColBERT vectors, if the model gives them. They take some 2 kB a token at 1,024 dimensions.
    """

    def __init__(self, model: AbsEmbedder, *, colbert: bool = True) -> None:
        self.model = model
        self.schema = Schema.of(model, colbert=colbert)
        self._opening = threading.Lock()
        self._is_open = False
        self._is_closed = False

    def create(self) -> None:
        """Make the schema; on a store that is there already, check that it fits.

        Raises:
            StoreError: The store exists with another schema, is in use elsewhere, or was closed.
        """
        self._refuse_closed()
        if self._found_schema() is None:
            self._create()
        self._open()

    def add(self, documents: str | Document | Iterable[str | Document]) -> list[str]:
        """Encode documents and write them, replacing those of the same id.

        The documents are read, encoded and written in bounded batches, so that a generator is never held whole. All
        are found once this returns. Of documents with one id the last is kept, in one call as over several. If a
        document is refused, those of the batches before it are in the store.

        Args:
            documents: A text or `Document`, or any iterable of them. A bare text gets the id of
                `flagvec.retrieval.documents.text_id`, so that adding it again changes nothing.

        Returns:
            The ids, in the order of the input; empty for no documents.

        Raises:
            TypeError: Something else than texts and documents, or metadata that JSON cannot hold.
            ValueError: A bad id or metadata, or a vector that the store cannot take; names the document.
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        checked = as_documents(documents)
        self._open()
        ids: list[str] = []
        try:
            for batch in batches(checked, DOCUMENTS_PER_BATCH, _characters, CHARACTERS_PER_BATCH):
                ids.extend(document.id for document in batch)
                self._write(self._records({document.id: document for document in batch}.values()))
        finally:
            self._commit()
        return ids

    def search(
        self,
        query: str,
        limit: int = 10,
        *,
        mode: Mode | None = None,
        fusion: Fusion = "rrf",
        rerank: Rerank | None = None,
        candidates: int | None = None,
    ) -> list[Hit]:
        """Find the documents that fit a query best.

        Args:
            query: Any text; it is encoded once, with the model's query instruction.
            limit: The most hits to return.
            mode: ``"dense"``, ``"sparse"`` or ``"hybrid"``, which fuses both. None is hybrid where the store holds
                lexical weights, and else dense.
            fusion: How a hybrid search orders the union of what its legs found. ``"rrf"`` adds the reciprocal ranks,
                1 / (60 + rank), ranks from one. `Weighted` computes the model's own score, of every candidate in full,
                whichever leg found it; a weight of 0 leaves a representation out.
            rerank: ``"colbert"`` orders the candidates by ColBERT alone.
            candidates: How many documents each leg finds before fusion or rerank; 100, or `limit` if that is more.

        Returns:
            The hits, best first, equal scores by id; of documents with equal vectors at the end of the list, the
            database chooses which are in it. A hit's score is the representation's own in a dense or sparse
            search and after a rerank, and the fused one otherwise; its ``scores`` holds that of every representation
            that the search used. Sparse search leaves out documents without a token in common with the query, and
            rerank those without ColBERT vectors.

        Raises:
            TypeError: The query is no ``str``; ``limit`` or ``candidates`` is no whole number.
            ValueError: An option that is unknown, out of range, in conflict with another, or needs a representation
                that the store does not hold.
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        if not isinstance(query, str):
            raise TypeError(f"query takes a str, not {type(query).__name__}")
        options = SearchOptions.checked(
            self.schema, limit=limit, mode=mode, fusion=fusion, rerank=rerank, candidates=candidates
        )
        self._open()
        vectors = encode_query(self.model, query, options.representations, self._max_colbert_rows())
        return sorted(self._search(vectors, options), key=lambda hit: (-hit.score, hit.id))[: options.limit]

    def get(self, ids: str | Iterable[str]) -> list[Document]:
        """Return the documents of these ids, in the order of the ids; an id that is not there is left out.

        Raises:
            TypeError: Something else than a ``str`` or an iterable of ``str``.
            ValueError: An id that no document can have.
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        wanted = checked_ids(ids)
        self._open()
        found = {document.id: document for part in batches(wanted, IDS_PER_REQUEST) for document in self._get(part)}
        return [found[name] for name in wanted if name in found]

    def delete(self, ids: str | Iterable[str]) -> None:
        """Delete the documents of these ids; an id that is not there is no error.

        Raises:
            TypeError: Something else than a ``str`` or an iterable of ``str``.
            ValueError: An id that no document can have.
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        unwanted = checked_ids(ids)
        self._open()
        for part in batches(unwanted, IDS_PER_REQUEST):
            self._delete(part)
        self._commit()

    def count(self) -> int:
        """Return the number of documents.

        Raises:
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        self._open()
        return self._count()

    def close(self) -> None:
        """Free what the store object holds; the documents stay. Closing twice is no error."""
        if not self._is_closed:
            self._close()
        self._is_closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> None:
        """Check, once, that the store is there and fits."""
        self._refuse_closed()
        with self._opening:
            if not self._is_open:
                self._check_and_connect()
                self._is_open = True

    def _check_and_connect(self) -> None:
        found = self._found_schema()
        if found is None:
            raise StoreError(f"{self._name()} does not exist: call create() first")
        self.schema.check(found, self._name())
        if PurePath(found.model).name != PurePath(self.schema.model).name:
            _logger.warning(
                "%s was made with the model %r and is used with %r: unless these are one, the vectors do not match",
                self._name(),
                found.model,
                self.schema.model,
            )
        self._connect()

    def _refuse_closed(self) -> None:
        if self._is_closed:
            raise StoreError(f"{self._name()} was closed: make a new {type(self).__name__}")

    def _records(self, documents: Iterable[Document]) -> list[Record]:
        documents = list(documents)
        vectors = encode_documents(
            self.model,
            [document.text for document in documents],
            [f"document {document.id!r}" for document in documents],
            self.schema.representations,
            self._max_colbert_rows(),
        )
        return [Record(document, found) for document, found in zip(documents, vectors, strict=True)]

    @abstractmethod
    def _name(self) -> str:
        """Return what messages call this store, as in ``the collection 'articles'``."""

    @abstractmethod
    def _found_schema(self) -> Schema | None:
        """Return the schema that the store was made with, None if there is no store; opens nothing.

        Raises:
            StoreError: There is something that is no store of this kind.
        """

    @abstractmethod
    def _create(self) -> None:
        """Make the store with ``self.schema``, where `_found_schema` found none."""

    @abstractmethod
    def _write(self, records: Sequence[Record]) -> None:
        """Write records of distinct ids, replacing those that are there."""

    @abstractmethod
    def _search(self, query: TextVectors, options: SearchOptions) -> list[Hit]:
        """Return the best ``options.limit`` hits, each with the scores of ``options.representations``.

        They may be in any order, and more than the limit, so that a store need not choose between equal scores.
        `query` holds just these; it may be empty in some of them, which then find nothing and score 0.
        """

    @abstractmethod
    def _get(self, ids: Sequence[str]) -> list[Document]:
        """Return those of the documents that are there, in any order."""

    @abstractmethod
    def _delete(self, ids: Sequence[str]) -> None:
        """Delete those of the documents that are there."""

    @abstractmethod
    def _count(self) -> int:
        """Return the number of documents."""

    def _connect(self) -> None:  # noqa: B027  # many stores hold nothing open
        """Open what this object holds while it is in use; called once, when the schema was found to fit.

        Raises:
            StoreError: The store is in use elsewhere, or damaged.
        """

    def _commit(self) -> None:  # noqa: B027  # many databases need no such step
        """Make all that was written durable and found; called at the end of each call that writes."""

    def _close(self) -> None:  # noqa: B027  # see _connect
        """Free what `_connect` opened, if it was called."""

    def _max_colbert_rows(self) -> int | None:
        """Return the most ColBERT vectors that one text may have; None for any number."""
        return None


def _characters(document: Document) -> int:
    return len(document.text)
