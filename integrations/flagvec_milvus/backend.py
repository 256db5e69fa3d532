"""`MilvusBackend`: what a store asks of its collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from flagvec.errors import StoreError
from flagvec.filters.portable import Filter, NativeFilter
from flagvec.ingest.report import FailedWrite
from flagvec.search.lost import LostColbert
from flagvec.search.options import SearchOptions
from flagvec.store.backend import Ask, Backend, Record, Refusal, WriteLimits
from flagvec.store.documents import Document, Hit
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors
from flagvec_milvus import convert, errors, filters
from flagvec_milvus.client import CollectionClient
from flagvec_milvus.convert import Row
from flagvec_milvus.schema import MAX_ELEMENTS, Contents, Layout, identity_of
from flagvec_milvus.search import Search
from flagvec_milvus.stored_colbert import StoredColbert

# A server takes requests of up to 64 MB.
_LARGEST_REQUEST_BYTES = 60 * 2**20


class MilvusBackend(Backend[Row]):
    """A collection of Milvus Lite or a Milvus server, as `Backend` describes it."""

    # The client itself retries to connect until the timeout.
    limits = WriteLimits(attempts=3)
    # Set by open.
    _layout: Layout
    _stored: StoredColbert
    _schema: Schema

    def __init__(self, client: CollectionClient) -> None:
        self._client = client
        self._described: Contents | None = None
        self._lost = LostColbert(self.name)

    @property
    def name(self) -> str:
        return f"the collection {self._client.collection_name!r}"

    def describe(self) -> Schema | None:
        self._described = self._contents()
        return None if self._described is None else self._described.schema

    def identity(self, timeout: float | None) -> str | None:
        description = self._client.description(timeout)
        return None if description is None else identity_of(description)

    def create(self, schema: Schema) -> None:
        self._client.create(Contents.of(schema, self._client.engine))

    def open(self, schema: Schema) -> None:
        contents = self._contents()
        if contents is None:
            raise StoreError(f"{self.name} was dropped while it was opened: call create() first")
        self._layout = contents.layout
        self._stored = StoredColbert.of(schema)
        self._schema = schema
        self._client.load()

    def check_usable(self) -> None:
        self._client.check_process()

    def drop(self) -> None:
        self._client.drop()

    def compares_colbert(self) -> bool:
        if self._described is None:
            return self._client.engine.has_struct_arrays
        return self._described.layout.native_colbert

    def max_colbert_rows(self, schema: Schema) -> int | None:
        if schema.colbert_dimension is None:
            return None
        if self._layout.native_colbert:
            return MAX_ELEMENTS
        return _LARGEST_REQUEST_BYTES // self._stored.text_size(1)

    def check(self, document: Document) -> None:
        convert.check_document(document, self._layout)

    def prepare(self, records: Sequence[Record]) -> list[Row]:
        return [convert.to_row(record, self._layout) for record in records]

    def row_bytes(self, row: Row) -> int:
        return convert.row_bytes(row)

    def write(self, rows: Sequence[Row], timeout: float | None) -> list[FailedWrite]:
        self._client.upsert(rows, timeout)
        return []

    def classify(self, error: Exception) -> Refusal | None:
        return errors.classify(error)

    def is_native_filter(self, value: Any) -> bool:
        return isinstance(value, str)

    def search(self, query: TextVectors, options: SearchOptions) -> list[Hit]:
        return Search(self._client, self._layout, self._stored, query, options, self._lost).hits()

    def get(self, ids: Sequence[str], timeout: float | None) -> list[Document]:
        return [convert.to_document(row) for row in self._client.rows(ids, self._layout.document_fields, timeout)]

    def vectors(self, ids: Sequence[str], timeout: float | None) -> list[Record]:
        outputs = (*self._layout.document_fields, *self._schema.representations)
        return [convert.to_record(row, self._schema) for row in self._client.rows(ids, outputs, timeout)]

    def delete(self, ids: Sequence[str], timeout: float | None) -> None:
        self._client.delete(filters.one_of(ids, self._client.engine.is_lite), timeout)

    def delete_where(self, filter: Filter | NativeFilter, timeout: float | None) -> None:
        self._client.delete(self._expression(filter), timeout)

    def count(self, filter: Filter | NativeFilter | None, timeout: float | None) -> int:
        return self._client.count(self._expression(filter), timeout)

    def scroll(self, filter: Filter | NativeFilter | None, batch_size: int, ask: Ask) -> Iterator[list[Document]]:
        pages = self._client.pages(self._expression(filter), self._layout.document_fields, batch_size, ask)
        return ([convert.to_document(row) for row in rows] for rows in pages)

    def scroll_vectors(self, filter: Filter | NativeFilter | None, batch_size: int, ask: Ask) -> Iterator[list[Record]]:
        outputs = (*self._layout.document_fields, *self._schema.representations)
        pages = self._client.pages(self._expression(filter), outputs, batch_size, ask)
        return ([convert.to_record(row, self._schema) for row in rows] for rows in pages)

    def flush(self, timeout: float | None) -> None:
        # A server searches what it holds in memory. So does Milvus Lite, but slower than what is in its file.
        if self._client.engine.is_lite:
            self._client.flush(timeout)

    def _contents(self) -> Contents | None:
        description = self._client.description()
        return None if description is None else Contents.found(description, self.name)

    def _expression(self, filter: Filter | NativeFilter | None) -> filters.Expression:
        return filters.expression(filter, self._client.engine.is_lite)
