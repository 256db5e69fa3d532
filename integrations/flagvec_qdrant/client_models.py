"""Vector configuration, points, filters and searches as qdrant-client's models: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from qdrant_client import models

from flagvec.scoring import colbert_score, dense_score, lexical_score
from flagvec.store.backend import Record
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors
from flagvec_qdrant.convert import COLBERT, DENSE, DOCUMENT_KEYS, SPARSE, point_id, to_payload
from flagvec_qdrant.filters import Terms
from flagvec_qdrant.schema import Placement, StorageProfile
from flagvec_qdrant.search import OVERSAMPLING, Nearest, ReciprocalRanks, Stage, WeightedSum, score_scale

_MEMORY_SINCE = (1, 19)
_HAS_MEMORY = "memory" in models.VectorParams.model_fields
# An index is approximate, and chosen points need their exact scores.
_EXACT = models.SearchParams(exact=True)
# Without quantised vectors this changes nothing.
_RESCORED = models.SearchParams(quantization=models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING))


class _ClientTerms:
    """Conditions as qdrant-client's models."""

    def combined(
        self, must: Sequence[Any] = (), should: Sequence[Any] = (), must_not: Sequence[Any] = ()
    ) -> models.Filter:
        return models.Filter(must=list(must) or None, should=list(should) or None, must_not=list(must_not) or None)

    def one_of(self, key: str, values: list[Any]) -> models.FieldCondition:
        return models.FieldCondition(key=key, match=models.MatchAny(any=values))

    def boolean(self, key: str, value: bool) -> models.FieldCondition:
        return models.FieldCondition(key=key, match=models.MatchValue(value=value))

    def numbers(self, key: str, bounds: Mapping[str, float]) -> models.FieldCondition:
        return models.FieldCondition(key=key, range=models.Range(**bounds))

    def moments(self, key: str, bounds: Mapping[str, datetime]) -> models.FieldCondition:
        return models.FieldCondition(key=key, range=models.DatetimeRange(**bounds))

    def empty(self, key: str) -> models.IsEmptyCondition:
        return models.IsEmptyCondition(is_empty=models.PayloadField(key=key))

    def nowhere(self) -> models.HasIdCondition:
        return models.HasIdCondition(has_id=[])


TERMS: Terms = _ClientTerms()


def vector_params(schema: Schema, profile: StorageProfile, has_memory: bool) -> dict[str, models.VectorParams]:
    """Return the configuration of a new collection's dense and ColBERT vectors.

    Args:
        schema: What the collection holds.
        profile: Where vectors lie, and how exact they are.
        has_memory: What `knows_memory` says of the server.
    """
    params = {
        DENSE: models.VectorParams(
            size=schema.dimension,
            distance=models.Distance.COSINE,
            datatype=models.Datatype.FLOAT16 if profile.half_precision else None,
            quantization_config=_quantization(profile, has_memory),
            **_placement(profile.dense, has_memory),
        )
    }
    if schema.colbert_dimension is not None and schema.colbert_storage is None:
        params[COLBERT] = models.VectorParams(
            size=schema.colbert_dimension,
            distance=models.Distance.DOT,
            multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
            datatype=models.Datatype.FLOAT16,
            # ColBERT only scores candidates, one by one, and would not use an index.
            hnsw_config=models.HnswConfigDiff(m=0),
            **_placement(profile.colbert, has_memory),
        )
    return params


def sparse_params(profile: StorageProfile, has_memory: bool) -> dict[str, models.SparseVectorParams]:
    """Return the configuration of a new collection's lexical weights."""
    placement = _placement(profile.sparse, has_memory)
    return {SPARSE: models.SparseVectorParams(index=models.SparseIndexParams(**placement) if placement else None)}


def _placement(placement: Placement | None, has_memory: bool) -> dict[str, Any]:
    if placement is None:
        return {}
    return {"memory": placement} if has_memory else {"on_disk": placement == "cold"}


def _quantization(profile: StorageProfile, has_memory: bool) -> Any:
    in_memory: dict[str, Any] = {"memory": "pinned"} if has_memory else {"always_ram": True}
    match profile.quantization:
        case "int8":
            config = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, **in_memory)
            return models.ScalarQuantization(scalar=config)
        case "binary":
            return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(**in_memory))
        case None:
            return None


def knows_memory(major: int, minor: int) -> bool:
    """Return whether client and server say where vectors lie by ``memory``, which replaced ``on_disk`` in 1.19."""
    return _HAS_MEMORY and (major, minor) >= _MEMORY_SINCE


def schema_of_params(params: models.CollectionParams, model: str) -> Schema:
    """Return the schema of a collection that flagvec made before it kept the schema with it.

    Raises:
        KeyError: The collection has no dense vectors of flagvec's name.
    """
    vectors = params.vectors if isinstance(params.vectors, dict) else {}
    colbert = vectors.get(COLBERT)
    return Schema(
        model=model,
        dimension=vectors[DENSE].size,
        sparse=SPARSE in (params.sparse_vectors or {}),
        colbert_dimension=colbert.size if colbert else None,
    )


def vectors(text: TextVectors) -> dict[str, Any]:
    """Return vectors by name, without empty ones, which a server may refuse."""
    native: dict[str, Any] = {}
    if text.dense is not None:
        native[DENSE] = text.dense.tolist()
    if text.sparse:
        native[SPARSE] = models.SparseVector(indices=list(text.sparse), values=list(text.sparse.values()))
    if text.colbert is not None and len(text.colbert):
        native[COLBERT] = text.colbert.tolist()
    return native


def point(record: Record) -> models.PointStruct:
    """Return a record as a point."""
    return models.PointStruct(
        id=point_id(record.document.id), vector=vectors(record.vectors), payload=to_payload(record)
    )


def request(
    stage: Stage, query: Mapping[str, Any], where: models.Filter | None, has_indexes: bool
) -> models.QueryRequest:
    """Return an outermost stage as a request.

    Args:
        stage: What to ask for.
        query: The query's vectors, as `vectors` returns them.
        where: Holds for the points of the stages without sources.
        has_indexes: Whether the engine has indexes. Local mode has none, and warns of their parameters.
    """
    fields = _fields(stage, query, where, has_indexes)
    if stage.only:
        fields["filter"] = models.Filter(must=[models.HasIdCondition(has_id=list(stage.only))])
        fields["params"] = _EXACT if has_indexes else None
    return models.QueryRequest(**fields, with_payload=list(DOCUMENT_KEYS) if stage.payload else False)


def _fields(stage: Stage, query: Mapping[str, Any], where: models.Filter | None, has_indexes: bool) -> dict[str, Any]:
    sources = [models.Prefetch(**_fields(source, query, where, has_indexes)) for source in stage.sources]
    return {
        "query": _order(stage, query),
        "using": stage.order.vector if isinstance(stage.order, Nearest) else None,
        "prefetch": sources or None,
        "filter": None if sources else where,
        "params": _RESCORED if has_indexes and stage.order == Nearest(DENSE) else None,
        "limit": stage.limit,
    }


def _order(stage: Stage, query: Mapping[str, Any]) -> Any:
    match stage.order:
        case Nearest(name):
            return models.NearestQuery(nearest=query[name])
        case ReciprocalRanks(k):
            return models.RrfQuery(rrf=models.Rrf(k=k))
        case WeightedSum(factors):
            names = [f"$score[{position}]" for position in range(len(factors))]
            terms: list[models.Expression] = [
                models.MultExpression(mult=[factor, name]) for factor, name in zip(factors, names, strict=True)
            ]
            return models.FormulaQuery(formula=models.SumExpression(sum=terms), defaults=dict.fromkeys(names, 0.0))


def scored_points(stage: Stage, query: TextVectors, records: Sequence[models.Record]) -> list[models.ScoredPoint]:
    """Return points that came with their vectors, with the scores that Qdrant gives them in a `Nearest` stage."""
    assert isinstance(stage.order, Nearest), "only representations score chosen points"
    name = stage.order.vector
    return [
        models.ScoredPoint(id=record.id, version=0, score=_score(name, record.vector[name], query))
        for record in records
        if isinstance(record.vector, dict) and name in record.vector
    ]


def _score(representation: str, vector: Any, query: TextVectors) -> float:
    match representation:
        case "dense":
            return float(dense_score(query.dense, vector))
        case "sparse":
            return lexical_score(query.sparse or {}, dict(zip(vector.indices, vector.values, strict=True)))
        case _:
            # Qdrant's score is the sum over the query's vectors, and `colbert_score` their mean.
            return float(colbert_score(query.colbert, vector)) / score_scale(COLBERT, query)
