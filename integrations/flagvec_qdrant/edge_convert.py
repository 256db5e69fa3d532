"""flagvec's records, searches and filters in qdrant-edge's classes: pure functions."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import qdrant_edge as edge
from numpy.typing import NDArray

from flagvec.ingest.retry import Record
from flagvec.store.encoding import TextVectors
from flagvec.store.schema import Schema
from flagvec_qdrant import convert
from flagvec_qdrant.filters import Terms
from flagvec_qdrant.storage import FieldType, Placement, StorageProfile

INDEX_TYPES: Mapping[FieldType, edge.PayloadSchemaType] = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
    "bool": edge.PayloadSchemaType.Bool,
    "datetime": edge.PayloadSchemaType.Datetime,
}

# Vectors that only rerank are compared one by one, so an index over them would be built for nothing.
_NO_INDEX = edge.HnswIndexConfig(m=0, ef_construct=100, full_scan_threshold=10_000)
# Of chosen points every score is wanted, which an index does not promise.
_EXACT = edge.SearchParams(exact=True)
# Where vectors are kept in a short form too, the best by it are compared in full; elsewhere this changes nothing.
_RESCORED = edge.SearchParams(
    quantization=edge.QuantizationSearchParams(rescore=True, oversampling=convert.OVERSAMPLING)
)
_PLACES: Mapping[Placement, edge.Memory] = {
    "cold": edge.Memory.Cold, "cached": edge.Memory.Cached, "pinned": edge.Memory.Pinned,
}  # fmt: skip


class _EdgeTerms:
    """Conditions as qdrant-edge says them; `Terms` says what each means."""

    def combined(
        self, must: Sequence[Any] = (), should: Sequence[Any] = (), must_not: Sequence[Any] = ()
    ) -> edge.Filter:
        return edge.Filter(must=list(must), should=list(should), must_not=list(must_not))

    def one_of(self, key: str, values: list[Any]) -> edge.FieldCondition:
        return edge.FieldCondition(key, match=edge.MatchAny(values))

    def truth(self, key: str, value: bool) -> edge.FieldCondition:
        # The engine takes Python's True for the number 1, and numpy's for what it is.
        return edge.FieldCondition(key, match=edge.MatchValue(np.bool_(value)))  # type: ignore[arg-type]  # as said

    def numbers(self, key: str, bounds: Mapping[str, float]) -> edge.FieldCondition:
        return edge.FieldCondition(key, range=edge.RangeFloat(**bounds))

    def moments(self, key: str, bounds: Mapping[str, datetime]) -> edge.FieldCondition:
        written = {name: moment.isoformat() for name, moment in bounds.items()}
        return edge.FieldCondition(key, range=edge.RangeDateTime(**written))

    def empty(self, key: str) -> edge.IsEmptyCondition:
        return edge.IsEmptyCondition(key)

    def nowhere(self) -> edge.HasIdCondition:
        return edge.HasIdCondition(set())


TERMS: Terms = _EdgeTerms()


def shard_config(schema: Schema, profile: StorageProfile) -> edge.EdgeConfig:
    """Return the configuration of a new shard."""
    vectors = {
        convert.DENSE: edge.EdgeVectorParams(
            schema.dimension,
            edge.Distance.Cosine,
            datatype=edge.VectorStorageDatatype.Float16 if profile.half_precision else None,
            quantization_config=_quantization(profile),
            memory=_place(profile.dense),
        )
    }
    if schema.colbert_dimension is not None:
        vectors[convert.COLBERT] = edge.EdgeVectorParams(
            schema.colbert_dimension,
            edge.Distance.Dot,
            multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim),
            datatype=edge.VectorStorageDatatype.Float16,
            hnsw_config=_NO_INDEX,
            memory=_place(profile.colbert),
        )
    sparse = {convert.SPARSE: edge.EdgeSparseVectorParams(memory=_place(profile.sparse))} if schema.sparse else None
    return edge.EdgeConfig(vectors=vectors, sparse_vectors=sparse)


def _place(placement: Placement | None) -> edge.Memory | None:
    return None if placement is None else _PLACES[placement]


def _quantization(profile: StorageProfile) -> Any:
    match profile.quantization:
        case "int8":
            return edge.ScalarQuantizationConfig(edge.ScalarType.Int8, memory=edge.Memory.Pinned)
        case "binary":
            return edge.BinaryQuantizationConfig(memory=edge.Memory.Pinned)
        case None:
            return None


def native_vectors(vectors: TextVectors) -> dict[str, Any]:
    """Return the vectors by name as the engine takes them, without empty ones, which it refuses."""
    native: dict[str, Any] = {}
    if vectors.dense is not None:
        native[convert.DENSE] = _numbers(vectors.dense)
    if vectors.sparse:
        native[convert.SPARSE] = edge.SparseVector(list(vectors.sparse), list(vectors.sparse.values()))
    if vectors.colbert is not None and len(vectors.colbert):
        native[convert.COLBERT] = [_numbers(row) for row in vectors.colbert]
    return native


def _numbers(vector: NDArray[np.float32]) -> array[float]:
    """Return a vector in the form that the engine reads fastest: in half the time of an array of numpy's."""
    return array("f", vector.tobytes())


def point(record: Record) -> edge.Point:
    """Return a record as a point."""
    document = record.document
    return edge.Point(convert.point_id(document.id), native_vectors(record.vectors), convert.to_payload(document))


def request(stage: convert.Stage, vectors: Mapping[str, Any], where: edge.Filter | None) -> edge.QueryRequest:
    """Return an outermost stage as a request; `where` holds for the points that its innermost stages find."""
    chosen = edge.Filter(must=[edge.HasIdCondition(set(stage.only))]) if stage.only else None
    return edge.QueryRequest(
        limit=stage.limit,
        query=_order(stage, vectors),
        prefetches=[_prefetch(source, vectors, where) for source in stage.sources],
        filter=chosen or (None if stage.sources else where),
        params=_EXACT if chosen else _params(stage),
        with_payload=stage.payload,
    )


def _prefetch(stage: convert.Stage, vectors: Mapping[str, Any], where: edge.Filter | None) -> edge.Prefetch:
    return edge.Prefetch(
        limit=stage.limit,
        query=_order(stage, vectors),
        prefetches=[_prefetch(source, vectors, where) for source in stage.sources],
        filter=None if stage.sources else where,
        params=_params(stage),
    )


def _params(stage: convert.Stage) -> edge.SearchParams | None:
    return _RESCORED if stage.order == convert.Nearest(convert.DENSE) else None


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
