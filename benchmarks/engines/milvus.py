"""Milvus: Milvus Lite, and a server if MILVUS_URI is set."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymilvus import AnnSearchRequest, DataType, MilvusClient, RRFRanker

from colbert_stores import Kept, bytes_on_disk
from comparison import LIMIT, Comparison, Subject
from corpus import DIMENSION, Corpus
from flagvec import Document
from flagvec_milvus import MilvusStore, lite_client
from ready_model import ReadyModel
from store_subject import StoreSubject

# Batches of 128 to 1,000 are equally fast to write.
BATCH = 256
CANDIDATES = 100
TIMEOUT = 60
# The id comes with each hit.
FIELDS = ["text", "metadata"]
GRAPH = {"M": 30, "efConstruction": 360}
# A search visits so many candidates in the graph, as the store's does, so that both find the same.
EFFORT = 256


@contextmanager
def milvus_lite(corpus: Corpus) -> Iterator[Comparison]:
    """Compare `MilvusStore` with a client of Milvus Lite, each with a file of its own."""
    from milvus_lite.server_manager import server_manager_instance

    with tempfile.TemporaryDirectory() as directory:
        paths = [str(Path(directory) / name) for name in ("store.db", "raw.db")]
        ours, theirs = (lite_client(path) for path in paths)
        with _comparison("Milvus Lite", ours, theirs, corpus) as comparison:
            yield comparison
        for client in (ours, theirs):
            client.close()
        for path in paths:
            server_manager_instance.release_server(path)


@contextmanager
def milvus_server(corpus: Corpus) -> Iterator[Comparison]:
    """Compare `MilvusStore` with a client of the server at MILVUS_URI."""
    client = MilvusClient(os.environ["MILVUS_URI"], token=os.environ.get("MILVUS_TOKEN", ""))
    with _comparison("Milvus server", client, client, corpus) as comparison:
        yield comparison
    client.close()


@contextmanager
def _comparison(name: str, ours: MilvusClient, theirs: MilvusClient, corpus: Corpus) -> Iterator[Comparison]:
    names = [f"flagvec_benchmark_{uuid.uuid4().hex}" for _ in range(2)]
    store = MilvusStore(corpus.model, ours, names[0])
    store.create()
    by_hand = ByHand(corpus.model, theirs, names[1], "lite" in theirs.get_server_version(timeout=TIMEOUT))

    def settle() -> None:
        # On a server both search one collection, because two graphs find different documents. Lite has no graph.
        if ours is theirs:
            by_hand.collection = names[0]

    subjects: tuple[Subject, Subject] = (StoreSubject(store), by_hand)
    if by_hand.is_lite:
        subjects = (Merged(subjects[0], ours, names[0]), Merged(by_hand, theirs, names[1]))
    try:
        yield Comparison(name=name, store=subjects[0], others={"by hand": subjects[1]}, settle=settle)
    finally:
        for client, collection in zip((ours, theirs), names, strict=True):
            client.drop_collection(collection)


class Merged:
    """A subject of Milvus Lite whose writes end when its files are merged.

    Every fourth flush makes Milvus Lite merge files in the background. Without waiting, the merges of both sides would
    slow down the writes of one.
    """

    def __init__(self, subject: Subject, client: MilvusClient, collection: str) -> None:
        self.search = subject.search
        self._write = subject.write
        self._client = client
        self._collection = collection

    def write(self, documents: Sequence[Document]) -> None:
        """Write documents and wait for merging."""
        self._write(documents)
        # Loading a loaded collection is free, but it waits until its files are merged.
        self._client.load_collection(self._collection, timeout=TIMEOUT)


class ByHand:
    """What an expert writes with `MilvusClient`: one upsert a batch, one request a search."""

    def __init__(self, model: ReadyModel, client: MilvusClient, collection: str, is_lite: bool) -> None:
        self.model = model
        self.client = client
        self.collection = collection
        self.is_lite = is_lite
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=512)
        schema.add_field("text", DataType.VARCHAR, max_length=65_535)
        schema.add_field("metadata", DataType.JSON)
        schema.add_field("dense", DataType.FLOAT_VECTOR, dim=DIMENSION)
        schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
        indexes = MilvusClient.prepare_index_params()
        # On Lite a graph takes many times as long to write, and is no faster among 20,000 documents.
        graph = {"index_type": "FLAT"} if is_lite else {"index_type": "HNSW", "params": GRAPH}
        indexes.add_index("dense", metric_type="IP", **graph)
        indexes.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
        client.create_collection(collection, schema=schema, timeout=TIMEOUT)
        client.create_index(collection, indexes, sync=False, timeout=TIMEOUT)
        client.load_collection(collection, timeout=TIMEOUT)

    def write(self, documents: Sequence[Document]) -> None:
        """Upsert batches, and flush on Lite as the store does, because searches are slow before a flush."""
        for start in range(0, len(documents), BATCH):
            part = documents[start : start + BATCH]
            output = self.model.encode_corpus([document.text for document in part])
            rows = [
                {
                    "id": document.id,
                    "text": document.text,
                    "metadata": document.metadata,
                    "dense": dense,
                    "sparse": weights,
                }
                for document, dense, weights in zip(part, output["dense_vecs"], output["lexical_weights"], strict=True)
            ]
            self.client.upsert(self.collection, rows, timeout=TIMEOUT)
        if self.is_lite:
            self.client.flush(self.collection, timeout=TIMEOUT)

    def search(self, query: str, mode: str) -> list[str]:
        """Search once."""
        output = self.model.encode_queries([query])
        legs = {"dense": output["dense_vecs"][0], "sparse": output["lexical_weights"][0]}
        options = {"limit": LIMIT, "output_fields": FIELDS, "timeout": TIMEOUT, "consistency_level": "Session"}
        params = {"sparse": {}, "dense": {} if self.is_lite else {"params": {"ef": EFFORT}}}
        if mode == "rrf":
            requests = [AnnSearchRequest([vector], name, params[name], CANDIDATES) for name, vector in legs.items()]
            [hits] = self.client.hybrid_search(self.collection, requests, RRFRanker(60), **options)
        else:
            [hits] = self.client.search(
                self.collection, [legs[mode]], anns_field=mode, search_params=params[mode], **options
            )
        return [hit["id"] for hit in hits]


@contextmanager
def lite_store(corpus: Corpus, colbert: Any) -> Iterator[Kept]:
    """Create a `MilvusStore` on Milvus Lite that keeps ColBERT vectors as `colbert` says."""
    from milvus_lite.server_manager import server_manager_instance

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "store.db"
        client = lite_client(str(path))
        store = MilvusStore(corpus.model, client, "benchmark", colbert=colbert)
        store.create()
        # Loading a loaded collection is free, but it waits until its files are merged.
        try:
            yield Kept(
                store=store,
                at_rest=lambda: client.load_collection("benchmark", timeout=TIMEOUT),
                size=lambda: bytes_on_disk(Path(directory)),
            )
        finally:
            client.close()
            server_manager_instance.release_server(str(path))


ENGINES = {"milvus-lite": milvus_lite, "milvus-server": milvus_server}
STORES = {"milvus-lite": lite_store}
LARGEST: dict[str, int] = {}
NEEDS = {"milvus-server": "MILVUS_URI"}
