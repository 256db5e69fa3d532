"""The stores under fault, and documents whose contents follow from their number."""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flagvec import Document
from flagvec.store.base import HybridStore

sys.path.append(str(Path(__file__).parents[1] / "integrations"))
from seeded_model import SeededModel

KINDS = ("edge", "lite")


def open_store(kind: str, directory: Path, model: Any = None) -> HybridStore:
    """Return the store of a kind in a directory, with a model whose vectors are known; `create` makes it.

    ``"edge-compact"`` keeps ColBERT vectors as codes, and ``"edge-indexed"`` has an index once it has 1,500 documents.
    """
    model = model or SeededModel(dimension=2048 if kind == "edge-indexed" else 64)
    if kind.startswith("edge"):
        from flagvec_qdrant import QdrantEdgeStore, edge

        if kind == "edge-indexed":
            edge.MOST_UNINDEXED_BYTES = 1
        return QdrantEdgeStore(model, directory / "edge", colbert="compact" if kind == "edge-compact" else True)
    if kind == "elasticsearch":
        from elasticsearch import Elasticsearch

        from flagvec_elasticsearch import ElasticsearchStore

        client = Elasticsearch(os.environ["ELASTICSEARCH_URL"], request_timeout=30)
        return ElasticsearchStore(model, client, f"flagvec_faults_{zlib.crc32(str(directory).encode()):08x}")
    from flagvec_milvus import MilvusStore, lite_client

    return MilvusStore(model, lite_client(directory / "lite.db"), "documents")


def document(number: int, version: int = 0) -> Document:
    """Return the document of a number."""
    return Document(f"{number:06d}", f"shared word{number} version{version}", {"number": number, "version": version})


def documents(numbers: Iterable[int], version: int = 0) -> list[Document]:
    """Return the documents of several numbers."""
    return [document(number, version) for number in numbers]


def acknowledged(lines: Iterable[str]) -> set[int]:
    """Return the numbers of the documents that `add` had acknowledged, from the lines of ``store_process.py write``.

    Those count too that the report of its error has as written.
    """
    return {number for said in map(json.loads, lines) for number in _acknowledged_by(said)}


def _acknowledged_by(said: Any) -> Iterable[int]:
    if isinstance(said, list):
        return range(*said)
    return said["written"] if isinstance(said, dict) else ()


def say(what: Any) -> None:
    """Print a line of JSON, which the test that started this process reads at once."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()
