"""`ClientBackend`: a collection of a Qdrant server, of Qdrant Cloud or of local mode, through a ``QdrantClient``."""

from __future__ import annotations

import hashlib
import threading
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import Any, TypeVar

from more_itertools import chunked
from qdrant_client import QdrantClient, models
from typing_extensions import override

from flagvec.errors import StoreError
from flagvec.filters.portable import Filter, NativeFilter
from flagvec.ingest.report import FailedWrite
from flagvec.search.options import SearchOptions
from flagvec.search.requests import Requests
from flagvec.store.backend import Ask, Backend, Record, Refusal
from flagvec.store.documents import Document, Hit
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors
from flagvec_qdrant import client_models as native
from flagvec_qdrant.convert import (
    COLBERT,
    DENSE,
    DOCUMENT_KEYS,
    PointId,
    json_bytes,
    point_id,
    to_documents,
    to_records,
)
from flagvec_qdrant.errors import is_missing, refusal_of
from flagvec_qdrant.filters import native_filter, refuse_empty
from flagvec_qdrant.points import POINTS_PER_REQUEST, REQUESTS_AT_ONCE, GrpcPoints, ModelPoints, Points, limit
from flagvec_qdrant.schema import Layout, described_schema, description, max_colbert_rows, missing_indexes
from flagvec_qdrant.search import Stage, find_hits
from flagvec_qdrant.search_codes import KeptCodes, asked_of_engine, find_hits_by_codes

Result = TypeVar("Result")

# Older collections have the model's name under this key instead of a description.
_FORMER_KEY = "flagvec_model"
# What tells a collection from one that has the same name later.
_ID = "id"
_METADATA_SINCE = (1, 16)

# Local mode is Python code that is not thread-safe, so that the stores of one client take turns.
_local_locks: weakref.WeakKeyDictionary[QdrantClient, AbstractContextManager[Any]] = weakref.WeakKeyDictionary()
_finding_lock = threading.Lock()


class ClientBackend(Backend[Record]):
    """One collection. The client is the caller's, and stays open."""

    def __init__(
        self, client: QdrantClient, collection: str, layout: Layout, settings: Mapping[str, Any] | None = None
    ) -> None:
        self._client = client
        self._collection = collection
        self._layout = layout
        self._settings = dict(settings or {})
        self._known = "", ""
        self._kept: KeptCodes | None = None
        self._is_local = client.init_options["location"] == ":memory:" or client.init_options["path"] is not None
        over_grpc = client.init_options["prefer_grpc"] and not self._is_local
        self._points: Points = GrpcPoints(client, collection) if over_grpc else ModelPoints(client, collection)
        self._calling: AbstractContextManager[Any] = _lock_of(client) if self._is_local else nullcontext()

    @property
    @override
    def name(self) -> str:
        return f"the collection {self._collection!r}"

    @override
    def describe(self) -> Schema | None:
        with self._calling:
            if not self._client.collection_exists(self._collection):
                return None
            config = self._client.get_collection(self._collection).config
        metadata = config.metadata or {}
        if _FORMER_KEY in metadata:
            return native.schema_of_params(config.params, metadata[_FORMER_KEY])
        return described_schema(metadata, self.name, "collection_name")

    @override
    def identity(self, timeout: float | None) -> str | None:
        # The client takes no timeout for these two requests.
        try:
            with self._calling:
                metadata = self._client.get_collection(self._collection).config.metadata or {}
        except Exception as error:
            if is_missing(error):
                return None
            raise
        # Qdrant gives collections no id of their own, and older collections have none of ours.
        key = str(metadata.get(_ID) or hashlib.sha256(repr(sorted(metadata.items())).encode()).hexdigest()[:32])
        known, identity = self._known
        if key != known:
            identity = f"{self._target()!r} (id {key})"
            self._known = key, identity
        return identity

    def _target(self) -> str:
        """Return the collection's own name, if the given one is an alias and the server says so."""
        return self._targets().get(self._collection, self._collection)

    def _targets(self) -> dict[str, str]:
        """Return the collection that each alias leads to."""
        with self._calling:
            # A token sees an alias only if it names both the alias and the collection.
            aliases = self._client.get_aliases().aliases
        return {alias.alias_name: alias.collection_name for alias in aliases}

    def leads_to(self, name: str) -> str | None:
        """Return the collection that a name or an alias leads to; None if nothing has this name."""
        if (target := self._targets().get(name)) is not None:
            return target
        with self._calling:
            return name if self._client.collection_exists(name) else None

    def switch_alias(self, alias: str) -> None:
        """Let an alias lead to this collection, in one atomic request. It is made if it does not exist.

        Raises:
            StoreError: It is the name of a collection.
        """
        before = self.leads_to(alias)
        if before == alias:
            raise StoreError(
                f"the alias {alias!r} cannot be made, because a collection has this name: choose another alias, or "
                "delete the collection"
            )
        created = models.CreateAlias(collection_name=self._target(), alias_name=alias)
        operations: list[Any] = [models.CreateAliasOperation(create_alias=created)]
        if before is not None:
            operations.insert(0, models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)))
        with self._calling:
            self._client.update_collection_aliases(operations)

    @override
    def create(self, schema: Schema) -> None:
        with self._calling:
            version = self._client.info().version
        major, minor = map(int, version.split(".")[:2])
        if (major, minor) < _METADATA_SINCE:
            raise StoreError(
                f"{self.name} could not be created: the server is Qdrant {version}, which keeps no metadata of "
                "collections; update it to 1.16 or later"
            )
        has_memory = native.knows_memory(major, minor)
        vectors, settings = native.vector_params(schema, self._layout.profile, has_memory), dict(self._settings)
        # For the whole collection it would quantise ColBERT vectors too, whose scores are final.
        if "quantization_config" in settings:
            vectors[DENSE].quantization_config = settings.pop("quantization_config")
        try:
            with self._calling:
                self._client.create_collection(
                    self._collection,
                    vectors_config=vectors,
                    sparse_vectors_config=native.sparse_params(self._layout.profile, has_memory)
                    if schema.sparse
                    else None,
                    metadata={**description(schema), _ID: uuid.uuid4().hex},
                    **settings,
                )
        except Exception as error:
            # Another thread or process may have created it meanwhile. Every transport says so in these words.
            if "already exists" not in str(error) or self.describe() is None:
                raise

    @override
    def open(self, schema: Schema) -> None:
        self._kept = KeptCodes.of(schema, self.name)
        if self._is_local or not self._layout.indexes:
            return
        found = self._client.get_collection(self._collection).payload_schema
        types = {key: info.data_type.value for key, info in found.items()}
        for key, kind in missing_indexes(self._layout.indexes, types, self.name).items():
            self._client.create_payload_index(self._collection, key, models.PayloadSchemaType(kind), wait=True)

    @override
    def drop(self) -> None:
        with self._calling:
            self._client.delete_collection(self._collection)

    @override
    def classify(self, error: Exception) -> Refusal | None:
        return refusal_of(error)

    @override
    def is_native_filter(self, value: Any) -> bool:
        return isinstance(value, models.Filter)

    @override
    def compares_colbert(self) -> bool:
        return True

    @override
    def max_colbert_rows(self, schema: Schema) -> int | None:
        return max_colbert_rows(schema)

    @override
    def prepare(self, records: Sequence[Record]) -> list[Record]:
        # `write` makes the points of one request at a time: as Python's floats, the ColBERT vectors of a whole batch
        # would take close to a gigabyte.
        return list(records)

    @override
    def row_bytes(self, row: Record) -> int:
        return json_bytes(row)

    @override
    def write(self, rows: Sequence[Record], timeout: float | None) -> list[FailedWrite]:
        points = [native.point(record) for record in rows]
        with self._calling:
            self._client.upsert(self._collection, points, wait=True, **limit(timeout))
        return []

    @override
    def search(self, query: TextVectors, options: SearchOptions) -> list[Hit]:
        vectors = native.vectors(asked_of_engine(query, self._kept))
        where = native_filter(options.filter, native.TERMS)

        def ask(stages: Sequence[Stage]) -> Sequence[Sequence[Any]]:
            if self._is_local and stages[0].only:
                return self._compared_here(stages, query)
            asked = [native.request(stage, vectors, where, not self._is_local) for stage in stages]
            with self._calling:
                return self._points.query(asked, options.timeout)

        if self._kept is None or COLBERT not in options.representations:
            return find_hits(query, options, ask)
        with Requests(REQUESTS_AT_ONCE) as requests:

            def read(
                ids: Sequence[PointId], keys: Sequence[str], use: Callable[[Sequence[Any]], Result]
            ) -> Iterator[Result]:
                def request(part: Sequence[PointId]) -> Result:
                    with self._calling:
                        points = self._points.retrieve(part, keys, options.timeout)
                    # Here, so that codes are compared while other threads wait for the server.
                    return use(points)

                return requests.ahead(request, chunked(ids, POINTS_PER_REQUEST))

            return find_hits_by_codes(
                query, options, self._kept, ask, read, lambda request: requests.submit(request).result
            )

    def _compared_here(self, stages: Sequence[Stage], query: TextVectors) -> list[list[models.ScoredPoint]]:
        # Local mode compares all points before it filters them, which takes as long as the search itself.
        # Each stage may score other points.
        ids = list(dict.fromkeys(chain.from_iterable(stage.only for stage in stages)))
        with self._calling:
            records = self._client.retrieve(self._collection, ids, with_payload=False, with_vectors=True)
        return [
            native.scored_points(stage, query, [record for record in records if record.id in stage.only])
            for stage in stages
        ]

    @override
    def get(self, ids: Sequence[str], timeout: float | None) -> list[Document]:
        with self._calling:
            points = self._client.retrieve(
                self._collection, [*map(point_id, ids)], with_payload=list(DOCUMENT_KEYS), **limit(timeout)
            )
        return to_documents(points)

    @override
    def vectors(self, ids: Sequence[str], timeout: float | None) -> list[Record]:
        with self._calling:
            points = self._client.retrieve(
                self._collection, [*map(point_id, ids)], with_payload=True, with_vectors=True, **limit(timeout)
            )
        return to_records(points, None if self._kept is None else self._kept.codec)

    @override
    def delete(self, ids: Sequence[str], timeout: float | None) -> None:
        self._delete(models.PointIdsList(points=[*map(point_id, ids)]), timeout)

    @override
    def delete_where(self, filter: Filter | NativeFilter, timeout: float | None) -> None:
        refuse_empty(filter)
        self._delete(models.FilterSelector(filter=native_filter(filter, native.TERMS)), timeout)

    def _delete(self, selector: models.PointsSelector, timeout: float | None) -> None:
        with self._calling:
            self._client.delete(self._collection, selector, wait=True, **limit(timeout))

    @override
    def count(self, filter: Filter | NativeFilter | None, timeout: float | None) -> int:
        where = native_filter(filter, native.TERMS)
        with self._calling:
            return self._client.count(self._collection, where, exact=True, **limit(timeout)).count

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
    ) -> Iterator[list[models.Record]]:
        where, offset = native_filter(filter, native.TERMS), None

        def page(timeout: float | None) -> tuple[list[models.Record], Any]:
            with self._calling:
                return self._client.scroll(
                    self._collection,
                    where,
                    limit=size,
                    offset=offset,
                    with_payload=with_vectors or list(DOCUMENT_KEYS),
                    with_vectors=with_vectors,
                    **limit(timeout),
                )

        while True:
            points, offset = ask(page)
            if points:
                yield points
            if offset is None:
                return


def _lock_of(client: QdrantClient) -> AbstractContextManager[Any]:
    with _finding_lock:
        return _local_locks.setdefault(client, threading.RLock())
