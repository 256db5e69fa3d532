"""`ElasticsearchBackend`: an index of Elasticsearch as a store sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flagvec.errors import StoreError
from flagvec.filters.portable import Filter, NativeFilter
from flagvec.ingest.report import FailedWrite
from flagvec.search.lost import LostColbert
from flagvec.search.options import SearchOptions
from flagvec.store.asking import Patience
from flagvec.store.backend import Ask, Backend, Record, Refusal
from flagvec.store.documents import Document, Hit
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors
from flagvec_elasticsearch import convert, errors, filters
from flagvec_elasticsearch.client import FoundIndex, Index
from flagvec_elasticsearch.queries import MOST_HITS, documents_with_vectors, reading
from flagvec_elasticsearch.schema import Layout, layout_of, mappings, schema_of
from flagvec_elasticsearch.search import Search
from flagvec_elasticsearch.stored_colbert import HalfPrecision, StoredColbert, stored_colbert
from flagvec_elasticsearch.versions import check_created, takes_packed_vectors

# Elasticsearch takes no more vectors in one value of a rank_vectors field, nor in a query of one.
_MOST_RANK_VECTORS = 8_192
_REMEDY = (
    "repair() encodes documents without ColBERT vectors anew, repair(check_vectors=True) also those with damaged ones"
)


class ElasticsearchBackend(Backend[bytes]):
    """An index, as `Backend` describes it. A row is the two lines of a bulk request that write a document.

    Args:
        index: The index.
        chosen: The field types that the caller chose, by the name in `Layout`.
        settings: Index settings for `create`.
        native_fusion: Whether Elasticsearch fuses by reciprocal ranks if its licence allows it.

    Attributes:
        fuses_natively: Whether Elasticsearch does so; known once the backend is open.
        lost: Logs documents without usable ColBERT vectors.
    """

    def __init__(
        self, index: Index, chosen: Mapping[str, Any], settings: Mapping[str, Any], native_fusion: bool
    ) -> None:
        self.fuses_natively = False
        self.lost = LostColbert(str(index), _REMEDY)
        self._index = index
        self._chosen = chosen
        self._settings = settings
        self._native_fusion = native_fusion
        self._layout = Layout(**chosen)
        self._described: FoundIndex | None = None
        self._packs_vectors = False
        self._schema: Schema | None = None
        self._stored: StoredColbert | None = None

    @property
    def name(self) -> str:
        return str(self._index)

    def describe(self) -> Schema | None:
        self._described = self._index.found()
        if self._described is None:
            self._layout = Layout(**self._chosen)
            return None
        schema = schema_of(self._described.mapping, self.name)
        self._layout = layout_of(self._described.mapping, schema, self._chosen, self.name)
        return schema

    def identity(self, timeout: float | None) -> str | None:
        return self._index.identity(timeout)

    def leads_to(self, name: str) -> str | None:
        """Return the index that a name leads to; see `Index.leads_to`."""
        return self._index.leads_to(name)

    def switch_alias(self, alias: str) -> None:
        """Let an alias lead to the open index; see `Index.switch_alias`."""
        self._index.switch_alias(alias)

    def create(self, schema: Schema) -> None:
        self._index.create(mappings(schema, Layout(**self._chosen)), self._settings)

    def open(self, schema: Schema) -> None:
        assert self._described is not None, "describe found it"
        check_created(self._described.created, self.name)
        for argument, wanted in self._chosen.items():
            if (found := getattr(self._layout, argument)) != wanted:
                raise StoreError(
                    f"{self.name} was made with {argument}={found!r}, not {wanted!r}: leave {argument} out to use the "
                    "index as it is, or make another"
                )
        self._schema = schema
        self._stored = stored_colbert(schema, self._layout)
        self._packs_vectors = takes_packed_vectors(self._described.created)
        self._index.opened = self._described
        self.fuses_natively = self._native_fusion and self._index.has_enterprise_licence()

    def drop(self) -> None:
        self._index.drop()

    def compares_colbert(self) -> bool:
        return self._layout.colbert_field == "rank_vectors"

    def max_colbert_rows(self, schema: Schema) -> int | None:
        return _MOST_RANK_VECTORS if self._layout.colbert_field == "rank_vectors" else None

    def prepare(self, records: Sequence[Record]) -> list[bytes]:
        return convert.rows(records, self._layout, self._packs_vectors)

    def row_bytes(self, row: bytes) -> int:
        return len(row)

    def write(self, rows: Sequence[bytes], timeout: float | None) -> list[FailedWrite]:
        return self._index.bulk(rows, timeout)

    def classify(self, error: Exception) -> Refusal | None:
        return errors.classify(error)

    def is_native_filter(self, value: Any) -> bool:
        return filters.is_native(value)

    def search(self, query: TextVectors, options: SearchOptions) -> list[Hit]:
        if options.candidates > MOST_HITS:
            raise ValueError(
                f"limit={options.limit}, candidates={options.candidates}: a search of Elasticsearch finds at most "
                f"{MOST_HITS} documents; use scroll to go through all"
            )
        patience = Patience(options.timeout)
        search = Search(self._index, self._layout, self._stored, query, options, patience, self.lost)
        return search.hits(self.fuses_natively)

    def get(self, ids: Sequence[str], timeout: float | None) -> list[Document]:
        return [convert.to_document(found) for found in self._index.documents(ids, timeout)]

    def vectors(self, ids: Sequence[str], timeout: float | None) -> list[Record]:
        assert self._schema is not None, "the backend is open"
        schema, read = self._schema, documents_with_vectors(isinstance(self._stored, HalfPrecision))
        [found] = self._index.searches([reading(ids, read)], timeout)
        return [convert.as_compared(convert.to_record(one, schema)) for one in found]

    def delete(self, ids: Sequence[str], timeout: float | None) -> None:
        if failed := self._index.bulk(convert.deletions(ids), timeout):
            # What is refused for good comes first.
            first = min(failed, key=lambda failure: failure.retryable)
            raise errors.PartRefused(f"{first.id!r}: {first.reason}", first.retryable)

    def delete_where(self, filter: Filter | NativeFilter, timeout: float | None) -> None:
        self._index.delete_where(filters.to_query(filter), timeout)

    def count(self, filter: Filter | NativeFilter | None, timeout: float | None) -> int:
        return self._index.count(_query(filter), timeout)

    def scroll(self, filter: Filter | NativeFilter | None, batch_size: int, ask: Ask) -> Iterator[list[Document]]:
        for page in self._index.pages(_query(filter), min(batch_size, MOST_HITS), ask):
            yield [convert.to_document(found) for found in page]

    def scroll_vectors(self, filter: Filter | NativeFilter | None, batch_size: int, ask: Ask) -> Iterator[list[Record]]:
        assert self._schema is not None, "the backend is open"
        schema, read = self._schema, documents_with_vectors(isinstance(self._stored, HalfPrecision))
        for page in self._index.pages(_query(filter), min(batch_size, MOST_HITS), ask, read):
            yield [convert.to_record(found, schema) for found in page]

    def flush(self, timeout: float | None) -> None:
        # A bulk request that waits for the next refresh waits up to a second.
        self._index.refresh(timeout)


def _query(filter: Filter | NativeFilter | None) -> filters.Query | None:
    return None if filter is None else filters.to_query(filter)
