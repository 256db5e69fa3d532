"""`QdrantStore`: a collection of a Qdrant server, cloud or local mode, through any ``QdrantClient``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flagvec.errors import StoreError
from flagvec.retrieval.batches import batches
from flagvec.retrieval.schema import Schema
from flagvec.retrieval.store import Record
from flagvec.retrieval.vectors import TextVectors
from flagvec_qdrant import convert
from flagvec_qdrant.point_store import FoundPoint, PointStore

try:
    from qdrant_client import QdrantClient, models
except ImportError as error:
    raise ImportError("QdrantStore needs the package qdrant-client: pip install 'flagvec[qdrant]'") from error

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

_MODEL_NAME = "flagvec_model"
# A server refuses requests over 32 MB by default.
_REQUEST_BYTES = 16 * 2**20
_POINTS_PER_REQUEST = 256
# Of unit vectors, which all that a store writes are, both are the same.
_DOT_PRODUCTS = (models.Distance.COSINE, models.Distance.DOT)


class QdrantStore(PointStore):
    """Documents in a collection of Qdrant: a server over REST or gRPC, Qdrant Cloud, or the client's local mode.

    Local mode (``":memory:"`` or ``path=``) is Python, made for tests and a few thousand documents;
    `QdrantEdgeStore` is the engine itself in the process. The client stays the caller's: `close` does not close it.
    Qdrant's own errors pass through as its client raises them.

    Args:
        model: Encodes documents and queries.
        client: Any ``QdrantClient``; with ``prefer_grpc=True`` writing to a server is about twice as fast.
        collection_name: The collection; `create` makes it.
        colbert: Keep ColBERT vectors, if the model gives them, in float16.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> from qdrant_client import QdrantClient
        >>> model = BGEM3FlagModel("bge-m3")
        >>> store = QdrantStore(model, QdrantClient(":memory:"), "recipes")
        >>> store.create()
        >>> ids = store.add(["Rice is cooked in water.", "Bread is baked in an oven."])
        >>> [hit.text for hit in store.search("Rice is cooked in water.", limit=1)]
        ['Rice is cooked in water.']
    """

    def __init__(self, model: AbsEmbedder, client: QdrantClient, collection_name: str, *, colbert: bool = True) -> None:
        super().__init__(model, colbert=colbert)
        self.client = client
        self.collection_name = collection_name
        # Of chosen points every score is wanted, which an index does not promise. Local mode has none, and warns.
        self._exact = None if _is_local(client) else models.SearchParams(exact=True)

    def __repr__(self) -> str:
        return f"QdrantStore({self.schema.model!r}, {self.collection_name!r})"

    def _name(self) -> str:
        return f"the collection {self.collection_name!r}"

    def _found_schema(self) -> Schema | None:
        if not self.client.collection_exists(self.collection_name):
            return None
        config = self.client.get_collection(self.collection_name).config
        model = (config.metadata or {}).get(_MODEL_NAME, self.schema.model)
        return _schema_of(config.params, model, self._name())

    def _create(self) -> None:
        self.client.create_collection(
            self.collection_name,
            vectors_config=_vector_params(self.schema),
            sparse_vectors_config={convert.SPARSE: models.SparseVectorParams()} if self.schema.sparse else None,
            metadata={_MODEL_NAME: self.schema.model},
        )

    def _write(self, records: Sequence[Record]) -> None:
        for part in batches(records, _POINTS_PER_REQUEST, convert.json_size, _REQUEST_BYTES):
            self.client.upsert(self.collection_name, [_point(record) for record in part], wait=True)

    def _query(self, stages: Sequence[convert.Stage], query: TextVectors) -> list[list[FoundPoint]]:
        vectors = _native_vectors(query)
        requests = [_request(stage, vectors, self._exact) for stage in stages]
        answers = self.client.query_batch_points(self.collection_name, requests)
        return [
            [FoundPoint(str(point.id), point.score, point.payload or {}) for point in answer.points]
            for answer in answers
        ]

    def _payloads(self, ids: Sequence[str]) -> list[Mapping[str, Any]]:
        records = self.client.retrieve(self.collection_name, list(ids), with_payload=True, with_vectors=False)
        return [record.payload or {} for record in records]

    def _delete_points(self, ids: Sequence[str]) -> None:
        self.client.delete(self.collection_name, models.PointIdsList(points=list(ids)), wait=True)

    def _count(self) -> int:
        return self.client.count(self.collection_name, exact=True).count


def _is_local(client: QdrantClient) -> bool:
    options = client.init_options
    return options["location"] == ":memory:" or options["path"] is not None


def _vector_params(schema: Schema) -> dict[str, models.VectorParams]:
    params = {convert.DENSE: models.VectorParams(size=schema.dimension, distance=models.Distance.COSINE)}
    if schema.colbert_dimension is not None:
        params[convert.COLBERT] = models.VectorParams(
            size=schema.colbert_dimension,
            distance=models.Distance.DOT,
            multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
            datatype=models.Datatype.FLOAT16,
            # Vectors that only rerank are compared one by one, so an index over them would be built for nothing.
            hnsw_config=models.HnswConfigDiff(m=0),
        )
    return params


def _schema_of(params: models.CollectionParams, model: str, name: str) -> Schema:
    """Return the schema of a collection.

    Raises:
        StoreError: It is none that a flagvec store can use; says why.
    """
    vectors = params.vectors if isinstance(params.vectors, dict) else {}
    dense, colbert = vectors.get(convert.DENSE), vectors.get(convert.COLBERT)
    sparse = (params.sparse_vectors or {}).get(convert.SPARSE)
    if dense is None:
        raise _unusable(name, "it has no vector named 'dense'")
    if dense.multivector_config is not None or dense.distance not in _DOT_PRODUCTS:
        raise _unusable(name, f"its vector 'dense' is {dense.distance.value}, multivector {dense.multivector_config}")
    if colbert is not None and (colbert.multivector_config is None or colbert.distance not in _DOT_PRODUCTS):
        raise _unusable(
            name, f"its vector 'colbert' is {colbert.distance.value}, multivector {colbert.multivector_config}"
        )
    if sparse is not None and sparse.modifier not in (None, models.Modifier.NONE):
        raise _unusable(
            name, f"the modifier {sparse.modifier.value} of its vector 'sparse' changes the model's weights"
        )
    return Schema(
        model=model,
        dimension=dense.size,
        sparse=sparse is not None,
        colbert_dimension=colbert.size if colbert else None,
    )


def _unusable(name: str, reason: str) -> StoreError:
    return StoreError(f"{name} cannot hold flagvec's documents: {reason}; choose another collection_name")


def _native_vectors(vectors: TextVectors) -> dict[str, Any]:
    """Return the vectors by name as the client takes them, without empty ones, which a server may refuse."""
    native: dict[str, Any] = {}
    if vectors.dense is not None:
        native[convert.DENSE] = vectors.dense.tolist()
    if vectors.sparse:
        indices, values = convert.sorted_weights(vectors.sparse)
        native[convert.SPARSE] = models.SparseVector(indices=indices, values=values)
    if vectors.colbert is not None and len(vectors.colbert):
        native[convert.COLBERT] = vectors.colbert.tolist()
    return native


def _point(record: Record) -> models.PointStruct:
    document = record.document
    return models.PointStruct(
        id=convert.point_id(document.id), vector=_native_vectors(record.vectors), payload=convert.to_payload(document)
    )


def _request(
    stage: convert.Stage, vectors: Mapping[str, Any], exact: models.SearchParams | None
) -> models.QueryRequest:
    chosen = models.Filter(must=[models.HasIdCondition(has_id=list(stage.only))]) if stage.only else None
    return models.QueryRequest(
        query=_order(stage, vectors),
        using=_using(stage),
        prefetch=[_prefetch(source, vectors) for source in stage.sources] or None,
        filter=chosen,
        params=exact if chosen else None,
        limit=stage.limit,
        with_payload=stage.payload,
    )


def _prefetch(stage: convert.Stage, vectors: Mapping[str, Any]) -> models.Prefetch:
    return models.Prefetch(
        query=_order(stage, vectors),
        using=_using(stage),
        prefetch=[_prefetch(source, vectors) for source in stage.sources] or None,
        limit=stage.limit,
    )


def _using(stage: convert.Stage) -> str | None:
    return stage.order.vector if isinstance(stage.order, convert.Nearest) else None


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
        case None:
            return None
