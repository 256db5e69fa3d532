"""flagvec's records, searches and filters in qdrant-client's models: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from qdrant_client import models

from flagvec.ingest.retry import Record
from flagvec.scoring import colbert_score, dense_score, lexical_score
from flagvec.store.encoding import TextVectors
from flagvec_qdrant import convert
from flagvec_qdrant.filters import Terms

# Of chosen points every score is wanted, which an index does not promise.
_EXACT = models.SearchParams(exact=True)
# Where vectors are kept in a short form too, the best by it are compared in full; elsewhere this changes nothing.
_RESCORED = models.SearchParams(
    quantization=models.QuantizationSearchParams(rescore=True, oversampling=convert.OVERSAMPLING)
)


class _ClientTerms:
    """Conditions as qdrant-client says them; `Terms` says what each means."""

    def combined(
        self, must: Sequence[Any] = (), should: Sequence[Any] = (), must_not: Sequence[Any] = ()
    ) -> models.Filter:
        return models.Filter(must=list(must) or None, should=list(should) or None, must_not=list(must_not) or None)

    def one_of(self, key: str, values: list[Any]) -> models.FieldCondition:
        return models.FieldCondition(key=key, match=models.MatchAny(any=values))

    def truth(self, key: str, value: bool) -> models.FieldCondition:
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


def native_vectors(vectors: TextVectors) -> dict[str, Any]:
    """Return the vectors by name as the client takes them, without empty ones, which a server may refuse.

    All numbers are floats: REST takes a matrix of whole numbers for a sparse vector.
    """
    native: dict[str, Any] = {}
    if vectors.dense is not None:
        native[convert.DENSE] = vectors.dense.tolist()
    if vectors.sparse:
        indices, values = list(vectors.sparse), list(vectors.sparse.values())
        native[convert.SPARSE] = models.SparseVector(indices=indices, values=values)
    if vectors.colbert is not None and len(vectors.colbert):
        native[convert.COLBERT] = vectors.colbert.tolist()
    return native


def scores(vectors: Any, query: TextVectors) -> dict[str, float]:
    """Return a point's score in the model's scale in each of its vectors, which have the names of `native_vectors`."""
    found: dict[str, float] = {}
    for name, vector in (vectors or {}).items():
        match name:
            case convert.DENSE:
                found[name] = float(dense_score(query.dense, vector))
            case convert.SPARSE:
                weights = dict(zip(vector.indices, vector.values, strict=True))
                found[name] = lexical_score(query.sparse or {}, weights)
            case convert.COLBERT:
                found[name] = float(colbert_score(query.colbert, vector))
    return found


def point(record: Record) -> models.PointStruct:
    """Return a record as a point."""
    document = record.document
    # A record is valid; to let the client check it again would take a third of the time that a point takes here.
    return models.PointStruct.model_construct(
        id=convert.point_id(document.id), vector=native_vectors(record.vectors), payload=convert.to_payload(document)
    )


def request(
    stage: convert.Stage, vectors: Mapping[str, Any], where: models.Filter | None, indexed: bool
) -> models.QueryRequest:
    """Return an outermost stage as a request.

    Args:
        stage: What to ask for.
        vectors: The query's vectors, of `native_vectors`.
        where: Holds for the points that the innermost stages find.
        indexed: Whether the engine has indexes; the local mode has none, and warns of parameters for them.
    """
    chosen = models.Filter(must=[models.HasIdCondition(has_id=list(stage.only))]) if stage.only else None
    return models.QueryRequest(
        query=_order(stage, vectors),
        using=_using(stage),
        prefetch=[_prefetch(source, vectors, where, indexed) for source in stage.sources] or None,
        filter=chosen or (None if stage.sources else where),
        params=_EXACT if chosen and indexed else _params(stage, indexed),
        limit=stage.limit,
        with_payload=stage.payload,
    )


def _prefetch(
    stage: convert.Stage, vectors: Mapping[str, Any], where: models.Filter | None, indexed: bool
) -> models.Prefetch:
    return models.Prefetch(
        query=_order(stage, vectors),
        using=_using(stage),
        prefetch=[_prefetch(source, vectors, where, indexed) for source in stage.sources] or None,
        filter=None if stage.sources else where,
        params=_params(stage, indexed),
        limit=stage.limit,
    )


def _using(stage: convert.Stage) -> str | None:
    return stage.order.vector if isinstance(stage.order, convert.Nearest) else None


def _params(stage: convert.Stage, indexed: bool) -> models.SearchParams | None:
    return _RESCORED if indexed and stage.order == convert.Nearest(convert.DENSE) else None


def _order(stage: convert.Stage, vectors: Mapping[str, Any]) -> Any:
    match stage.order:
        case convert.Nearest(name):
            return models.NearestQuery(nearest=vectors[name])
        case convert.ReciprocalRanks(k):
            return models.RrfQuery(rrf=models.Rrf(k=k))
        case convert.WeightedSum(factors):
            names = [f"$score[{position}]" for position in range(len(factors))]
            terms: list[models.Expression] = [
                models.MultExpression(mult=[factor, name]) for factor, name in zip(factors, names, strict=True)
            ]
            return models.FormulaQuery(formula=models.SumExpression(sum=terms), defaults=dict.fromkeys(names, 0.0))
