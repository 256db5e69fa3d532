"""An edge store of real package descriptions, and one-line summaries of some of them as queries."""

import gzip
import json
from pathlib import Path

import pytest

from flagvec import Document
from flagvec.ingest.splitting import Splitter
from flagvec_qdrant import QdrantEdgeStore

DATA = Path(__file__).parents[3] / "examples/data"
QUERIES, DOCUMENTS = 40, 250


def lines_of(name):
    with gzip.open(DATA / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="session")
def judged():
    """Forty queries as dicts."""
    return [
        {"id": one["id"], "query": one["text"], "relevant": one["relevant"]}
        for one in lines_of("debian-sample-queries.jsonl.gz")[:QUERIES]
    ]


@pytest.fixture(scope="module")
def packages(judged, tiny_m3, tmp_path_factory):
    """A store of 250 documents, those of the queries among them, with the vectors of the tiny model."""
    wanted = {name for query in judged for name in query["relevant"]}
    ordered = sorted(lines_of("debian-sample.jsonl.gz"), key=lambda one: one["id"] not in wanted)
    with QdrantEdgeStore(tiny_m3, tmp_path_factory.mktemp("stores") / "packages") as store:
        store.create()
        store.add([Document(one["id"], one["text"]) for one in ordered[:DOCUMENTS]])
        yield store


@pytest.fixture(scope="module")
def parts(judged, tiny_m3, tmp_path_factory):
    """A store of the documents of the queries in parts of 20 tokens, as ``--split 20`` makes them."""
    pytest.importorskip("semantic_text_splitter")
    splitter = Splitter(tiny_m3, 20)
    wanted = {name for query in judged for name in query["relevant"]}
    with QdrantEdgeStore(tiny_m3, tmp_path_factory.mktemp("stores") / "parts") as store:
        store.create()
        store.add(
            part
            for one in lines_of("debian-sample.jsonl.gz")
            if one["id"] in wanted
            for part in splitter.split(Document(one["id"], one["text"]))
        )
        yield store
