"""`QdrantEdgeStore`: Qdrant's own engine in this process, on a directory."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flagvec.errors import StoreError
from flagvec.retrieval.schema import Schema
from flagvec.retrieval.store import Record
from flagvec.retrieval.vectors import TextVectors
from flagvec_qdrant import convert
from flagvec_qdrant.point_store import FoundPoint, PointStore

try:
    import qdrant_edge as edge
except ImportError as error:
    raise ImportError("QdrantEdgeStore needs the package qdrant-edge-py: pip install 'flagvec[edge]'") from error

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

_LAYOUT = 1
_SCHEMA_FILE = "flagvec.json"
_SHARD = "shard"
_UNFINISHED_SHARD = "shard.new"
# Vectors that only rerank are compared one by one, so an index over them would be built for nothing.
_NO_INDEX = edge.HnswIndexConfig(m=0, ef_construct=100, full_scan_threshold=10_000)


class QdrantEdgeStore(PointStore):
    """Documents in a directory, written and searched by the Qdrant engine in this process; no server.

    What `add` and `delete` did is on the disk when they return. One store object at a time can have a directory open,
    in one process; its threads may share it. The engine finds what was written at once, by comparing all documents,
    some 12 ms for 50,000 dense vectors of 1,024 dimensions; for many more `optimize` builds an index.

    Args:
        model: Encodes documents and queries.
        path: The directory; `create` makes it.
        colbert: Keep ColBERT vectors, if the model gives them, in float16.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> model = BGEM3FlagModel("bge-m3")
        >>> with QdrantEdgeStore(model, "recipes") as store:
        ...     store.create()
        ...     ids = store.add(["Rice is cooked in water.", "Bread is baked in an oven."])
        ...     store.count(), [hit.text for hit in store.search("Rice is cooked in water.", limit=1)]
        (2, ['Rice is cooked in water.'])
    """

    def __init__(self, model: AbsEmbedder, path: str | os.PathLike[str], *, colbert: bool = True) -> None:
        super().__init__(model, colbert=colbert)
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
        edge.EdgeShard.create(str(unfinished), _shard_config(self.schema)).close()
        unfinished.rename(self.path / _SHARD)

    def _connect(self) -> None:
        self._shard = _load(self.path / _SHARD, self._name())

    def _write(self, records: Sequence[Record]) -> None:
        self._engine.update(edge.UpdateOperation.upsert_points([_point(record) for record in records]))

    def _query(self, stages: Sequence[convert.Stage], query: TextVectors) -> list[list[FoundPoint]]:
        vectors = _native_vectors(query)
        requests = [_request(stage, vectors) for stage in stages]
        answers = self._engine.query_batch(edge.QueryBatchRequest(requests))
        return [[FoundPoint(str(point.id), point.score, point.payload or {}) for point in answer] for answer in answers]

    def _payloads(self, ids: Sequence[str]) -> list[Mapping[str, Any]]:
        records = self._engine.retrieve(list(ids), with_payload=True, with_vector=False)
        return [record.payload or {} for record in records]

    def _delete_points(self, ids: Sequence[str]) -> None:
        self._engine.update(edge.UpdateOperation.delete_points(list(ids)))

    def _count(self) -> int:
        return self._engine.count(edge.CountRequest(exact=True))

    def _commit(self) -> None:
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


def _shard_config(schema: Schema) -> edge.EdgeConfig:
    vectors = {convert.DENSE: edge.EdgeVectorParams(schema.dimension, edge.Distance.Cosine)}
    if schema.colbert_dimension is not None:
        vectors[convert.COLBERT] = edge.EdgeVectorParams(
            schema.colbert_dimension,
            edge.Distance.Dot,
            multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim),
            datatype=edge.VectorStorageDatatype.Float16,
            hnsw_config=_NO_INDEX,
        )
    sparse = {convert.SPARSE: edge.EdgeSparseVectorParams()} if schema.sparse else None
    return edge.EdgeConfig(vectors=vectors, sparse_vectors=sparse)


def _native_vectors(vectors: TextVectors) -> dict[str, Any]:
    """Return the vectors by name as the engine takes them, without empty ones, which it refuses."""
    native: dict[str, Any] = {}
    if vectors.dense is not None:
        native[convert.DENSE] = vectors.dense.tolist()
    if vectors.sparse:
        native[convert.SPARSE] = edge.SparseVector(*convert.sorted_weights(vectors.sparse))
    if vectors.colbert is not None and len(vectors.colbert):
        native[convert.COLBERT] = vectors.colbert.tolist()
    return native


def _point(record: Record) -> edge.Point:
    document = record.document
    return edge.Point(convert.point_id(document.id), _native_vectors(record.vectors), convert.to_payload(document))


def _request(stage: convert.Stage, vectors: Mapping[str, Any]) -> edge.QueryRequest:
    chosen = edge.Filter(must=[edge.HasIdCondition(set(stage.only))]) if stage.only else None
    return edge.QueryRequest(
        limit=stage.limit,
        query=_order(stage, vectors),
        prefetches=[_prefetch(source, vectors) for source in stage.sources],
        filter=chosen,
        # Of chosen points every score is wanted, which an index does not promise.
        params=edge.SearchParams(exact=True) if chosen else None,
        with_payload=stage.payload,
    )


def _prefetch(stage: convert.Stage, vectors: Mapping[str, Any]) -> edge.Prefetch:
    sources = [_prefetch(source, vectors) for source in stage.sources]
    return edge.Prefetch(limit=stage.limit, query=_order(stage, vectors), prefetches=sources)


def _order(stage: convert.Stage, vectors: Mapping[str, Any]) -> Any:
    match stage.order:
        case convert.Nearest(name):
            return edge.Query.Nearest(vectors[name], using=name)
        case convert.ReciprocalRanks(k):
            return edge.Fusion.Rrf(k=k)
        case convert.WeightedSum(factors):
            names = [f"$score[{position}]" for position in range(len(factors))]
            terms = [
                edge.Expression.Mult([edge.Expression.Constant(factor), edge.Expression.Variable(name)])
                for factor, name in zip(factors, names, strict=True)
            ]
            return edge.Formula(edge.Expression.Sum(terms), defaults=dict.fromkeys(names, 0.0))
        case None:
            return None
