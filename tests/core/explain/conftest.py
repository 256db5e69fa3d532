"""A model and a store of real texts, which the explanations are about."""

import gzip
import json
from pathlib import Path

import pytest

from flagvec import BGEM3FlagModel, Document
from flagvec_qdrant import QdrantEdgeStore

SAMPLE = Path(__file__).parents[3] / "examples/data/debian-sample.jsonl.gz"


@pytest.fixture(scope="session")
def mini():
    return BGEM3FlagModel("mini-m3", use_fp16=False)


@pytest.fixture(scope="session")
def documents():
    with gzip.open(SAMPLE, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for _, line in zip(range(200), lines, strict=False)]
    return [Document(row["id"], row["text"], {"package": row["package"]}) for row in rows]


@pytest.fixture(scope="session")
def make_store(mini, documents, tmp_path_factory):
    """A function that returns a filled store."""
    opened = {}

    def make(colbert):
        if colbert not in opened:
            store = QdrantEdgeStore(mini, tmp_path_factory.mktemp("explain") / "store", colbert=colbert)
            store.create()
            store.add(documents, show_progress=False).raise_for_failures()
            opened[colbert] = store
        return opened[colbert]

    yield make
    for store in opened.values():
        store.close()


@pytest.fixture(scope="session")
def store(make_store):
    return make_store(True)
