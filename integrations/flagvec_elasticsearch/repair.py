"""`RepairBackend`: an index whose documents without ColBERT vectors are read and replaced, unless they changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flagvec.filters.portable import Filter, NativeFilter
from flagvec.store.backend import Ask, Record
from flagvec.store.documents import Document
from flagvec_elasticsearch import convert, queries
from flagvec_elasticsearch.backend import ElasticsearchBackend
from flagvec_elasticsearch.client import Found, Index
from flagvec_elasticsearch.filters import Query
from flagvec_elasticsearch.schema import COLBERT_ROWS, METADATA, TEXT
from flagvec_elasticsearch.stored_colbert import StoredColbert

_DOCUMENTS: Query = {"_source": [TEXT, METADATA], "seq_no_primary_term": True}
# In half precision, the ColBERT vectors of a long text take 11 MB at 1,024 dimensions.
_PAGE_WITH_VECTORS = 16


class RepairBackend(ElasticsearchBackend):
    """An index whose `scroll` yields only the documents without usable ColBERT vectors.

    A document that it has yielded is replaced by `write` only if no one has changed it since.

    Args:
        index: The index.
        chosen: The field types that the caller chose, by the name in `Layout`.
        check_vectors: Read the ColBERT vectors of all documents, to find those that are damaged too.
    """

    def __init__(self, index: Index, chosen: Mapping[str, Any], check_vectors: bool) -> None:
        super().__init__(index, chosen, settings={}, native_fusion=False)
        self._check_vectors = check_vectors
        self._versions: dict[str, convert.Version] = {}

    def scroll(self, filter: Filter | NativeFilter | None, batch_size: int, ask: Ask) -> Iterator[list[Document]]:
        """Yield the documents without usable ColBERT vectors; there is no filter."""
        for page in self._pages(batch_size, ask):
            for found in page:
                self._versions[found["_id"]] = (found["_seq_no"], found["_primary_term"])
            yield [convert.to_document(found) for found in page]

    def prepare(self, records: Sequence[Record]) -> list[bytes]:
        """Return rows that replace a document only in the version that `scroll` has read."""
        versions = {name: self._versions.pop(name) for name in (record.document.id for record in records)}
        return convert.rows(records, self._layout, self._packs_vectors, versions)

    def _pages(self, size: int, ask: Ask) -> Iterator[Sequence[Found]]:
        stored = self._stored
        if not self._check_vectors or stored is None:
            rows_field = COLBERT_ROWS if stored is None else stored.rows_field
            yield from self._index.pages(queries.without_colbert(rows_field), size, ask, _DOCUMENTS)
            return
        read = {
            "_source": stored.read.get("_source", [TEXT, METADATA]),
            "docvalue_fields": [*stored.read["docvalue_fields"], stored.rows_field],
            "seq_no_primary_term": True,
        }
        for page in self._index.pages(None, min(size, _PAGE_WITH_VECTORS), ask, read):
            yield [found for found in page if not _is_intact(found, stored)]


def _is_intact(found: Found, stored: StoredColbert) -> bool:
    rows = queries.value(found, stored.rows_field)
    return bool(rows == 0) if not rows else stored.is_intact(found, rows)
