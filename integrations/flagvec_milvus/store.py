"""`MilvusStore`: a collection of Milvus Lite, a Milvus server or Zilliz Cloud, through any ``MilvusClient``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, get_args

from flagvec.filters.portable import Filter, NativeFilter
from flagvec.ingest.report import FailedWrite
from flagvec.ingest.retry import Backoff, Record, Refusal
from flagvec.search.options import SearchOptions, check_choice
from flagvec.store.base import HybridStore
from flagvec.store.capabilities import Capabilities
from flagvec.store.documents import Document, Hit
from flagvec.store.encoding import ColbertOverflow, TextVectors
from flagvec.store.schema import Schema
from flagvec_milvus import convert, faults
from flagvec_milvus.collection import Contents
from flagvec_milvus.convert import Layout
from flagvec_milvus.requests import MOST_ROWS, ConsistencyLevel, Requests
from flagvec_milvus.search import Search
from flagvec_milvus.untyped import MilvusClient

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

# A server takes requests of up to 64 MB: one document may be larger than what several share.
_SHARED_REQUEST_BYTES = 16 * 2**20
_LARGEST_REQUEST_BYTES = 60 * 2**20


class MilvusStore(HybridStore):
    """Documents in a collection of Milvus: Milvus Lite in a file, a server from 2.5 on, or Zilliz Cloud.

    Milvus Lite (``MilvusClient("recipes.db")``, or `lite_client`) is Python in this process, for some ten thousand
    documents. The client stays the caller's: `close` does not close it. Milvus' own errors pass through as its client
    raises them.

    The metadata lie in the JSON field ``metadata``, where native filters find them
    (``NativeFilter('metadata["year"] > 2020')``); those over 65,535 bytes lie beside it and are found by portable
    filters alone. Texts have at most 65,535 bytes.

    Args:
        model: Encodes documents and queries.
        client: Any ``MilvusClient``.
        collection_name: The collection; `create` makes it.
        colbert: Keep ColBERT vectors, if the model gives them: on servers from 2.6.4 on in an array of structs that the
            server compares, elsewhere in float16, to be compared here.
        colbert_overflow: What happens to a text of more ColBERT vectors than the store takes, see `HybridStore`.
        consistency_level: What a search, get or count is sure to find: with ``"Session"`` what this process wrote,
            with ``"Strong"`` what any did, see Milvus' documentation. Milvus Lite is always strong.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> from flagvec_milvus import MilvusStore, lite_client
        >>> model = BGEM3FlagModel("bge-m3")
        >>> store = MilvusStore(model, lite_client("recipes.db"), "recipes")
        >>> store.create()
        >>> report = store.add(["Rice is cooked in water.", "Bread is baked in an oven."])
        >>> [hit.text for hit in store.search("Rice is cooked in water.", limit=1)]
        ['Rice is cooked in water.']
    """

    _MAX_REQUEST_BYTES = _SHARED_REQUEST_BYTES
    # The client itself tries a server that is away until the timeout.
    _BACKOFF = Backoff(attempts=3)

    def __init__(
        self,
        model: AbsEmbedder,
        client: MilvusClient,
        collection_name: str,
        *,
        colbert: bool = True,
        colbert_overflow: ColbertOverflow = "error",
        consistency_level: ConsistencyLevel = "Session",
    ) -> None:
        super().__init__(model, colbert=colbert, colbert_overflow=colbert_overflow)
        check_choice("consistency_level", consistency_level, get_args(ConsistencyLevel))
        self.client = client
        self.collection_name = collection_name
        self._requests = Requests(client, collection_name, consistency_level)
        self._layout = Layout(native_colbert=False, metadata_parts=False, packed_terms=False)
        self._is_unflushed = False

    def __repr__(self) -> str:
        return f"MilvusStore({self.schema.model!r}, {self.collection_name!r})"

    @property
    def capabilities(self) -> Capabilities:
        """What the collection's engine can do; the store must exist."""
        self._open()
        dimension = self.schema.colbert_dimension
        parts = _LARGEST_REQUEST_BYTES // convert.part_bytes(1, dimension) if dimension else None
        return Capabilities(
            multivector=self._layout.native_colbert,
            max_multivector_rows=convert.MAX_ELEMENTS if self._layout.native_colbert else parts,
            native_fusion=frozenset({"rrf"}),
        )

    def _name(self) -> str:
        return self._requests.name

    def _found_schema(self) -> Schema | None:
        if not self._requests.ask(self.client.has_collection):
            return None
        contents = Contents.found(self._requests.ask(self.client.describe_collection), self._name())
        self._layout = contents.layout
        return contents.schema

    def _create(self) -> None:
        engine = self._requests.engine
        contents = Contents.of(self.schema, engine)
        self._requests.ask(self.client.create_collection, **contents.create_arguments(engine))
        # The indexes of an empty collection need no waiting for.
        self._requests.ask(self.client.create_index, index_params=contents.index_params(engine), sync=False)
        self._layout = contents.layout

    def _connect(self) -> None:
        self._requests.ask(self.client.load_collection)

    def _records(self, documents: Sequence[Document]) -> list[Record]:
        for document in documents:
            convert.check_text(document)
        return [convert.with_row(record, self._layout) for record in super()._records(documents)]

    def _record_bytes(self, record: Record) -> int:
        return convert.as_row(record).size

    def _write(self, records: Sequence[Record], timeout: float | None) -> list[FailedWrite]:
        rows = [convert.as_row(record).row for record in records]
        with faults.reported():
            self._requests.ask(self.client.upsert, timeout, data=rows, retry_on_rate_limit=False)
        self._is_unflushed = True
        return []

    def _refusal(self, error: Exception) -> Refusal | None:
        return faults.refusal(error)

    def _commit(self, timeout: float | None) -> None:
        # Milvus Lite searches what is in its file some forty times as fast as what it holds in memory.
        if self._is_unflushed and self._requests.engine.is_lite:
            self._requests.ask(self.client.flush, timeout)
        self._is_unflushed = False

    def _search(self, query: TextVectors, options: SearchOptions) -> list[Hit]:
        if options.candidates > MOST_ROWS and not self._requests.engine.is_lite:
            raise ValueError(
                f"limit={options.limit}, candidates={options.candidates}: a search of a Milvus server finds at most "
                f"{MOST_ROWS:,} documents; scroll goes through all"
            )
        where = self._requests.where(options.filter)
        return Search(self._requests, query, options, where, self._layout).hits()

    def _get(self, ids: Sequence[str], timeout: float | None) -> list[Document]:
        return [convert.to_document(row) for row in self._requests.rows(ids, self._layout.document_fields, timeout)]

    def _delete(self, ids: Sequence[str], timeout: float | None) -> None:
        self._requests.ask(self.client.delete, timeout, **self._requests.chosen(ids).arguments())
        self._is_unflushed = True

    def _delete_where(self, filter: Filter | NativeFilter, timeout: float | None) -> None:
        self._requests.ask(self.client.delete, timeout, **self._requests.where(filter).arguments())
        self._is_unflushed = True

    def _count(self, filter: Filter | NativeFilter | None, timeout: float | None) -> int:
        [row] = self._requests.query(self._requests.where(filter), ["count(*)"], timeout)
        return int(row["count(*)"])

    def _scroll(
        self, filter: Filter | NativeFilter | None, batch_size: int, timeout: float | None
    ) -> Iterator[list[Document]]:
        where = self._requests.where(filter)
        for rows in self._requests.pages(where, self._layout.document_fields, batch_size, timeout):
            yield [convert.to_document(row) for row in rows]
