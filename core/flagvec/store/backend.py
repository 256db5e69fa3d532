"""`Database`: the part of a store that each database gives in its own way."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from flagvec.filters.portable import Filter, NativeFilter
from flagvec.ingest.report import FailedWrite
from flagvec.ingest.retry import Backoff, Record, Refusal
from flagvec.search.options import SearchOptions
from flagvec.store.capabilities import Capabilities
from flagvec.store.documents import Document, Hit
from flagvec.store.encoding import TextVectors
from flagvec.store.schema import Schema

# In JSON a float32 has up to 23 characters and a comma, a sparse one an index of up to 10 and a comma beside it, and a
# character of a text may become an escape of 6.
_JSON_FLOAT_BYTES = 24
_JSON_SPARSE_BYTES = 35
_JSON_CHARACTER_BYTES = 6
_JSON_NAMES_BYTES = 256


class Database(ABC):
    """What a store asks of its database; arguments, records and vectors arrive checked.

    Every method but `_name`, `_found_schema`, `_create` and `_close` is called on a store that `_connect` was called
    for. A ``timeout`` is in seconds a request, None for the client's own. Exceptions of the client pass through to the
    caller, but for those of `_write`, of which `_refusal` is asked.
    """

    schema: Schema

    # What one call of `_write` is given at most, in records and in summed `_record_bytes`.
    _MAX_REQUEST_RECORDS = 256
    _MAX_REQUEST_BYTES = 16 * 2**20
    _BACKOFF = Backoff()

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What the database can do; it may be asked, so that the store must exist."""

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
    def _write(self, records: Sequence[Record], timeout: float | None) -> list[FailedWrite]:
        """Write records of distinct ids, replacing those that are there: one request, sent once.

        Returns:
            The documents that the database refused one by one.
        """

    def _refusal(self, error: Exception) -> Refusal | None:
        """Return what an exception of `_write` says of the request; None where it is no answer of the database."""
        return None

    @abstractmethod
    def _search(self, query: TextVectors, options: SearchOptions) -> list[Hit]:
        """Return the best ``options.limit`` hits, each with the scores of ``options.representations``.

        They may be in any order, and more than the limit, so that a store need not choose between equal scores.
        `query` holds just these; it may be empty in some of them, which then find nothing and score 0.
        """

    @abstractmethod
    def _get(self, ids: Sequence[str], timeout: float | None) -> list[Document]:
        """Return those of the documents that are there, in any order."""

    @abstractmethod
    def _delete(self, ids: Sequence[str], timeout: float | None) -> None:
        """Delete those of the documents that are there."""

    @abstractmethod
    def _delete_where(self, filter: Filter | NativeFilter, timeout: float | None) -> None:
        """Delete the documents that a filter holds for."""

    @abstractmethod
    def _count(self, filter: Filter | NativeFilter | None, timeout: float | None) -> int:
        """Return the number of documents, or of those that a filter holds for."""

    @abstractmethod
    def _scroll(
        self, filter: Filter | NativeFilter | None, batch_size: int, timeout: float | None
    ) -> Iterator[list[Document]]:
        """Yield all documents, or those that a filter holds for, each once, `batch_size` a request at most."""

    def _connect(self) -> None:  # noqa: B027  # many stores hold nothing open
        """Open what this object holds while it is in use; called once, when the schema was found to fit.

        Raises:
            StoreError: The store is in use elsewhere, or damaged.
        """

    def _commit(self, timeout: float | None) -> None:  # noqa: B027  # many databases need no such step
        """Make all that was written durable and found; called at the end of each call that writes."""

    def _close(self) -> None:  # noqa: B027  # see _connect
        """Free what `_connect` opened, if it was called."""

    def _record_bytes(self, record: Record) -> int:
        """Return a bound on what a record takes in a request, in bytes."""
        return json_bytes(record)


def json_bytes(record: Record) -> int:
    """Return a bound on the bytes that a record takes as JSON in a request."""
    document, vectors = record.document, record.vectors
    floats = 0 if vectors.dense is None else vectors.dense.size
    floats += 0 if vectors.colbert is None else vectors.colbert.size
    characters = len(document.id) + len(document.text)
    return (
        _JSON_NAMES_BYTES
        + _JSON_CHARACTER_BYTES * characters
        + _JSON_FLOAT_BYTES * floats
        + _JSON_SPARSE_BYTES * len(vectors.sparse or ())
        + len(json.dumps(document.metadata))
    )
