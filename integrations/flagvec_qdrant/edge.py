"""`EdgeBackend`: a directory that Qdrant's own engine holds open in this process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
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
from flagvec_qdrant import edge_models as native
from flagvec_qdrant import shared_shards
from flagvec_qdrant.convert import point_id, to_documents
from flagvec_qdrant.filters import native_filter, refuse_empty
from flagvec_qdrant.schema import Layout, described_schema, description, max_colbert_rows, missing_indexes
from flagvec_qdrant.search import Stage, find_hits

_DESCRIPTION = "flagvec.json"
_SHARD = "shard"
# Files are made and a shard is deleted under these names. Renaming is atomic, so that a process that dies leaves no
# half of one.
_UNFINISHED_DESCRIPTION = "flagvec.json.new"
_UNFINISHED_SHARD = "shard.new"


class EdgeBackend(Backend[Record]):
    """One directory. There are no requests, so that a timeout has no effect."""

    # Nothing bounds the size of a write. More documents let a model make fuller batches.
    limits = WriteLimits(records=1_024)

    def __init__(self, path: Path, layout: Layout) -> None:
        self._path = path
        self._layout = layout
        self._shared: shared_shards.SharedShard | None = None

    @property
    @override
    def name(self) -> str:
        return f"the store at {str(self._path)!r}"

    @override
    def describe(self) -> Schema | None:
        # Another thread may be creating it.
        with shared_shards.LOCK:
            file = self._path / _DESCRIPTION
            if not file.is_file():
                if self._path.exists() and not _is_empty_directory(self._path, besides=_UNFINISHED_DESCRIPTION):
                    raise StoreError(f"{str(self._path)!r} holds files that flagvec did not make: choose another path")
                return None
            has_shard = (self._path / _SHARD).is_dir()
            try:
                found = _read_description(file)
            except StoreError:
                if has_shard:
                    raise
                # A process died while it created the store.
                return None
            schema = described_schema(found, repr(str(file)), "path")
            return schema if has_shard else None

    @override
    def create(self, schema: Schema) -> None:
        with shared_shards.LOCK:
            # Another thread may have created it meanwhile.
            if self.describe() is None:
                self._create(schema)

    def _create(self, schema: Schema) -> None:
        # A shard that is open was deleted under its owners, and must not be taken for the new one.
        shared_shards.forget(self._path / _SHARD)
        self._path.mkdir(parents=True, exist_ok=True)
        described = self._path / _UNFINISHED_DESCRIPTION
        described.write_text(json.dumps(description(schema), indent=1) + "\n", "utf-8")
        described.replace(self._path / _DESCRIPTION)
        unfinished = self._path / _UNFINISHED_SHARD
        shutil.rmtree(unfinished, ignore_errors=True)
        qdrant_edge.EdgeShard.create(str(unfinished), native.shard_config(schema, self._layout.profile)).close()
        unfinished.rename(self._path / _SHARD)
        if self._shared is not None:
            # This object had the deleted one open, and is not opened again.
            self.open(schema)

    @override
    def open(self, schema: Schema) -> None:
        self._shared = shared_shards.acquire(self._path / _SHARD, self.name)
        try:
            self._index_fields()
        except BaseException:
            self.close()
            raise

    def _index_fields(self) -> None:
        found = self._shard.info().payload_schema
        types = {key: repr(info.data_type).rpartition(".")[2].lower() for key, info in found.items()}
        for key, kind in missing_indexes(self._layout.indexes, types, self.name).items():
            self._shard.update(qdrant_edge.UpdateOperation.create_field_index(key, native.INDEX_TYPES[kind]))

    @override
    def close(self) -> None:
        with shared_shards.LOCK:
            self._shared = None

    @override
    def drop(self) -> None:
        shard, unfinished = self._path / _SHARD, self._path / _UNFINISHED_SHARD
        with shared_shards.LOCK:
            shared_shards.close_for_all(shard, self.name)
            shutil.rmtree(unfinished, ignore_errors=True)
            shard.rename(unfinished)
            shutil.rmtree(unfinished)
            (self._path / _DESCRIPTION).unlink()
            if _is_empty_directory(self._path):
                self._path.rmdir()

    def optimize(self) -> None:
        """Build the index over dense vectors, and free the space of deleted documents."""
        self._shard.optimize()

    @override
    def classify(self, error: Exception) -> Refusal | None:
        # The engine raises bare Exceptions.
        return Refusal(str(error), retryable=False) if type(error) is Exception else None

    @override
    def is_native_filter(self, value: Any) -> bool:
        return isinstance(value, qdrant_edge.Filter)

    @override
    def max_colbert_rows(self, schema: Schema) -> int | None:
        return max_colbert_rows(schema)

    @override
    def prepare(self, records: Sequence[Record]) -> list[Record]:
        # `write` makes the points: the engine holds the GIL while it writes, so that another thread would only wait.
        return list(records)

    @override
    def write(self, rows: Sequence[Record], timeout: float | None) -> list[FailedWrite]:
        points = [native.point(record) for record in rows]
        self._shard.update(qdrant_edge.UpdateOperation.upsert_points(points))
        return []

    @override
    def search(self, query: TextVectors, options: SearchOptions) -> list[Hit]:
        vectors, where = native.vectors(query), native_filter(options.filter, native.TERMS)

        def ask(stages: Sequence[Stage]) -> list[list[qdrant_edge.ScoredPoint]]:
            requests = [native.request(stage, vectors, where) for stage in stages]
            return self._shard.query_batch(qdrant_edge.QueryBatchRequest(requests))

        return find_hits(query, options, ask)

    @override
    def get(self, ids: Sequence[str], timeout: float | None) -> list[Document]:
        return to_documents(self._shard.retrieve([*map(point_id, ids)], with_payload=True, with_vector=False))

    @override
    def delete(self, ids: Sequence[str], timeout: float | None) -> None:
        self._shard.update(qdrant_edge.UpdateOperation.delete_points([*map(point_id, ids)]))

    @override
    def delete_where(self, filter: Filter | NativeFilter, timeout: float | None) -> None:
        refuse_empty(filter)
        where = native_filter(filter, native.TERMS)
        self._shard.update(qdrant_edge.UpdateOperation.delete_points_by_filter(where))

    @override
    def count(self, filter: Filter | NativeFilter | None, timeout: float | None) -> int:
        return self._shard.count(qdrant_edge.CountRequest(exact=True, filter=native_filter(filter, native.TERMS)))

    @override
    def scroll(self, filter: Filter | NativeFilter | None, batch_size: int, ask: Ask) -> Iterator[list[Document]]:
        where, offset = native_filter(filter, native.TERMS), None

        def page(timeout: float | None) -> tuple[list[Any], Any]:
            return self._shard.scroll(
                qdrant_edge.ScrollRequest(
                    offset=offset, limit=batch_size, filter=where, with_payload=True, with_vector=False
                )
            )

        while True:
            points, offset = ask(page)
            if points:
                yield to_documents(points)
            if offset is None:
                return

    @override
    def flush(self, timeout: float | None) -> None:
        self._shard.flush()

    @property
    def _shard(self) -> qdrant_edge.EdgeShard:
        if self._shared is None:
            raise StoreError(f"{self.name} was closed: make a new QdrantEdgeStore")
        if self._shared.dropped:
            raise StoreError(
                f"{self.name} was dropped or deleted, and this object cannot open a new one there: make a new "
                "QdrantEdgeStore, and call its create()"
            )
        return self._shared.shard


def _is_empty_directory(path: Path, besides: str = "") -> bool:
    return path.is_dir() and all(file.name == besides for file in path.iterdir())


def _read_description(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise StoreError(f"{str(file)!r} is damaged: {error}") from error
    if not isinstance(found, dict):
        raise StoreError(f"{str(file)!r} is damaged: it holds {type(found).__name__}, not an object")
    # Older files do not say who made them, and call the version "layout".
    return {"made_by": "flagvec", "version": found["layout"], **found} if "layout" in found else found
