"""`Backend`: what a store asks of its database. A new database is one of these and the contract suite."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from flagvec.filters.portable import Filter, NativeFilter
from flagvec.ingest.report import FailedWrite
from flagvec.search.options import SearchOptions
from flagvec.store.documents import Document, Hit
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors

_IDS_AT_ONCE = 256

Row = TypeVar("Row")
Result = TypeVar("Result")


class Ask(Protocol):
    """Makes one request of a method that makes several, and repeats it while the database refuses it for the moment.

    The request may be made twice without harm. It gets the seconds that it may take, None for the client's own limit.
    """

    def __call__(self, request: Callable[[float | None], Result]) -> Result:
        """Return the request's result, or raise a `StoreError`."""
        ...


@dataclass(slots=True)
class Record:
    """A document with its vectors, valid for every store."""

    document: Document
    vectors: TextVectors


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a client's exception says of a request.

    Args:
        reason: The database's words, without secrets and without the client's decoration.
        retryable: Whether the same request may succeed later.
        divisible: Whether a part of the request may succeed, because it is too large or one document in it is bad.
        pause: Seconds that the database asked to wait; 0 if it did not say.
    """

    reason: str
    retryable: bool
    divisible: bool = False
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class WriteLimits:
    """How large a request to write may be, and how it is retried.

    Args:
        records: The most records in one request.
        bytes: The most that the sizes of its rows may add up to. A larger row is a request of its own.
        attempts: How often a request is sent at most.
        first_pause: Seconds before the second attempt; each later pause is twice as long, up to ten seconds.
        jitter: Each pause is longer by up to this many seconds, at random, so that clients do not return together.
    """

    records: int = 256
    bytes: int = 16 * 2**20
    attempts: int = 6
    first_pause: float = 0.5
    jitter: float = 0.5


class Backend(ABC, Generic[Row]):
    """A database as a store sees it; ``Row`` is a record in the form in which the database takes it.

    Arguments arrive checked. A ``timeout`` is in seconds a request, None for the client's own. Methods raise the
    client's exceptions as they are: the store asks `classify` what they mean, repeats what is `retryable`, and raises a
    `StoreError` from the rest. Every method but `create` and `drop` may be called again after it failed. Every method
    after `open` is called on an open backend only.
    """

    limits = WriteLimits()

    @property
    @abstractmethod
    def name(self) -> str:
        """What messages call the store, as in ``the collection 'articles'``."""

    @abstractmethod
    def describe(self) -> Schema | None:
        """Return the schema that the store was made with, or None if there is no store. It opens nothing.

        Raises:
            StoreError: Something else is in the store's place, or a store of another layout.
        """

    def identity(self, timeout: float | None) -> str | None:
        """Return what the store's name leads to now, as the database identifies it; None if it leads nowhere.

        Two equal identities are the same store. Messages show them, so that an identity holds the own name of what an
        alias leads to. It takes one small request, because each `add` makes it. A database without aliases keeps this.
        """
        return self.name

    @abstractmethod
    def create(self, schema: Schema) -> None:
        """Make the store, after `describe` found none."""

    def open(self, schema: Schema) -> None:  # many databases hold nothing open
        """Open what is held while the store is in use, after `describe` found a schema that fits.

        It is called again if `identity` changed: another store of the same model is in the place of the first.

        Raises:
            StoreError: The store is in use elsewhere, or damaged.
        """

    def compares_colbert(self) -> bool:
        """Return whether the database compares ColBERT vectors itself, in this store or in one that `create` makes.

        If it does not, True as a store's argument ``colbert`` means codes. This may ask the database.
        """
        return False

    def check_usable(self) -> None:  # many databases may be used wherever the client may
        """Refuse to go on with what `open` opened; called first by each verb, before anything is encoded.

        Raises:
            StoreError: It may not be used here, for example not in a process forked from the one that opened it.
        """

    def close(self) -> None:  # see open
        """Free what `open` opened, if it was called."""

    @abstractmethod
    def drop(self) -> None:
        """Delete the store with all its documents."""

    def max_colbert_rows(self, schema: Schema) -> int | None:
        """Return how many ColBERT vectors of one text the open store takes; None for any number, as for codes."""
        return None

    def check(self, document: Document) -> None:  # many databases take every valid document
        """Refuse a document that this database cannot hold, before it is encoded.

        Raises:
            ValueError: It cannot; names the document, the limit and what to do.
        """

    @abstractmethod
    def prepare(self, records: Sequence[Record]) -> list[Row]:
        """Return each record as the database takes it. It may run while another thread writes."""

    def row_bytes(self, row: Row) -> int:
        """Return an upper bound on what a row takes in a request, in bytes; 0 if requests are not bounded by size."""
        return 0

    @abstractmethod
    def write(self, rows: Sequence[Row], timeout: float | None) -> list[FailedWrite]:
        """Write rows of distinct ids in one request, sent once, replacing documents of the same ids.

        Returns:
            The documents that the database refused one by one.
        """

    @abstractmethod
    def classify(self, error: Exception) -> Refusal | None:
        """Return what a client's exception means; None if it is not an answer of the database or its absence."""

    def is_native_filter(self, value: Any) -> bool:
        """Return whether a value is a filter in the database's own form."""
        return False

    @abstractmethod
    def search(self, query: TextVectors, options: SearchOptions) -> list[Hit]:
        """Return the best ``options.limit`` hits, each with the scores of ``options.scored``.

        They may be in any order, and more than the limit, so that the database need not break ties.
        """

    @abstractmethod
    def get(self, ids: Sequence[str], timeout: float | None) -> list[Document]:
        """Return those of the documents that are there, in any order."""

    def vectors(self, ids: Sequence[str], timeout: float | None) -> list[Record]:
        """Return those of the documents that are there, in any order, with the vectors that a search compares.

        A representation that a document lacks is None or empty. So are ColBERT vectors that are damaged. A database
        that reads documents by id replaces this, which goes through all of them.
        """
        wanted = set(ids)
        batches = self.scroll_vectors(None, _IDS_AT_ONCE, lambda request: request(timeout))
        return [record for batch in batches for record in batch if record.document.id in wanted]

    @abstractmethod
    def delete(self, ids: Sequence[str], timeout: float | None) -> None:
        """Delete those of the documents that are there."""

    @abstractmethod
    def delete_where(self, filter: Filter | NativeFilter, timeout: float | None) -> None:
        """Delete the documents for which a filter holds."""

    @abstractmethod
    def count(self, filter: Filter | NativeFilter | None, timeout: float | None) -> int:
        """Return the number of documents, or of those for which a filter holds."""

    @abstractmethod
    def scroll(self, filter: Filter | NativeFilter | None, batch_size: int, ask: Ask) -> Iterator[list[Document]]:
        """Yield all documents, or those for which a filter holds, each once, at most `batch_size` a request.

        Each request is made through `ask`, because a generator that raised cannot be asked for its next page again.
        """

    @abstractmethod
    def scroll_vectors(self, filter: Filter | NativeFilter | None, batch_size: int, ask: Ask) -> Iterator[list[Record]]:
        """Yield documents with all vectors that the store holds of them, otherwise as `scroll` does.

        Vectors are as the database gives them, which is not checked. A representation that a document lacks is None or
        empty. So are ColBERT vectors that are damaged.
        """

    def flush(self, timeout: float | None) -> None:  # many databases need no such step
        """Make all that was written durable and searchable; called at the end of each call that writes."""
