"""`ElasticsearchStore`: an index of an Elasticsearch cluster, through any ``Elasticsearch`` client."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast, get_args

from elasticsearch import Elasticsearch

from flagvec.errors import StoreError
from flagvec.filters.portable import Filter, NativeFilter
from flagvec.ingest.report import FailedWrite
from flagvec.ingest.retry import Record, Refusal
from flagvec.search.options import SearchOptions, check_choice
from flagvec.store.base import HybridStore
from flagvec.store.capabilities import Capabilities
from flagvec.store.documents import Document, Hit
from flagvec.store.encoding import ColbertOverflow, TextVectors
from flagvec.store.schema import Schema
from flagvec_elasticsearch import convert, failures, queries, server
from flagvec_elasticsearch.filters import Query, to_query
from flagvec_elasticsearch.layout import (
    ColbertField,
    DenseIndex,
    Layout,
    SparseField,
    layout_of,
    mappings,
    schema_of,
)
from flagvec_elasticsearch.requests import Index
from flagvec_elasticsearch.search import Search

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

# The most vectors that a rank_vectors field takes, in a document as in a query.
_RANK_VECTORS = 8_192


class ElasticsearchStore(HybridStore):
    """Documents in an index of Elasticsearch 8.19 or of 9.1 and up, with any licence.

    The client stays the caller's: `close` does not close it. Elasticsearch's own errors pass through as its client
    raises them. A client of version 9 speaks with no server of version 8.

    The metadata come back as they were, and are indexed beside that as typed terms, so that there may be any number of
    names with values of any types. A native filter finds a string with
    ``NativeFilter({"term": {"typed.strings": "lang=en"}})``.

    Sparse scores are up to 0.4 % low, for Elasticsearch keeps nine significant bits of a document's weights. Of a query
    of over 512 tokens, the heaviest 512 are searched by. A search finds up to 10,000 documents.

    ColBERT vectors lie outside ``_source``: ``_reindex`` and ``_update``, which copy that, lose them.

    Args:
        model: Encodes documents and queries.
        client: Any ``Elasticsearch`` client.
        index_name: The index, or an alias of one; `create` makes it.
        colbert: Keep ColBERT vectors, if the model gives them, in float16.
        colbert_overflow: What happens to a text of more ColBERT vectors than the store takes, see `HybridStore`.
        dense_index: How `create` has dense vectors indexed, see Elasticsearch's ``index_options``; ``"int8_hnsw"``
            where none is given. ``"hnsw"`` takes four times the memory, ``"bbq_hnsw"`` an eighth, ``"flat"`` compares
            all. What an index of shortened numbers finds is scored anew in full, so that scores are exact in each.
        sparse_field: In what `create` has lexical weights kept: ``"rank_features"`` where none is given, or
            ``"sparse_vector"``. Both find the same.
        colbert_field: In what `create` has ColBERT vectors kept: ``"binary"`` where none is given, from which they are
            fetched for a search's candidates and compared here; or ``"rank_vectors"``, which Elasticsearch compares
            itself with an Enterprise licence, by a script of one call.
        native_fusion: Let Elasticsearch fuse by reciprocal ranks in its ``rrf`` retriever where the licence has it, as
            an Enterprise one does; elsewhere flagvec fuses, as `capabilities` says. The hits are the same but for the
            order of exact ties.
        settings: Index settings for `create`, like ``{"number_of_shards": 3}``.

    Raises:
        ValueError: A name that no index can have, or an unknown option.
        StoreError: The version of the client is none that is supported.

    Example:
        >>> from elasticsearch import Elasticsearch
        >>> from flagvec import BGEM3FlagModel
        >>> model = BGEM3FlagModel("bge-m3")
        >>> store = ElasticsearchStore(model, Elasticsearch("http://127.0.0.1:9200"), "recipes")
        >>> store.create()
        >>> report = store.add(["Rice is cooked in water.", "Bread is baked in an oven."])
        >>> [hit.text for hit in store.search("Rice is cooked in water.", limit=1)]
        ['Rice is cooked in water.']
    """

    def __init__(
        self,
        model: AbsEmbedder,
        client: Elasticsearch,
        index_name: str,
        *,
        colbert: bool = True,
        colbert_overflow: ColbertOverflow = "error",
        dense_index: DenseIndex | None = None,
        sparse_field: SparseField | None = None,
        colbert_field: ColbertField | None = None,
        native_fusion: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(model, colbert=colbert, colbert_overflow=colbert_overflow)
        server.check_client()
        check_choice("dense_index", dense_index, [None, *get_args(DenseIndex)])
        check_choice("sparse_field", sparse_field, [None, *get_args(SparseField)])
        check_choice("colbert_field", colbert_field, [None, *get_args(ColbertField)])
        self.client = client
        self.index_name = _checked_name(index_name)
        self.native_fusion = native_fusion
        self._settings = dict(settings or {})
        self._chosen = {"dense_index": dense_index, "sparse_field": sparse_field, "colbert_field": colbert_field}
        # Once the store is open, that of the index.
        self._layout = Layout(dense_index or "int8_hnsw", sparse_field or "rank_features", colbert_field or "binary")
        self._takes_packed_vectors = False
        self._fuses_natively = False
        self._index = Index(client, self.index_name)

    def __repr__(self) -> str:
        return f"ElasticsearchStore({self.schema.model!r}, {self.index_name!r})"

    @property
    def capabilities(self) -> Capabilities:
        """What Elasticsearch does for this store; the store must exist."""
        self._open()
        multivector = self._layout.colbert_field == "rank_vectors"
        return Capabilities(
            multivector=multivector,
            max_multivector_rows=_RANK_VECTORS if multivector else None,
            native_fusion=frozenset({"rrf"} if self._fuses_natively else ()),
        )

    def _name(self) -> str:
        return str(self._index)

    def _found_schema(self) -> Schema | None:
        self._takes_packed_vectors = server.takes_packed_vectors(server.server_version(self.client))
        mapping = self._index.mapping()
        if mapping is None:
            return None
        schema = schema_of(mapping, self._name())
        layout = layout_of(mapping, schema, self._layout, self._name())
        self._check_chosen(layout)
        self._layout = layout
        return schema

    def _check_chosen(self, found: Layout) -> None:
        for name, value in asdict(found).items():
            if self._chosen[name] not in (None, value):
                raise StoreError(
                    f"{self._name()} was made with {name}={value!r}, not {self._chosen[name]!r}: "
                    f"leave {name} out to use it as it is, or make another"
                )

    def _create(self) -> None:
        self._index.create(mappings(self.schema, self._layout), self._settings)

    def _connect(self) -> None:
        self._fuses_natively = self.native_fusion and server.has_enterprise_licence(self.client)

    def _records(self, documents: Sequence[Document]) -> list[Record]:
        # As they are written, which is made while the server writes those before.
        return [*convert.bulk_records(super()._records(documents), self._layout, self._takes_packed_vectors)]

    def _write(self, records: Sequence[Record], timeout: float | None) -> list[FailedWrite]:
        return self._index.bulk(convert.bulk_body(cast("Sequence[convert.BulkRecord]", records)), timeout)

    def _refusal(self, error: Exception) -> Refusal | None:
        return failures.refusal(error)

    def _record_bytes(self, record: Record) -> int:
        return len(cast("convert.BulkRecord", record).lines)

    def _commit(self, timeout: float | None) -> None:
        # A refresh of its own takes milliseconds; a bulk request that waits for the next one waits up to a second.
        self._index.refresh(timeout)

    def _search(self, query: TextVectors, options: SearchOptions) -> list[Hit]:
        if options.candidates > queries.MOST_HITS:
            raise ValueError(
                f"limit={options.limit}, candidates={options.candidates}: a search of Elasticsearch finds at most "
                f"{queries.MOST_HITS} documents; scroll goes through all"
            )
        return Search(self._index, self._layout, query, options).hits(self._fuses_natively)

    def _get(self, ids: Sequence[str], timeout: float | None) -> list[Document]:
        return self._index.documents(ids, timeout)

    def _delete(self, ids: Sequence[str], timeout: float | None) -> None:
        if failed := self._index.bulk(convert.deletion_body(ids), timeout):
            raise StoreError(f"{self._name()}: {failed[0].id!r} was not deleted: {failed[0].reason}")

    def _delete_where(self, filter: Filter | NativeFilter, timeout: float | None) -> None:
        self._index.delete_where(to_query(filter), timeout)

    def _count(self, filter: Filter | NativeFilter | None, timeout: float | None) -> int:
        return self._index.count(_query(filter), timeout)

    def _scroll(
        self, filter: Filter | NativeFilter | None, batch_size: int, timeout: float | None
    ) -> Iterator[list[Document]]:
        return self._index.pages(_query(filter), min(batch_size, queries.MOST_HITS), timeout)


def _query(filter: Filter | NativeFilter | None) -> Query | None:
    return None if filter is None else to_query(filter)


def _checked_name(name: str) -> str:
    # Elasticsearch reads "*" and "," as several indices, of which not even one may be ours.
    if name != name.lower() or not re.fullmatch(r'[^\\/*?"<>| ,#:_+.-][^\\/*?"<>| ,#:]*', name):
        raise ValueError(
            f'index_name={name!r}: a name is in lower case, without \\ / * ? " < > | , # : and spaces, '
            "and begins with none of _ - + ."
        )
    return name
