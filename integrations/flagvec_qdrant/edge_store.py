"""`QdrantEdgeStore`: Qdrant's own engine in this process, on a directory."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qdrant_edge as edge

from flagvec.errors import StoreError
from flagvec.ingest.report import FailedWrite
from flagvec.ingest.retry import Record
from flagvec.store.capabilities import Capabilities
from flagvec.store.documents import Document
from flagvec.store.encoding import ColbertOverflow, TextVectors
from flagvec.store.schema import Schema
from flagvec_qdrant import convert, edge_convert
from flagvec_qdrant.point_store import FoundPoint, PointStore
from flagvec_qdrant.storage import FieldType, Storage, check_indexes

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

_LAYOUT = 1
_SCHEMA_FILE = "flagvec.json"
_SHARD = "shard"
_UNFINISHED_SHARD = "shard.new"


class QdrantEdgeStore(PointStore):
    """Documents in a directory, written and searched by the Qdrant engine in this process; no server.

    What `add` and `delete` did is on the disk when they return. One store object at a time can have a directory open,
    in one process; its threads may share it. The engine finds what was written at once, by comparing all documents,
    some 12 ms for 50,000 dense vectors of 1,024 dimensions; for many more `optimize` builds an index.

    Args:
        model: Encodes documents and queries.
        path: The directory; `create` makes it.
        colbert: Keep ColBERT vectors, if the model gives them, in float16.
        colbert_overflow: What happens to a text of more ColBERT vectors than Qdrant takes, 1,023 at 1,024 dimensions:
            ``"error"`` refuses it, ``"truncate"`` keeps its first vectors, ``"pool"`` means neighbouring ones.
        storage: How much memory a new store takes. ``"accurate"`` keeps dense vectors in float32; ``"balanced"`` in
            float16, and after `optimize` compares them as int8 first; ``"small"`` in float16 on the disk, and after
            `optimize` compares them as single bits first. What is compared in short is rescored in full.
        filter_fields: The type of each metadata field that gets an index, which makes filters by it faster:
            ``"keyword"``, ``"float"`` (for all numbers), ``"integer"`` (where all are whole), ``"bool"`` or
            ``"datetime"``. Fields without one can be filtered by all the same.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> model = BGEM3FlagModel("bge-m3")
        >>> with QdrantEdgeStore(model, "recipes") as store:
        ...     store.create()
        ...     report = store.add(["Rice is cooked in water.", "Bread is baked in an oven."])
        ...     store.count(), [hit.text for hit in store.search("Rice is cooked in water.", limit=1)]
        (2, ['Rice is cooked in water.'])
    """

    _TERMS = edge_convert.TERMS
    # No request bounds what is written at once: of more documents a model makes fuller batches.
    _MAX_REQUEST_RECORDS = 1_024

    def __init__(
        self,
        model: AbsEmbedder,
        path: str | os.PathLike[str],
        *,
        colbert: bool = True,
        colbert_overflow: ColbertOverflow = "error",
        storage: Storage = "accurate",
        filter_fields: Mapping[str, FieldType] = convert.NO_FIELDS,
    ) -> None:
        super().__init__(
            model, colbert=colbert, colbert_overflow=colbert_overflow, storage=storage, filter_fields=filter_fields
        )
        self.path = Path(path)
        self._shard: edge.EdgeShard | None = None

    def __repr__(self) -> str:
        return f"QdrantEdgeStore({self.schema.model!r}, {str(self.path)!r})"

    def optimize(self) -> None:
        """Build the index over dense vectors, which makes them faster to search, and drop what deleted documents left.

        It takes up to half a millisecond a document. The engine builds an index over large stores alone; what an index
        finds is approximate.

        Raises:
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        self._open()
        self._engine.optimize()

    @property
    def capabilities(self) -> Capabilities:
        """As of every Qdrant engine; in this process there are no requests that a timeout could bound."""
        return replace(super().capabilities, timeouts=False)

    @property
    def _engine(self) -> edge.EdgeShard:
        assert self._shard is not None, "every verb opens the store first"
        return self._shard

    def _name(self) -> str:
        return f"the store at {str(self.path)!r}"

    def _found_schema(self) -> Schema | None:
        schema_file = self.path / _SCHEMA_FILE
        if not schema_file.is_file():
            if self.path.exists() and not _is_empty_directory(self.path):
                raise StoreError(f"{str(self.path)!r} holds other files and no flagvec store: choose another path")
            return None
        schema = _read_schema(schema_file)
        return schema if (self.path / _SHARD).is_dir() else None

    def _create(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        _write_schema(self.path / _SCHEMA_FILE, self.schema)
        # Renaming makes it whole at once: a process that dies before leaves nothing that create() does not make again.
        unfinished = self.path / _UNFINISHED_SHARD
        shutil.rmtree(unfinished, ignore_errors=True)
        edge.EdgeShard.create(str(unfinished), edge_convert.shard_config(self.schema, self._layout.profile)).close()
        unfinished.rename(self.path / _SHARD)

    def _connect(self) -> None:
        shard = _load(self.path / _SHARD, self._name())
        try:
            self._index_fields(shard)
        except StoreError:
            shard.close()
            raise
        self._shard = shard

    def _index_fields(self, shard: edge.EdgeShard) -> None:
        found = {
            key: repr(info.data_type).rpartition(".")[2].lower() for key, info in shard.info().payload_schema.items()
        }
        for key, kind in check_indexes(self._layout.indexes, found, self._name()).items():
            shard.update(edge.UpdateOperation.create_field_index(key, edge_convert.INDEX_TYPES[kind]))

    def _write(self, records: Sequence[Record], timeout: float | None) -> list[FailedWrite]:
        # Named, so that they are freed once the engine has written them: before, that would take a tenth longer.
        points = [edge_convert.point(record) for record in records]
        self._engine.update(edge.UpdateOperation.upsert_points(points))
        return []

    def _prepared(self, documents: Sequence[Document]) -> list[list[Record]]:
        # Nothing is sent: what was encoded together is written together.
        return [self._records(documents)]

    def _query(
        self, stages: Sequence[convert.Stage], query: TextVectors, where: Any, timeout: float | None
    ) -> list[list[FoundPoint]]:
        vectors = edge_convert.native_vectors(query)
        requests = [edge_convert.request(stage, vectors, where) for stage in stages]
        answers = self._engine.query_batch(edge.QueryBatchRequest(requests))
        return [[FoundPoint(point.id, point.score, point.payload or {}) for point in answer] for answer in answers]

    def _payloads(self, ids: Sequence[str], timeout: float | None) -> list[Mapping[str, Any]]:
        records = self._engine.retrieve(list(ids), with_payload=True, with_vector=False)
        return [record.payload or {} for record in records]

    def _delete_points(self, ids: Sequence[str], timeout: float | None) -> None:
        self._engine.update(edge.UpdateOperation.delete_points(list(ids)))

    def _delete_found(self, where: edge.Filter, timeout: float | None) -> None:
        self._engine.update(edge.UpdateOperation.delete_points_by_filter(where))

    def _count_found(self, where: edge.Filter | None, timeout: float | None) -> int:
        return self._engine.count(edge.CountRequest(exact=True, filter=where))

    def _page(
        self, where: edge.Filter | None, offset: Any, size: int, timeout: float | None
    ) -> tuple[list[Mapping[str, Any]], Any | None]:
        request = edge.ScrollRequest(offset=offset, limit=size, filter=where, with_payload=True, with_vector=False)
        records, following = self._engine.scroll(request)
        return [record.payload or {} for record in records], following

    def _commit(self, timeout: float | None) -> None:
        self._engine.flush()

    def _close(self) -> None:
        if self._shard is not None:
            self._shard.close()


def _is_empty_directory(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _load(path: Path, name: str) -> edge.EdgeShard:
    try:
        return edge.EdgeShard.load(str(path))
    except Exception as error:  # the engine raises no narrower class
        if "WouldBlock" in str(error):
            raise StoreError(
                f"{name} is open already, in this process or another: close it there first; for several processes use "
                "a Qdrant server and QdrantStore"
            ) from error
        raise StoreError(f"{name} cannot be opened: {error}") from error


def _read_schema(path: Path) -> Schema:
    try:
        values = json.loads(path.read_text("utf-8"))
        layout, schema = values["layout"], Schema.from_json(values["schema"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{str(path)!r} is damaged: {error!r}") from error
    if layout != _LAYOUT:
        raise StoreError(f"{str(path)!r} has layout {layout}, this version of flagvec reads {_LAYOUT}: update flagvec")
    return schema


def _write_schema(path: Path, schema: Schema) -> None:
    path.write_text(json.dumps({"layout": _LAYOUT, "schema": schema.to_json()}, indent=1) + "\n", "utf-8")
