"""Vector configuration, points, filters and searches as qdrant-edge's classes: pure functions."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import qdrant_edge as edge
from more_itertools import constrained_batches
from numpy.typing import NDArray

from flagvec.store.backend import Record
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors
from flagvec_qdrant.convert import COLBERT, DENSE, DOCUMENT_KEYS, SPARSE, PointId, codes_size, point_uuid, to_payload
from flagvec_qdrant.filters import Terms
from flagvec_qdrant.schema import FieldType, Placement, StorageProfile
from flagvec_qdrant.search import OVERSAMPLING, Nearest, ReciprocalRanks, Stage, WeightedSum

INDEX_TYPES: Mapping[FieldType, edge.PayloadSchemaType] = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
    "bool": edge.PayloadSchemaType.Bool,
    "datetime": edge.PayloadSchemaType.Datetime,
}

# ColBERT only scores candidates, one by one, and would not use an index.
_NO_INDEX = edge.HnswIndexConfig(m=0, ef_construct=100, full_scan_threshold=10_000)
# An index is approximate, and chosen points need their exact scores.
_EXACT = edge.SearchParams(exact=True)
# Without an index or quantised vectors this changes nothing. With the engine's own 100, a search finds 86 % of the ten
# nearest among 40,000 vectors that are hard to tell apart, and with 256 it finds 98 % in 3 ms instead of 2
# (`python benchmarks/edge_index.py --documents 40000 --directions 64`).
_RESCORED = edge.SearchParams(
    hnsw_ef=256, quantization=edge.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING)
)
# Of a record on the disk (`bytes_on_disk`), in all copies. A character takes up to 4 bytes in UTF-8.
_BYTES_PER_FLOAT, _BYTES_PER_WEIGHT, _BYTES_PER_CHARACTER, _BYTES_PER_METADATA_BYTE = 9, 24, 12, 3
# 1,024 points in one call are a tenth slower, because they do not fit into a CPU's cache (benchmarks/stores.py).
_POINTS_PER_WRITE = 256
_CHARACTERS_PER_WRITE = 600_000
_BYTES_PER_CODES_CHARACTER, _BYTES_PER_POINT = 2, 1_024

_PLACES: Mapping[Placement, edge.Memory] = {
    "cold": edge.Memory.Cold, "cached": edge.Memory.Cached, "pinned": edge.Memory.Pinned,
}  # fmt: skip


class _EdgeTerms:
    """Conditions as qdrant-edge's classes."""

    def combined(
        self, must: Sequence[Any] = (), should: Sequence[Any] = (), must_not: Sequence[Any] = ()
    ) -> edge.Filter:
        return edge.Filter(must=list(must), should=list(should), must_not=list(must_not))

    def one_of(self, key: str, values: list[Any]) -> edge.FieldCondition:
        return edge.FieldCondition(key, match=edge.MatchAny(values))

    def boolean(self, key: str, value: bool) -> edge.FieldCondition:
        # The engine reads Python's True as the number 1, but numpy's as a boolean.
        return edge.FieldCondition(key, match=edge.MatchValue(np.bool_(value)))  # type: ignore[arg-type]  # see above

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
        DENSE: edge.EdgeVectorParams(
            schema.dimension,
            edge.Distance.Cosine,
            datatype=edge.VectorStorageDatatype.Float16 if profile.half_precision else None,
            quantization_config=_quantization(profile),
            memory=_placement(profile.dense),
        )
    }
    if schema.colbert_dimension is not None and schema.colbert_storage is None:
        vectors[COLBERT] = edge.EdgeVectorParams(
            schema.colbert_dimension,
            edge.Distance.Dot,
            multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim),
            datatype=edge.VectorStorageDatatype.Float16,
            hnsw_config=_NO_INDEX,
            memory=_placement(profile.colbert),
        )
    sparse = {SPARSE: edge.EdgeSparseVectorParams(memory=_placement(profile.sparse))} if schema.sparse else None
    return edge.EdgeConfig(vectors=vectors, sparse_vectors=sparse)


def _placement(placement: Placement | None) -> edge.Memory | None:
    return None if placement is None else _PLACES[placement]


def _quantization(profile: StorageProfile) -> Any:
    match profile.quantization:
        case "int8":
            return edge.ScalarQuantizationConfig(edge.ScalarType.Int8, memory=edge.Memory.Pinned)
        case "binary":
            return edge.BinaryQuantizationConfig(memory=edge.Memory.Pinned)
        case None:
            return None


def vectors(text: TextVectors) -> dict[str, Any]:
    """Return vectors by name, without empty ones, which the engine refuses."""
    native: dict[str, Any] = {}
    if text.dense is not None:
        native[DENSE] = _numbers(text.dense)
    if text.sparse:
        native[SPARSE] = edge.SparseVector(list(text.sparse), list(text.sparse.values()))
    if text.colbert is not None and len(text.colbert):
        native[COLBERT] = [_numbers(row) for row in text.colbert]
    return native


def _numbers(vector: NDArray[np.float32]) -> array[float]:
    # The engine reads Python's arrays in half the time that it takes for numpy's.
    return array("f", vector.tobytes())


def point(record: Record) -> edge.Point:
    """Return a record as a point."""
    return edge.Point(point_uuid(record.document.id), vectors(record.vectors), to_payload(record))


def bytes_on_disk(record: Record) -> int:
    """Return an upper bound on the bytes that a record takes on the disk.

    The log has 5 bytes a float, and the vectors have up to 4. Texts, metadata and codes are written twice.
    """
    document, text = record.document, record.vectors
    floats = sum(vector.size for vector in (text.dense, text.colbert) if vector is not None)
    characters = len(document.id) + len(document.text)
    return (
        _BYTES_PER_FLOAT * floats
        + _BYTES_PER_WEIGHT * len(text.sparse or ())
        + _BYTES_PER_CHARACTER * characters
        + _BYTES_PER_METADATA_BYTE * len(json.dumps(document.metadata))
        + _BYTES_PER_CODES_CHARACTER * codes_size(record)
        + _BYTES_PER_POINT
    )


def short_writes(records: Sequence[Record]) -> Iterable[Sequence[Record]]:
    """Return records in parts that the engine writes in one call each.

    A part with codes is small, because a file of the log takes at least as much as the largest part.
    """
    return constrained_batches(records, _CHARACTERS_PER_WRITE, _POINTS_PER_WRITE, get_len=codes_size, strict=False)


def indexed_documents(shard: edge.EdgeShard, schema: Schema) -> int:
    """Return about how many documents have their dense vectors in the index."""
    # The engine counts the vectors of all names in one sum: all sparse vectors, and the ColBERT vectors of documents
    # whose dense vectors it has indexed.
    indexed = shard.info().indexed_vectors_count - (_documents_with(SPARSE, shard) if schema.sparse else 0)
    is_native = schema.colbert_dimension is not None and schema.colbert_storage is None
    return indexed // 2 if is_native else indexed


def _documents_with(name: str, shard: edge.EdgeShard) -> int:
    having = edge.Filter(must=[edge.HasVectorCondition(name)])
    # An exact count reads every id: 5 ms for 50,000 documents.
    return shard.count(edge.CountRequest(exact=False, filter=having))


def request(stage: Stage, query: Mapping[str, Any], where: edge.Filter | None) -> edge.QueryRequest:
    """Return a stage as a request.

    Args:
        stage: What to ask for.
        query: The query's vectors, as `vectors` returns them.
        where: Holds for the points of the stages that have neither sources nor ``only``.
    """
    return edge.QueryRequest(
        **_fields(stage, query, where), with_payload=list(DOCUMENT_KEYS) if stage.payload else False
    )


def _fields(stage: Stage, query: Mapping[str, Any], where: edge.Filter | None) -> dict[str, Any]:
    return {
        "query": _order(stage, query),
        "prefetches": [edge.Prefetch(**_fields(source, query, where)) for source in stage.sources],
        "filter": _only(stage.only) if stage.only else None if stage.sources else where,
        "params": _EXACT if stage.only else _RESCORED if stage.order == Nearest(DENSE) else None,
        "limit": stage.limit,
    }


def _only(ids: Sequence[PointId]) -> edge.Filter:
    return edge.Filter(must=[edge.HasIdCondition(set(ids))])


def _order(stage: Stage, query: Mapping[str, Any]) -> Any:
    match stage.order:
        case Nearest(name):
            return edge.Query.Nearest(query[name], using=name)
        case ReciprocalRanks(k):
            return edge.Fusion.Rrf(k=k)
        case WeightedSum(factors):
            names = [f"$score[{position}]" for position in range(len(factors))]
            terms = [
                edge.Expression.Mult([edge.Expression.Constant(factor), edge.Expression.Variable(name)])
                for factor, name in zip(factors, names, strict=True)
            ]
            return edge.Formula(edge.Expression.Sum(terms), defaults=dict.fromkeys(names, 0.0))
