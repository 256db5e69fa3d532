"""`QdrantStore`: a collection of a Qdrant server, cloud or local mode, through any ``QdrantClient``."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qdrant_client import models

from flagvec.ingest.report import FailedWrite
from flagvec.ingest.retry import Record, Refusal
from flagvec.store.capabilities import Capabilities
from flagvec.store.encoding import ColbertOverflow, TextVectors
from flagvec.store.schema import Schema
from flagvec_qdrant import client_convert, client_schema, convert
from flagvec_qdrant.client_errors import refusal_of
from flagvec_qdrant.point_store import FoundPoint, OwnScores, PointStore
from flagvec_qdrant.storage import FieldType, Storage, check_indexes

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

    from flagvec.embedder import AbsEmbedder

_MODEL_NAME = "flagvec_model"


class QdrantStore(PointStore):
    """Documents in a collection of Qdrant: a server over REST or gRPC, Qdrant Cloud, or the client's local mode.

    Local mode (``":memory:"`` or ``path=``) is Python, made for tests and a few thousand documents;
    `QdrantEdgeStore` is the engine itself in the process. The client stays the caller's: `close` does not close it.
    Qdrant's own errors pass through as its client raises them, but for those of documents, which are in the report.

    Args:
        model: Encodes documents and queries.
        client: Any ``QdrantClient``; with ``prefer_grpc=True`` writing to a server is about twice as fast. Over gRPC it
            ends a write after its own ``timeout``, 5 seconds by default, also where a verb's is longer.
        collection_name: The collection; `create` makes it.
        colbert: Keep ColBERT vectors, if the model gives them, in float16.
        colbert_overflow: What happens to a text of more ColBERT vectors than Qdrant takes, 1,023 at 1,024 dimensions:
            ``"error"`` refuses it, ``"truncate"`` keeps its first vectors, ``"pool"`` means neighbouring ones.
        storage: How much memory a new collection takes. ``"accurate"`` keeps dense vectors in float32;
            ``"balanced"`` in float16, which are compared as int8 first, and ColBERT vectors on the disk; ``"small"``
            all vectors on the disk, the dense ones compared as single bits first. What is compared in short is
            rescored in full. The local mode keeps everything in memory in float32.
        filter_fields: The type of each metadata field that gets an index, which makes filters by it fast, and which a
            server in strict mode asks for: ``"keyword"``, ``"float"`` (for all numbers), ``"integer"`` (where all are
            whole), ``"bool"`` or ``"datetime"``. The local mode has no indexes.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> from qdrant_client import QdrantClient
        >>> model = BGEM3FlagModel("bge-m3")
        >>> store = QdrantStore(model, QdrantClient(":memory:"), "recipes")
        >>> store.create()
        >>> report = store.add(["Rice is cooked in water.", "Bread is baked in an oven."])
        >>> [hit.text for hit in store.search("Rice is cooked in water.", limit=1)]
        ['Rice is cooked in water.']
    """

    _TERMS = client_convert.TERMS

    def __init__(
        self,
        model: AbsEmbedder,
        client: QdrantClient,
        collection_name: str,
        *,
        colbert: bool = True,
        colbert_overflow: ColbertOverflow = "error",
        storage: Storage = "accurate",
        filter_fields: Mapping[str, FieldType] = convert.NO_FIELDS,
    ) -> None:
        super().__init__(
            model, colbert=colbert, colbert_overflow=colbert_overflow, storage=storage, filter_fields=filter_fields
        )
        self.client = client
        self.collection_name = collection_name
        self._local = _is_local(client)
        # The local mode is plain Python, which threads must not run at once.
        self._turn: AbstractContextManager[Any] = threading.Lock() if self._local else nullcontext()

    def __repr__(self) -> str:
        return f"QdrantStore({self.schema.model!r}, {self.collection_name!r})"

    @property
    def capabilities(self) -> Capabilities:
        """As of every Qdrant engine; the local mode keeps nothing without a path, and has no requests to time."""
        persistent = self.client.init_options["location"] != ":memory:"
        return replace(super().capabilities, persistent=persistent, timeouts=not self._local)

    def _name(self) -> str:
        return f"the collection {self.collection_name!r}"

    def _found_schema(self) -> Schema | None:
        if not self.client.collection_exists(self.collection_name):
            return None
        config = self.client.get_collection(self.collection_name).config
        model = (config.metadata or {}).get(_MODEL_NAME, self.schema.model)
        return client_schema.schema_of(config.params, model, self._name())

    def _create(self) -> None:
        version = self.client.info().version
        profile = self._layout.profile
        self.client.create_collection(
            self.collection_name,
            vectors_config=client_schema.vector_params(self.schema, profile, version),
            sparse_vectors_config=client_schema.sparse_params(profile, version) if self.schema.sparse else None,
            metadata={_MODEL_NAME: self.schema.model},
        )

    def _connect(self) -> None:
        if self._local or not self._layout.indexes:
            return
        found = self.client.get_collection(self.collection_name).payload_schema
        types = {key: info.data_type.value for key, info in found.items()}
        for key, kind in check_indexes(self._layout.indexes, types, self._name()).items():
            self.client.create_payload_index(self.collection_name, key, models.PayloadSchemaType(kind), wait=True)

    def _write(self, records: Sequence[Record], timeout: float | None) -> list[FailedWrite]:
        points = [client_convert.point(record) for record in records]
        with self._turn:
            self.client.upsert(self.collection_name, points, wait=True, **_limit(timeout))
        return []

    def _refusal(self, error: Exception) -> Refusal | None:
        return refusal_of(error)

    def _query(
        self, stages: Sequence[convert.Stage], query: TextVectors, where: Any, timeout: float | None
    ) -> list[list[FoundPoint]]:
        vectors = client_convert.native_vectors(query)
        requests = [client_convert.request(stage, vectors, where, not self._local) for stage in stages]
        with self._turn:
            answers = self._answers(requests, _limit(timeout))
        return [
            [FoundPoint(str(point.id), point.score, point.payload or {}) for point in answer.points]
            for answer in answers
        ]

    def _answers(self, requests: Sequence[Any], limit: Mapping[str, Any]) -> Sequence[models.QueryResponse]:
        if len(requests) > 1:
            return self.client.query_batch_points(self.collection_name, requests, **limit)
        # Alone a request goes the shorter way, which in local mode does not copy it.
        [request] = requests
        answer = self.client.query_points(
            self.collection_name,
            query=request.query,
            using=request.using,
            prefetch=request.prefetch,
            query_filter=request.filter,
            search_params=request.params,
            limit=request.limit,
            with_payload=request.with_payload,
            **limit,
        )
        return [answer]

    def _own_scores(
        self, ids: Sequence[convert.PointId], representations: Sequence[str], query: TextVectors, timeout: float | None
    ) -> Mapping[convert.PointId, OwnScores]:
        if not self._local:
            return super()._own_scores(ids, representations, query, timeout)
        # The local mode compares all points before it filters, so that chosen ones are compared here.
        with self._turn:
            records = self.client.retrieve(
                self.collection_name, list(ids), with_payload=False, with_vectors=list(representations)
            )
        return {str(record.id): client_convert.scores(record.vector, query) for record in records}

    def _payloads(self, ids: Sequence[str], timeout: float | None) -> list[Mapping[str, Any]]:
        with self._turn:
            records = self.client.retrieve(self.collection_name, list(ids), with_payload=True, **_limit(timeout))
        return [record.payload or {} for record in records]

    def _delete_points(self, ids: Sequence[str], timeout: float | None) -> None:
        self._delete_selected(models.PointIdsList(points=list(ids)), timeout)

    def _delete_found(self, where: models.Filter, timeout: float | None) -> None:
        self._delete_selected(models.FilterSelector(filter=where), timeout)

    def _delete_selected(self, selector: Any, timeout: float | None) -> None:
        with self._turn:
            self.client.delete(self.collection_name, selector, wait=True, **_limit(timeout))

    def _count_found(self, where: models.Filter | None, timeout: float | None) -> int:
        with self._turn:
            return self.client.count(self.collection_name, where, exact=True, **_limit(timeout)).count

    def _page(
        self, where: models.Filter | None, offset: Any, size: int, timeout: float | None
    ) -> tuple[list[Mapping[str, Any]], Any | None]:
        with self._turn:
            records, following = self.client.scroll(
                self.collection_name, where, limit=size, offset=offset, with_payload=True, **_limit(timeout)
            )
        return [record.payload or {} for record in records], following


def _is_local(client: QdrantClient) -> bool:
    options = client.init_options
    return options["location"] == ":memory:" or options["path"] is not None


def _limit(timeout: float | None) -> dict[str, Any]:
    """Return the client's argument for a timeout, which it counts in whole seconds."""
    return {} if timeout is None else {"timeout": math.ceil(timeout)}
