"""`RepairBackend`: an index whose documents without ColBERT vectors are read and replaced, unless they changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from flagvec.filters.portable import Filter, NativeFilter
from flagvec.store.backend import Ask, Record
from flagvec.store.documents import Document
from flagvec.store.schema import Schema
from flagvec.store.vectors import LENGTH_TOLERANCE
from flagvec_elasticsearch import convert, queries
from flagvec_elasticsearch.backend import ElasticsearchBackend
from flagvec_elasticsearch.client import Found, Index
from flagvec_elasticsearch.filters import Query
from flagvec_elasticsearch.schema import COLBERT, COLBERT_ROWS, METADATA, TEXT

_DOCUMENTS: Query = {"_source": [TEXT, METADATA], "seq_no_primary_term": True}
# ColBERT vectors of a long text take 11 MB at 1,024 dimensions.
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
        self._dimension = 0
        self._versions: dict[str, convert.Version] = {}

    def open(self, schema: Schema) -> None:
        """Open the index."""
        super().open(schema)
        self._dimension = schema.colbert_dimension or 0

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
        if not self._check_vectors or self._layout.colbert_field != "binary":
            yield from self._index.pages(queries.without_colbert(), size, ask, _DOCUMENTS)
            return
        read = {**_DOCUMENTS, "docvalue_fields": [COLBERT, COLBERT_ROWS]}
        for page in self._index.pages(None, min(size, _PAGE_WITH_VECTORS), ask, read):
            yield [found for found in page if not self._is_intact(found)]

    def _is_intact(self, found: Found) -> bool:
        count = queries.value(found, COLBERT_ROWS)
        if not count:
            return bool(count == 0)
        vectors = convert.colbert_rows(queries.value(found, COLBERT), count, self._dimension)
        if vectors is None:
            return False
        # A comparison with NaN is false. Half precision changes a length of 1 by less.
        return bool(np.all(np.abs(np.linalg.norm(vectors, axis=1) - 1.0) <= 2 * LENGTH_TOLERANCE))
