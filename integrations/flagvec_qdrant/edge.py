"""`EdgeBackend`: a directory that Qdrant's own engine holds open in this process."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import qdrant_edge
from typing_extensions import override

from flagvec.errors import StoreError
from flagvec.filters.portable import Filter, NativeFilter
from flagvec.ingest.report import FailedWrite
from flagvec.search.options import SearchOptions
from flagvec.store.backend import Ask, Backend, Record, Refusal, WriteLimits
from flagvec.store.documents import Document, Hit
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors
from flagvec_qdrant import edge_files, edge_space, shared_shards
from flagvec_qdrant import edge_models as native
from flagvec_qdrant.convert import COLBERT, DOCUMENT_KEYS, PointId, point_uuid, to_documents, to_records
from flagvec_qdrant.edge_search import EdgeSearch, short_filters
from flagvec_qdrant.filters import native_filter, refuse_empty
from flagvec_qdrant.schema import Layout, max_colbert_rows, missing_indexes
from flagvec_qdrant.search import find_hits
from flagvec_qdrant.search_codes import KeptCodes, asked_of_engine, find_hits_by_codes

_logger = logging.getLogger(__name__)

# A long `add` flushes so often, because a power loss would take what was not flushed, and a killed process leaves it to
# the next one to write again. A flush of nothing takes up to 0.1 s (5 ms for each of 15 files), which is 2 %.
COMMIT_SECONDS = 5.0
# A dense search compares as many bytes of unindexed vectors in 6 ms. An index takes a core up to 1.5 ms a document, and
# the engine often rebuilds what is indexed with what is not (`python benchmarks/edge_index.py`).
MOST_UNINDEXED_BYTES = 64_000_000
# A larger store waits for more documents, so that it is not rebuilt too often.
_MOST_UNINDEXED_SHARE = 1 / 8
_FLOAT_BYTES = 4


class EdgeBackend(Backend[Record]):
    """One directory. There are no requests, so that a timeout has no effect.

    Args:
        path: The directory.
        layout: Where a new store keeps vectors, and which fields have an index.
        auto_optimize: Whether `flush` builds the index once a search compares many unindexed vectors.
    """

    # Nothing bounds the size of a write. More documents let a model make fuller batches.
    limits = WriteLimits(records=1_024)

    def __init__(self, path: Path, layout: Layout, *, auto_optimize: bool) -> None:
        self._path = path
        self._layout = layout
        self._auto_optimize = auto_optimize
        self._schema: Schema | None = None
        self._kept: KeptCodes | None = None
        self._shared: shared_shards.SharedShard | None = None
        self._unflushed_since: float | None = None
        self._new_names = edge_files.NewNames(self._shard_path)

    @property
    @override
    def name(self) -> str:
        return f"the store at {str(self._path)!r}"

    @override
    def describe(self) -> Schema | None:
        self.check_usable()
        # Another thread may be creating it.
        with shared_shards.LOCK:
            return edge_files.found_schema(self._path)

    @override
    def create(self, schema: Schema) -> None:
        with shared_shards.LOCK:
            # Another thread may have created it meanwhile.
            if self.describe() is None:
                parent = next(path for path in (self._path, *self._path.parents) if path.exists())
                edge_space.require(parent, edge_space.MARGIN, self.name, "creating it")
                # A shard that is open was deleted under its owners, and must not be taken for the new one.
                shared_shards.forget(self._shard_path)
                edge_files.create(self._path, schema, lambda path: self._make_shard(path, schema))

    def _make_shard(self, path: Path, schema: Schema) -> None:
        qdrant_edge.EdgeShard.create(str(path), native.shard_config(schema, self._layout.profile)).close()
        if schema.colbert_storage is not None:
            edge_files.shorten_log(path)
            qdrant_edge.EdgeShard.load(str(path)).close()

    @override
    def open(self, schema: Schema) -> None:
        self._shared = shared_shards.acquire(self._shard_path, self.name)
        self._schema, self._kept = schema, KeptCodes.of(schema, self.name)
        # A shard that was made anew has files of the same names as the one before it.
        self._new_names = edge_files.NewNames(self._shard_path)
        try:
            self._index_fields()
        except BaseException:
            self.close()
            raise

    def _index_fields(self) -> None:
        found = self._shard.info().payload_schema
        types = {key: repr(info.data_type).rpartition(".")[2].lower() for key, info in found.items()}
        for key, kind in missing_indexes(self._layout.indexes, types, self.name).items():
            edge_space.require_to_optimize(self._shard_path, self.name)
            self._shard.update(qdrant_edge.UpdateOperation.create_field_index(key, native.INDEX_TYPES[kind]))

    @override
    def close(self) -> None:
        with shared_shards.LOCK:
            self._shared = None

    @override
    def check_usable(self) -> None:
        if self._shared is not None and self._shared.process != os.getpid():
            raise StoreError(
                f"{self.name} was opened in process {self._shared.process}, from which this one, {os.getpid()}, was "
                "forked: make the store after forking, or use a Qdrant server and QdrantStore for several processes"
            )

    @override
    def drop(self) -> None:
        with shared_shards.LOCK:
            shared_shards.close_for_all(self._shard_path, self.name)
            edge_files.delete(self._path)

    def optimize(self) -> None:
        """Build the index over dense vectors, and free the space of deleted documents."""
        shard = self._shard
        edge_space.require_to_optimize(self._shard_path, self.name)
        shard.optimize()
        self._make_durable()

    @override
    def classify(self, error: Exception) -> Refusal | None:
        # The engine raises bare Exceptions.
        is_refusal = type(error) is Exception or isinstance(error, edge_space.DiskFullError)
        return Refusal(str(error), retryable=False) if is_refusal else None

    @override
    def is_native_filter(self, value: Any) -> bool:
        return isinstance(value, qdrant_edge.Filter)

    @override
    def compares_colbert(self) -> bool:
        return True

    @override
    def max_colbert_rows(self, schema: Schema) -> int | None:
        return max_colbert_rows(schema)

    @override
    def prepare(self, records: Sequence[Record]) -> list[Record]:
        # `write` makes the points: the engine holds the GIL while it writes, so that another thread would only wait.
        return list(records)

    @override
    def write(self, rows: Sequence[Record], timeout: float | None) -> list[FailedWrite]:
        shard = self._shard
        self._require_space(rows)
        for part in native.short_writes(rows):
            shard.update(qdrant_edge.UpdateOperation.upsert_points([native.point(record) for record in part]))
        self._commit_if_due()
        return []

    def _require_space(self, rows: Sequence[Record]) -> None:
        # Counting takes a hundredth of the time of writing, and most disks have plenty.
        if edge_space.free_bytes(self._path) < edge_space.PLENTY:
            needed = edge_space.MARGIN + sum(map(native.bytes_on_disk, rows))
            edge_space.require(self._path, needed, self.name, f"writing {len(rows)} more documents")

    def _commit_if_due(self) -> None:
        if self._unflushed_since is None:
            self._unflushed_since = monotonic()
        elif monotonic() - self._unflushed_since >= COMMIT_SECONDS:
            self._make_durable()

    @override
    def search(self, query: TextVectors, options: SearchOptions) -> list[Hit]:
        where = native_filter(options.filter, native.TERMS)
        search = EdgeSearch(self._open, asked_of_engine(query, self._kept), where, self._layout.indexes)
        if self._kept is None or COLBERT not in options.representations:
            return find_hits(query, options, search.ask)
        return find_hits_by_codes(query, options, self._kept, search.ask, search.read)

    @override
    def get(self, ids: Sequence[str], timeout: float | None) -> list[Document]:
        points: list[PointId] = [*map(point_uuid, ids)]
        return to_documents(self._shard.retrieve(points, with_payload=list(DOCUMENT_KEYS), with_vector=False))

    @override
    def vectors(self, ids: Sequence[str], timeout: float | None) -> list[Record]:
        points: list[PointId] = [*map(point_uuid, ids)]
        found = self._shard.retrieve(points, with_payload=True, with_vector=True)
        return to_records(found, None if self._kept is None else self._kept.codec)

    @override
    def delete(self, ids: Sequence[str], timeout: float | None) -> None:
        shard = self._shard
        edge_space.require(self._path, edge_space.FLUSH_MARGIN, self.name, "deleting documents")
        shard.update(qdrant_edge.UpdateOperation.delete_points([*map(point_uuid, ids)]))

    @override
    def delete_where(self, filter: Filter | NativeFilter, timeout: float | None) -> None:
        refuse_empty(filter)
        shared, where = self._open, native_filter(filter, native.TERMS)
        edge_space.require(self._path, edge_space.FLUSH_MARGIN, self.name, "deleting documents")
        for part in short_filters(shared, where, self._layout.indexes):
            shared.shard.update(qdrant_edge.UpdateOperation.delete_points_by_filter(part))

    @override
    def count(self, filter: Filter | NativeFilter | None, timeout: float | None) -> int:
        shard = self._shard
        parts = self._short_filters(native_filter(filter, native.TERMS))
        return sum(shard.count(qdrant_edge.CountRequest(exact=True, filter=part)) for part in parts)

    @override
    def scroll(self, filter: Filter | NativeFilter | None, batch_size: int, ask: Ask) -> Iterator[list[Document]]:
        return map(to_documents, self._pages(filter, batch_size, ask, with_vectors=False))

    @override
    def scroll_vectors(self, filter: Filter | NativeFilter | None, batch_size: int, ask: Ask) -> Iterator[list[Record]]:
        pages = self._pages(filter, batch_size, ask, with_vectors=True)
        codec = None if self._kept is None else self._kept.codec
        return (to_records(points, codec) for points in pages)

    def _pages(
        self, filter: Filter | NativeFilter | None, size: int, ask: Ask, with_vectors: bool
    ) -> Iterator[list[Any]]:
        for where in self._short_filters(native_filter(filter, native.TERMS)):
            yield from self._pages_of(where, size, ask, with_vectors)

    def _pages_of(
        self, where: qdrant_edge.Filter | None, size: int, ask: Ask, with_vectors: bool
    ) -> Iterator[list[Any]]:
        offset = None

        def page(timeout: float | None) -> tuple[list[Any], Any]:
            return self._shard.scroll(
                qdrant_edge.ScrollRequest(
                    offset=offset,
                    limit=size,
                    filter=where,
                    with_payload=with_vectors or list(DOCUMENT_KEYS),
                    with_vector=with_vectors,
                )
            )

        while True:
            points, offset = ask(page)
            if points:
                yield points
            if offset is None:
                return

    def _short_filters(self, where: qdrant_edge.Filter | None) -> Sequence[qdrant_edge.Filter | None]:
        return [None] if where is None else short_filters(self._open, where, self._layout.indexes)

    @override
    def flush(self, timeout: float | None) -> None:
        self._make_durable()
        if self._auto_optimize and self._is_slow_to_search():
            try:
                self.optimize()
            except Exception as error:
                # What was written is durable, and is found without an index too.
                if self.classify(error) is None:
                    raise
                _logger.warning("%s got no index over its dense vectors, so searches stay slow: %s", self.name, error)

    def _is_slow_to_search(self) -> bool:
        assert self._schema is not None, "nothing is written before `open`"
        info = self._shard.info()
        unindexed = info.points_count - native.indexed_documents(self._shard, self._schema)
        most = MOST_UNINDEXED_BYTES / (_FLOAT_BYTES * self._schema.dimension)
        return unindexed > max(most, _MOST_UNINDEXED_SHARE * info.points_count)

    def _make_durable(self) -> None:
        shard = self._shard
        edge_space.require(self._path, edge_space.FLUSH_MARGIN, self.name, "flushing it")
        shard.flush()
        self._new_names.sync()
        self._unflushed_since = None

    @property
    def _shard_path(self) -> Path:
        return self._path / edge_files.SHARD

    @property
    def _shard(self) -> qdrant_edge.EdgeShard:
        return self._open.shard

    @property
    def _open(self) -> shared_shards.SharedShard:
        self.check_usable()
        if self._shared is None:
            raise StoreError(f"{self.name} was closed: make a new QdrantEdgeStore")
        if self._shared.dropped:
            raise StoreError(
                f"{self.name} was dropped or deleted, and this object cannot open a new one there: make a new "
                "QdrantEdgeStore, and call its create()"
            )
        return self._shared
