"""The stores under test, the models they are given, and the numpy reference they are held to."""

import os
import uuid
import zlib
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
from qdrant_client import QdrantClient

from flagvec import M3Output
from flagvec.retrieval.documents import text_id
from flagvec.retrieval.fusion import best_first, reciprocal_rank_fusion, weighted_fusion
from flagvec.retrieval.options import SearchOptions
from flagvec.retrieval.vectors import encode_documents, encode_query
from flagvec.scoring import colbert_score, dense_score, lexical_score
from flagvec_qdrant import QdrantEdgeStore, QdrantStore


class SeededModel:
    """A deterministic model with a BGE-M3's interface: a word's vector is random, seeded by the word.

    A text without words has a dense vector and nothing else, which a real model hardly ever gives.
    """

    model_name_or_path = "seeded"

    def __init__(self, dimension=16, representations=("dense", "sparse", "colbert")):
        self.dimension = self.colbert_dimension = dimension
        self.representations = frozenset(representations)

    def encode_corpus(self, texts, return_dense, return_sparse, return_colbert_vecs, convert_to_numpy):
        words = [text.split() for text in texts]
        output = M3Output()
        if return_dense:
            output["dense_vecs"] = np.stack([self._unit(self._rows(["dense", *part]).sum(axis=0)) for part in words])
        if return_sparse:
            output["lexical_weights"] = [{zlib.crc32(word.encode()): len(word) / 10 for word in part} for part in words]
        if return_colbert_vecs:
            output["colbert_vecs"] = [self._unit(self._rows(part)) for part in words]
        return output

    encode_queries = encode_corpus

    def _rows(self, words):
        rows = [np.random.default_rng(zlib.crc32(word.encode())).normal(size=self.dimension) for word in words]
        return np.array(rows, dtype=np.float32).reshape(len(words), self.dimension)

    @staticmethod
    def _unit(rows):
        return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture
def seeded():
    return SeededModel


@pytest.fixture(scope="session")
def texts(tiny_m3, golden):
    """The golden texts of distinct vectors: where two are equal, no order between them is right or wrong."""
    vectors = tiny_m3.encode(golden.texts)["dense_vecs"]
    return list({vector.tobytes(): text for vector, text in zip(vectors, golden.texts, strict=True)}.values())


@pytest.fixture(scope="session")
def queries(golden):
    return golden.queries


@contextmanager
def edge_places(directory):
    yield lambda model, **options: QdrantEdgeStore(model, directory / "edge", **options)


@contextmanager
def client_places(client):
    name = f"flagvec-test-{uuid.uuid4().hex}"
    try:
        yield lambda model, **options: QdrantStore(model, client, name, **options)
    finally:
        client.delete_collection(name)
        client.close()


def places(kind, directory):
    """Return a context manager of a function that makes stores of this kind, all of them on one place."""
    if kind == "edge":
        return edge_places(directory)
    if kind == "memory":
        return client_places(QdrantClient(":memory:"))
    if kind == "path":
        return client_places(QdrantClient(path=str(directory / "local")))
    url, grpc_port = os.environ.get("QDRANT_URL"), os.environ.get("QDRANT_GRPC_PORT")
    if not url:
        pytest.skip("QDRANT_URL is not set")
    if kind == "server-grpc" and not grpc_port:
        pytest.skip("QDRANT_GRPC_PORT is not set")
    grpc = {"prefer_grpc": True, "grpc_port": int(grpc_port)} if kind == "server-grpc" else {}
    return client_places(QdrantClient(url=url, timeout=30, **grpc))


KINDS = ["edge", "memory", "path", "server", "server-grpc"]


@pytest.fixture(params=KINDS)
def new_store(request, tmp_path):
    """A function that makes a store object; every call gives one on the same, at first empty, place."""
    with places(request.param, tmp_path) as make:
        stores = []

        def make_and_remember(model, **options):
            stores.append(make(model, **options))
            return stores[-1]

        yield make_and_remember
        for store in stores:
            store.close()


@pytest.fixture(scope="session", params=KINDS)
def golden_store(request, tmp_path_factory, tiny_m3, texts):
    """A store of all golden texts, with everything the real tiny model gives; not to be written to."""
    with places(request.param, tmp_path_factory.mktemp("golden")) as make, make(tiny_m3) as store:
        store.create()
        store.add(texts)
        yield store


@dataclass(frozen=True)
class Expected:
    """What numpy says of a search: the ranking, and of every document its score and its own scores."""

    ranking: list
    scores: dict
    own: dict


class Reference:
    """Searches by brute force over ready vectors, with flagvec's scoring and fusion functions and nothing else."""

    def __init__(self, store, texts):
        names = [text_id(text) for text in texts]
        vectors = encode_documents(store.model, texts, names, store.schema.representations)
        self.store = store
        self.documents = dict(zip(names, vectors, strict=True))

    def search(self, query, **options):
        options = SearchOptions.checked(self.store.schema, **options)
        vectors = encode_query(self.store.model, query, options.representations)
        own = {name: self._own_scores(vectors, name) for name in options.representations}
        legs = [[name for name, _ in self._found(own[leg], leg)][: options.candidates] for leg in options.legs]
        union = sorted({name for leg in legs for name in leg})
        if options.rerank:
            scores = {name: own["colbert"][name] for name in union}
        elif options.weights:
            columns = {name: np.array([own[name][d] for d in union]) for name in options.weights.representations}
            scores = dict(zip(union, weighted_fusion(columns, options.weights), strict=True))
        elif options.mode == "hybrid":
            scores = dict(reciprocal_rank_fusion(legs))
        else:
            scores = {name: own[options.mode][name] for name in union}
        return Expected(best_first(scores)[: options.limit], scores, own)

    @staticmethod
    def _found(scores, leg):
        return [(name, score) for name, score in best_first(scores) if leg != "sparse" or score > 0]

    def _own_scores(self, query, name):
        score = {"dense": dense_score, "sparse": lexical_score, "colbert": colbert_score}[name]
        return {d: float(score(getattr(query, name), getattr(v, name))) for d, v in self.documents.items()}


@pytest.fixture
def reference():
    return Reference
