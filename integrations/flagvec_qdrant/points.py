"""The points of a collection, as a search asks a client for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from qdrant_client import QdrantClient, grpc, models
from qdrant_client.conversions.conversion import RestToGrpc, grpc_to_payload
from qdrant_client.qdrant_remote import QdrantRemote

from flagvec_qdrant.convert import PointId

# So many points are read in one request, 2.3 MB with the codes of 200 ColBERT vectors of 1,024 dimensions each.
POINTS_PER_REQUEST = 64
# A search with codes has so many requests on their way. A fourth costs the client more time than it saves.
REQUESTS_AT_ONCE = 3


class Points(Protocol):
    """The points of a collection. A point has an ``id``, a ``payload``, and a ``score`` if a request found it."""

    def query(self, requests: Sequence[models.QueryRequest], timeout: float | None) -> list[list[Any]]:
        """Return the points that each request finds, best first."""

    def retrieve(self, ids: Sequence[PointId], keys: Sequence[str], timeout: float | None) -> list[Any]:
        """Return the points of these ids, with these keys of their payload; one that is not there is left out."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point that came over gRPC."""

    id: PointId
    payload: dict[str, Any]
    score: float = 0.0


class ModelPoints:
    """Points as qdrant-client's models.

    Args:
        client: Any client.
        collection: The collection's name, or an alias.
    """

    def __init__(self, client: QdrantClient, collection: str) -> None:
        self._client, self._collection = client, collection

    def query(self, requests: Sequence[models.QueryRequest], timeout: float | None) -> list[list[Any]]:
        """Do as `Points.query` does."""
        answers = self._client.query_batch_points(self._collection, requests, **limit(timeout))
        return [answer.points for answer in answers]

    def retrieve(self, ids: Sequence[PointId], keys: Sequence[str], timeout: float | None) -> list[Any]:
        """Do as `Points.retrieve` does."""
        return self._client.retrieve(self._collection, ids, with_payload=list(keys), **limit(timeout))


class GrpcPoints:
    """Points from gRPC's own messages.

    The client's methods copy each request and check each point, which takes a search with codes of ColBERT vectors
    about 5 of 24 ms of processor time (benchmarks/stores.py).

    Args:
        client: A client that prefers gRPC.
        collection: The collection's name, or an alias.
    """

    def __init__(self, client: QdrantClient, collection: str) -> None:
        self._client, self._collection = client, collection
        own = client.init_options["timeout"]
        # As the client does, because a request without a deadline may wait forever.
        self._deadline = QdrantRemote.DEFAULT_GRPC_TIMEOUT if own is None else math.ceil(own)

    def query(self, requests: Sequence[models.QueryRequest], timeout: float | None) -> list[list[Any]]:
        """Do as `Points.query` does."""
        batch = [RestToGrpc.convert_query_request(request, self._collection) for request in requests]
        answer = self._client.grpc_points.QueryBatch(
            grpc.QueryBatchPoints(collection_name=self._collection, query_points=batch, **limit(timeout)),
            **{"timeout": self._deadline, **limit(timeout)},
        )
        return [
            # Reading an empty payload takes as long as all else here.
            [
                Point(_id(one.id), grpc_to_payload(one.payload) if request.with_payload else {}, one.score)
                for one in found
            ]
            for request, found in zip(requests, (each.result for each in answer.result), strict=True)
        ]

    def retrieve(self, ids: Sequence[PointId], keys: Sequence[str], timeout: float | None) -> list[Any]:
        """Do as `Points.retrieve` does."""
        answer = self._client.grpc_points.Get(
            grpc.GetPoints(
                collection_name=self._collection,
                ids=[RestToGrpc.convert_extended_point_id(point) for point in ids],
                with_payload=grpc.WithPayloadSelector(include=grpc.PayloadIncludeSelector(fields=keys)),
                **limit(timeout),
            ),
            **{"timeout": self._deadline, **limit(timeout)},
        )
        return [Point(_id(point.id), grpc_to_payload(point.payload)) for point in answer.result]


def limit(timeout: float | None) -> dict[str, Any]:
    """Return the client's argument for a timeout, which it takes in whole seconds."""
    return {} if timeout is None else {"timeout": math.ceil(timeout)}


def _id(point: grpc.PointId) -> PointId:
    return point.uuid or point.num
