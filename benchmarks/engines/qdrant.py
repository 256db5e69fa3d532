"""Qdrant: the embedded engine, the client's local mode, and a server over gRPC if QDRANT_URL is set."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import qdrant_edge as edge
from qdrant_client import QdrantClient, models

from comparison import LIMIT, Comparison
from corpus import DIMENSION, Corpus
from flagvec import Document
from flagvec_qdrant import QdrantEdgeStore, QdrantStore
from ready_model import ReadyModel
from store_subject import StoreSubject

# Batches of 64 to 256 are written alike fast.
BATCH = 256
CANDIDATES = 100
# One-based ranks with k=60, as Qdrant counts them.
RRF_K = 61
_IDS = uuid.NAMESPACE_OID


@contextmanager
def qdrant_edge(corpus: Corpus) -> Iterator[Comparison]:
    """Compare `QdrantEdgeStore` with `edge.EdgeShard`."""
    with (
        tempfile.TemporaryDirectory() as directory,
        QdrantEdgeStore(corpus.model, Path(directory) / "store") as store,
    ):
        store.create()
        raw = EdgeByHand(corpus.model, Path(directory) / "raw")
        yield Comparison("Qdrant edge", StoreSubject(store), {"by hand": raw})
        raw.close()


@contextmanager
def qdrant_local(corpus: Corpus) -> Iterator[Comparison]:
    """Compare `QdrantStore` with the client's local mode, in memory."""
    with _client_comparison("Qdrant local mode", QdrantClient(":memory:"), corpus) as comparison:
        yield comparison


@contextmanager
def qdrant_server(corpus: Corpus) -> Iterator[Comparison]:
    """Compare `QdrantStore` with a client of the server at QDRANT_URL, both over gRPC."""
    port = int(os.environ.get("QDRANT_GRPC_PORT", "6334"))
    client = QdrantClient(url=os.environ["QDRANT_URL"], prefer_grpc=True, grpc_port=port, timeout=60)
    with _client_comparison("Qdrant server, gRPC", client, corpus) as comparison:
        yield comparison


@contextmanager
def _client_comparison(name: str, client: QdrantClient, corpus: Corpus) -> Iterator[Comparison]:
    ours, theirs = (f"flagvec_benchmark_{uuid.uuid4().hex}" for _ in range(2))
    store = QdrantStore(corpus.model, client, ours)
    store.create()
    try:
        yield Comparison(name, StoreSubject(store), {"by hand": ClientByHand(corpus.model, client, theirs)})
    finally:
        client.delete_collection(ours)
        client.delete_collection(theirs)
        client.close()


class ClientByHand:
    """What an expert writes on `QdrantClient`: one upsert a batch, one request a search."""

    def __init__(self, model: ReadyModel, client: QdrantClient, collection: str) -> None:
        self.model = model
        self.client = client
        self.collection = collection
        client.create_collection(
            collection,
            vectors_config={"dense": models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE)},
            sparse_vectors_config={"sparse": models.SparseVectorParams()},
        )

    def write(self, documents: Sequence[Document]) -> None:
        """Upsert batches and wait for each."""
        for start in range(0, len(documents), BATCH):
            part = documents[start : start + BATCH]
            output = self.model.encode_corpus([document.text for document in part])
            points = [
                models.PointStruct(
                    id=str(uuid.uuid5(_IDS, document.id)),
                    vector={"dense": dense.tolist(), "sparse": _sparse(weights)},
                    payload={"id": document.id, "text": document.text, "metadata": document.metadata},
                )
                for document, dense, weights in zip(part, output["dense_vecs"], output["lexical_weights"], strict=True)
            ]
            self.client.upsert(self.collection, points, wait=True)

    def finish(self) -> None:
        """Do nothing: each upsert has waited."""

    def search(self, query: str, mode: str) -> list[str]:
        """Query once."""
        output = self.model.encode_queries([query])
        legs = {"dense": output["dense_vecs"][0].tolist(), "sparse": _sparse(output["lexical_weights"][0])}
        if mode == "rrf":
            options: dict[str, Any] = {
                "prefetch": [
                    models.Prefetch(query=vector, using=name, limit=CANDIDATES) for name, vector in legs.items()
                ],
                "query": models.RrfQuery(rrf=models.Rrf(k=RRF_K)),
            }
        else:
            options = {"query": legs[mode], "using": mode}
        answer = self.client.query_points(self.collection, limit=LIMIT, with_payload=True, **options)
        return [point.payload["id"] for point in answer.points if point.payload]


def _sparse(weights: dict[int, float]) -> models.SparseVector:
    return models.SparseVector(indices=list(weights), values=list(weights.values()))


class EdgeByHand:
    """What an expert writes on `EdgeShard`."""

    def __init__(self, model: ReadyModel, path: Path) -> None:
        self.model = model
        path.mkdir()
        config = edge.EdgeConfig(
            vectors={"dense": edge.EdgeVectorParams(DIMENSION, edge.Distance.Cosine)},
            sparse_vectors={"sparse": edge.EdgeSparseVectorParams()},
        )
        self.shard = edge.EdgeShard.create(str(path / "shard"), config)

    def write(self, documents: Sequence[Document]) -> None:
        """Upsert batches and flush, as the store does at the end of each call."""
        for start in range(0, len(documents), BATCH):
            part = documents[start : start + BATCH]
            output = self.model.encode_corpus([document.text for document in part])
            points = [
                edge.Point(
                    str(uuid.uuid5(_IDS, document.id)),
                    {
                        "dense": dense.tolist(),
                        "sparse": edge.SparseVector(list(weights), list(weights.values())),
                    },
                    {"id": document.id, "text": document.text, "metadata": document.metadata},
                )
                for document, dense, weights in zip(part, output["dense_vecs"], output["lexical_weights"], strict=True)
            ]
            self.shard.update(edge.UpdateOperation.upsert_points(points))
        self.shard.flush()

    def finish(self) -> None:
        """Do nothing: each write has flushed."""

    def search(self, query: str, mode: str) -> list[str]:
        """Query once."""
        output = self.model.encode_queries([query])
        weights = output["lexical_weights"][0]
        legs = {
            "dense": edge.Query.Nearest(output["dense_vecs"][0].tolist(), using="dense"),
            "sparse": edge.Query.Nearest(edge.SparseVector(list(weights), list(weights.values())), using="sparse"),
        }
        if mode == "rrf":
            prefetches = [edge.Prefetch(CANDIDATES, query=leg) for leg in legs.values()]
            request = edge.QueryRequest(LIMIT, query=edge.Fusion.Rrf(k=RRF_K), prefetches=prefetches, with_payload=True)
        else:
            request = edge.QueryRequest(LIMIT, query=legs[mode], with_payload=True)
        return [point.payload["id"] for point in self.shard.query(request) if point.payload]

    def close(self) -> None:
        """Free the files."""
        self.shard.close()


ENGINES = {"qdrant-edge": qdrant_edge, "qdrant-local": qdrant_local, "qdrant-server": qdrant_server}
LARGEST = {"qdrant-local": 10_000}
NEEDS = {"qdrant-server": "QDRANT_URL"}
