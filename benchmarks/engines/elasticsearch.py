"""Elasticsearch at ELASTICSEARCH_URL: the client by hand, and langchain-elasticsearch if it is installed."""

from __future__ import annotations

import base64
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import orjson
from elasticsearch import Elasticsearch, OrjsonSerializer

from colbert_stores import Kept
from comparison import LIMIT, Comparison
from corpus import DIMENSION, Corpus
from flagvec import Document, M3Output
from flagvec.search.fusion import reciprocal_rank_fusion
from flagvec_elasticsearch import ElasticsearchStore
from ready_model import ReadyModel
from store_subject import StoreSubject

PREFIX = "flagvec_benchmark_"
# Batches of 128 to 1,000 are equally fast to write.
BATCH = 256
CANDIDATES = 100
# The index looks at so many candidates, as the store's does, so that both find the same.
BREADTH = {LIMIT: 100, CANDIDATES: 400}
SOURCE = ["text", "metadata"]
# orjson writes numpy arrays and int keys faster than lists and str keys.
JSON_LINE = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE
# Reading an id from doc values takes half the time of reading _id from the stored document.
ONLY_IDS = {"stored_fields": "_none_", "docvalue_fields": ["id"]}
# Servers take vectors as base64 from this version on, in a quarter of the bytes.
PACKED_VECTORS = (9, 3)
# Both refresh after each write. More refreshes would give one index more segments to search.
SETTINGS = {"refresh_interval": -1}
MAPPING = {
    "properties": {
        "id": {"type": "keyword", "index": False, "doc_values": True},
        "text": {"type": "text", "index": False},
        "metadata": {"properties": {"number": {"type": "long"}, "language": {"type": "keyword"}}},
        "dense": {
            "type": "dense_vector",
            "dims": DIMENSION,
            "similarity": "dot_product",
            "index_options": {"type": "int8_hnsw", "rescore_vector": {"oversample": 3.0}},
        },
        "sparse": {"type": "rank_features"},
    }
}


@contextmanager
def elasticsearch(corpus: Corpus) -> Iterator[Comparison]:
    """Compare `ElasticsearchStore` with a client of the server at ELASTICSEARCH_URL."""
    ours, theirs = (f"{PREFIX}{uuid.uuid4().hex}" for _ in range(2))
    with Elasticsearch(os.environ["ELASTICSEARCH_URL"], request_timeout=60, serializer=OrjsonSerializer()) as client:
        version = client.info()["version"]["number"]
        store = ElasticsearchStore(corpus.model, client, ours, settings=SETTINGS)
        store.create()
        try:
            by_hand = ByHand(corpus.model, client, theirs)
            yield Comparison(
                name=f"Elasticsearch {version}",
                store=StoreSubject(store),
                others={"by hand": by_hand},
                at_rest=lambda: _wait_for_merges(client),
                settle=lambda: by_hand.search_in(ours),  # because two indexes find different documents
            )
        finally:
            client.indices.delete(index=[ours, theirs], ignore_unavailable=True)


@contextmanager
def langchain(corpus: Corpus) -> Iterator[Comparison]:
    """Compare `ElasticsearchStore` with langchain-elasticsearch, on dense vectors alone."""
    ours, theirs = (f"{PREFIX}{uuid.uuid4().hex}" for _ in range(2))
    with Elasticsearch(os.environ["ELASTICSEARCH_URL"], request_timeout=60, serializer=OrjsonSerializer()) as client:
        texts = [*(document.text for document in corpus.documents), *corpus.queries]
        model = ReadyModel(texts, M3Output(dense_vecs=corpus.model.encode_corpus(texts)["dense_vecs"]))
        store = ElasticsearchStore(model, client, ours)
        store.create()
        try:
            other = LangChain(model, client, theirs)
            yield Comparison(
                name="Elasticsearch, dense vectors alone",
                store=StoreSubject(store),
                others={"langchain-elasticsearch": other},
                modes=("dense",),
                at_rest=lambda: _wait_for_merges(client),
                settle=lambda: other.search_in(ours),
            )
        finally:
            client.indices.delete(index=[ours, theirs], ignore_unavailable=True)


@contextmanager
def index_store(corpus: Corpus, colbert: Any) -> Iterator[Kept]:
    """Create an `ElasticsearchStore` that keeps ColBERT vectors as `colbert` says."""
    name = f"{PREFIX}{uuid.uuid4().hex}"
    with Elasticsearch(os.environ["ELASTICSEARCH_URL"], request_timeout=60, serializer=OrjsonSerializer()) as client:
        store = ElasticsearchStore(corpus.model, client, name, settings=SETTINGS, colbert=colbert)
        store.create()

        def size() -> int:
            # Without this, the size has the operations that the server would repeat after a crash.
            client.indices.flush(index=name, force=True)
            stats = client.indices.stats(index=name, metric="store")
            return int(stats["_all"]["total"]["store"]["size_in_bytes"])

        try:
            yield Kept(store=store, at_rest=lambda: _wait_for_merges(client), size=size)
        finally:
            client.indices.delete(index=name, ignore_unavailable=True)


def _wait_for_merges(client: Elasticsearch) -> None:
    """Wait until the server merges nothing, because merging takes more than a core."""
    while client.indices.stats(index=f"{PREFIX}*", metric="merge")["_all"]["total"]["merges"]["current"]:
        time.sleep(0.1)


class LangChain:
    """`langchain_elasticsearch.ElasticsearchStore`, with the vectors given to it."""

    def __init__(self, model: ReadyModel, client: Elasticsearch, index: str) -> None:
        self.model = model
        self.client = client
        self.search_in(index)

    def search_in(self, index: str) -> None:
        """Search the store's index, so that both searches do the same work."""
        from langchain_elasticsearch import DenseVectorStrategy
        from langchain_elasticsearch import ElasticsearchStore as LangChainStore

        self.store = LangChainStore(
            index,
            client=self.client,
            strategy=DenseVectorStrategy(),
            vector_query_field="dense",
            num_dimensions=DIMENSION,
        )

    def write(self, documents: Sequence[Document]) -> None:
        """Add texts with their vectors, and refresh."""
        texts = [document.text for document in documents]
        vectors = self.model.encode_corpus(texts)["dense_vecs"].tolist()
        self.store.add_embeddings(
            list(zip(texts, vectors, strict=True)),
            metadatas=[dict(document.metadata) for document in documents],
            ids=[document.id for document in documents],
        )

    def search(self, query: str, mode: str) -> list[str]:
        """Search by the query's vector; a hit has the document's number and no id."""
        vector = self.model.encode_queries([query])["dense_vecs"][0].tolist()
        found = self.store.similarity_search_by_vector_with_relevance_scores(vector, k=LIMIT, custom_query=_as_thorough)
        return [f"document-{document.metadata['number']}" for document, _ in found]


def _as_thorough(body: dict[str, Any], _: str | None) -> dict[str, Any]:
    """Look at as many candidates as the others do; by default it looks at 50 and misses more."""
    return {**body, "knn": {**body["knn"], "num_candidates": BREADTH[LIMIT]}}


class ByHand:
    """What an expert writes on `Elasticsearch`: bodies by orjson, one request a search, two for a fused one."""

    def __init__(self, model: ReadyModel, client: Elasticsearch, index: str) -> None:
        self.model = model
        self.client = client
        self.index = index
        major, minor = client.info()["version"]["number"].split(".")[:2]
        self.packs = (int(major), int(minor)) >= PACKED_VECTORS
        client.indices.create(index=index, mappings=MAPPING, settings=SETTINGS)

    def search_in(self, index: str) -> None:
        """Search the store's index, so that both searches do the same work."""
        self.index = index

    def write(self, documents: Sequence[Document]) -> None:
        """Send bulk requests, and refresh, as the store does at the end of each call."""
        for start in range(0, len(documents), BATCH):
            part = documents[start : start + BATCH]
            output = self.model.encode_corpus([document.text for document in part])
            lines: list[dict[str, Any]] = []
            for document, dense, weights in zip(part, output["dense_vecs"], output["lexical_weights"], strict=True):
                source = {
                    "id": document.id,
                    "text": document.text,
                    "metadata": document.metadata,
                    "dense": base64.b64encode(dense.astype(">f4").tobytes()).decode() if self.packs else dense,
                    "sparse": weights,
                }
                lines += [{"index": {"_id": document.id}}, source]
            answer = self.client.bulk(index=self.index, operations=_lines(lines), filter_path="errors")
            assert not answer["errors"]
        self.client.indices.refresh(index=self.index)

    def search(self, query: str, mode: str) -> list[str]:
        """Search once; to fuse, get both legs' ids in one request and the best documents in another."""
        output = self.model.encode_queries([query])
        size = CANDIDATES if mode == "rrf" else LIMIT
        legs = {
            "dense": {
                "knn": {
                    "field": "dense",
                    "query_vector": output["dense_vecs"][0],
                    "k": size,
                    "num_candidates": BREADTH[size],
                },
                "size": size,
            },
            "sparse": {"query": _sparse(output["lexical_weights"][0]), "size": size},
        }
        if mode != "rrf":
            [hits] = self._search([{**legs[mode], "_source": SOURCE}])
            return [hit["_id"] for hit in hits if hit["_source"]]
        found = self._search([{**leg, **ONLY_IDS} for leg in legs.values()])
        fused = reciprocal_rank_fusion([[hit["fields"]["id"][0] for hit in hits] for hits in found])[:LIMIT]
        best = self.client.mget(index=self.index, ids=[name for name, _ in fused], source=SOURCE)
        return [document["_id"] for document in best["docs"] if document["_source"]]

    def _search(self, bodies: Sequence[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
        lines = [line for body in bodies for line in ({}, body)]
        answer = self.client.msearch(index=self.index, searches=_lines(lines))
        return [response["hits"]["hits"] for response in answer["responses"]]


def _sparse(weights: Mapping[int, float]) -> dict[str, Any]:
    clauses = [
        {"rank_feature": {"field": f"sparse.{token}", "linear": {}, "boost": weight}}
        for token, weight in weights.items()
    ]
    return {"bool": {"should": clauses}}


def _lines(objects: Sequence[Mapping[str, Any]]) -> Any:
    return b"".join(orjson.dumps(one, option=JSON_LINE) for one in objects)


ENGINES = {"elasticsearch": elasticsearch}
if find_spec("langchain_elasticsearch"):
    ENGINES["elasticsearch-langchain"] = langchain
STORES = {"elasticsearch": index_store}
LARGEST: dict[str, int] = {}
NEEDS = dict.fromkeys(ENGINES, "ELASTICSEARCH_URL")
