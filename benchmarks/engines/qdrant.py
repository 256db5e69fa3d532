"""Qdrant: the embedded engine, the client's local mode, and a server if QDRANT_URL is set.

On a server also langchain-qdrant, where that is installed.
"""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import qdrant_edge as edge
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models

from colbert_stores import Kept, bytes_on_disk
from comparison import LIMIT, MODES, Comparison, Subject
from corpus import DIMENSION, Corpus
from flagvec import Document
from flagvec_qdrant import QdrantEdgeStore, QdrantStore
from flagvec_qdrant.edge_files import NewNames
from ready_model import ReadyModel
from store_subject import StoreSubject

# Batches of 64 to 256 documents are written equally fast.
BATCH = 256
CANDIDATES = 100
# One-based ranks with k=60, as Qdrant counts them.
RRF_K = 61
_IDS = uuid.NAMESPACE_OID


@contextmanager
def qdrant_edge(corpus: Corpus) -> Iterator[Comparison]:
    """Compare `QdrantEdgeStore` with `edge.EdgeShard`.

    Neither side builds an index, because that takes longer than the calls that are compared.
    """
    with (
        tempfile.TemporaryDirectory() as directory,
        QdrantEdgeStore(corpus.model, Path(directory) / "store", auto_optimize=False) as store,
    ):
        store.create()
        raw = EdgeByHand(corpus.model, Path(directory) / "raw")
        yield Comparison(name="Qdrant edge", store=StoreSubject(store), others={"by hand": raw})
        raw.close()


@contextmanager
def qdrant_local(corpus: Corpus) -> Iterator[Comparison]:
    """Compare `QdrantStore` with the client's local mode, in memory."""
    with closing(QdrantClient(":memory:")) as client:
        by_hand = ClientByHand(corpus.model, client, _new_collection(client))
        with _beside_store("Qdrant local mode", client, corpus, {"by hand": by_hand}) as comparison:
            yield comparison


@contextmanager
def qdrant_server(corpus: Corpus) -> Iterator[Comparison]:
    """Compare `QdrantStore` with a client of the server at QDRANT_URL, both over gRPC."""
    with closing(_server_client(prefer_grpc=True)) as client:
        by_hand = ClientByHand(corpus.model, client, _new_collection(client))
        with _beside_store("Qdrant server, gRPC", client, corpus, {"by hand": by_hand}) as comparison:
            yield comparison


@contextmanager
def qdrant_server_langchain(corpus: Corpus) -> Iterator[Comparison]:
    """Compare `QdrantStore` over gRPC with langchain-qdrant, on the server at QDRANT_URL.

    langchain-qdrant's own fusion is not compared, because it ranks only the ten best of each leg, with another k.
    """
    from engines.langchain_qdrant_subject import LangChain

    with closing(_server_client(prefer_grpc=True)) as client, closing(_server_client()) as rest:
        others = {
            "langchain-qdrant, gRPC": LangChain(corpus.model, client, _new_collection(client)),
            "langchain-qdrant, REST": LangChain(corpus.model, rest, _new_collection(client)),
        }
        modes = ("dense", "sparse")
        with _beside_store("Qdrant server, langchain-qdrant", client, corpus, others, modes) as comparison:
            yield comparison


def _server_client(**options: Any) -> QdrantClient:
    port = int(os.environ.get("QDRANT_GRPC_PORT", "6334"))
    key = os.environ.get("QDRANT_API_KEY")
    # Without these options, gRPC waits longer and longer before it connects again, and the server compresses answers,
    # so that codes of 100 documents take 350 ms to read and not 20.
    options |= {
        "grpc_options": {"grpc.max_reconnect_backoff_ms": 1_000, "grpc.compression_enabled_algorithms_bitset": 1}
    }
    url = os.environ["QDRANT_URL"]
    return QdrantClient(url=url, grpc_port=port, api_key=key, timeout=60, **options)


def _new_collection(client: QdrantClient) -> str:
    name = f"flagvec_benchmark_{uuid.uuid4().hex}"
    client.create_collection(
        name,
        vectors_config={"dense": models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE)},
        sparse_vectors_config={"sparse": models.SparseVectorParams()},
    )
    return name


@contextmanager
def _beside_store(
    name: str,
    client: QdrantClient,
    corpus: Corpus,
    others: Mapping[str, ClientSubject],
    modes: Sequence[str] = MODES,
) -> Iterator[Comparison]:
    """Compare with a store on a collection of its own.

    All subjects search the store's collection, because no two approximate indexes find the same documents.
    """
    theirs = [other.collection for other in others.values()]
    ours = f"flagvec_benchmark_{uuid.uuid4().hex}"
    store = QdrantStore(corpus.model, client, ours)
    store.create()

    def settle() -> None:
        for other in others.values():
            other.collection = ours
        for collection in (ours, *theirs):
            _await_indexes(client, collection)

    try:
        yield Comparison(name=name, store=StoreSubject(store), others=others, modes=modes, settle=settle)
    finally:
        for collection in (ours, *theirs):
            client.delete_collection(collection)


def _await_indexes(client: QdrantClient, collection: str) -> None:
    """Wait until a server has built its indexes, because building slows down what is measured."""
    while client.get_collection(collection).status != models.CollectionStatus.GREEN:
        time.sleep(0.5)


class ClientSubject(Subject, Protocol):
    """A subject that uses one collection, in which the points have flagvec's payload and vectors of its names."""

    collection: str


class ClientByHand:
    """What an expert writes on `QdrantClient`: one upsert a batch, one request a search."""

    def __init__(self, model: ReadyModel, client: QdrantClient, collection: str) -> None:
        self.model = model
        self.client = client
        self.collection = collection

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


def _floats(vector: NDArray[np.float32]) -> array[float]:
    """Return a vector in the form that the engine reads fastest, before a list and an array of numpy."""
    return array("f", vector.tobytes())


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
        self.new_names = NewNames(path)

    def write(self, documents: Sequence[Document]) -> None:
        """Upsert batches, flush, and sync directories, so that documents survive a power loss as the store's do."""
        for start in range(0, len(documents), BATCH):
            part = documents[start : start + BATCH]
            output = self.model.encode_corpus([document.text for document in part])
            points = [
                edge.Point(
                    str(uuid.uuid5(_IDS, document.id)),
                    {
                        "dense": _floats(dense),
                        "sparse": edge.SparseVector(list(weights), list(weights.values())),
                    },
                    {"id": document.id, "text": document.text, "metadata": document.metadata},
                )
                for document, dense, weights in zip(part, output["dense_vecs"], output["lexical_weights"], strict=True)
            ]
            self.shard.update(edge.UpdateOperation.upsert_points(points))
        self.shard.flush()
        self.new_names.sync()

    def search(self, query: str, mode: str) -> list[str]:
        """Query once."""
        output = self.model.encode_queries([query])
        weights = output["lexical_weights"][0]
        legs = {
            "dense": edge.Query.Nearest(_floats(output["dense_vecs"][0]), using="dense"),
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


@contextmanager
def edge_store(corpus: Corpus, colbert: Any) -> Iterator[Kept]:
    """Create a `QdrantEdgeStore` that keeps ColBERT vectors as `colbert` says."""
    with (
        tempfile.TemporaryDirectory() as directory,
        QdrantEdgeStore(corpus.model, Path(directory) / "store", colbert=colbert) as store,
    ):
        store.create()
        yield Kept(store=store, size=lambda: bytes_on_disk(Path(directory)))


@contextmanager
def server_store(corpus: Corpus, colbert: Any) -> Iterator[Kept]:
    """Create a `QdrantStore` on the server at QDRANT_URL, whose files are in QDRANT_STORAGE."""
    name = f"flagvec_benchmark_{uuid.uuid4().hex}"
    with closing(_server_client(prefer_grpc=True)) as client:
        store = QdrantStore(corpus.model, client, name, colbert=colbert)
        store.create()

        def size() -> int | None:
            storage = os.environ.get("QDRANT_STORAGE")
            return bytes_on_disk(Path(storage) / "collections" / name) if storage else None

        try:
            yield Kept(store=store, at_rest=lambda: _await_indexes(client, name), size=size)
        finally:
            client.delete_collection(name)


ENGINES = {"qdrant-edge": qdrant_edge, "qdrant-local": qdrant_local, "qdrant-server": qdrant_server}
if find_spec("langchain_qdrant"):
    ENGINES["qdrant-server-langchain"] = qdrant_server_langchain
STORES = {"qdrant-edge": edge_store, "qdrant-server": server_store}
LARGEST = {"qdrant-local": 10_000}
NEEDS = dict.fromkeys(("qdrant-server", "qdrant-server-langchain"), "QDRANT_URL")
