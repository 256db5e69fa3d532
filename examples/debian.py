"""Read the sample in data/: descriptions of Debian packages, and one-line summaries of some as queries."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flagvec import Document

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Query:
    """A query and the documents that it should find.

    Args:
        id: Unique among the queries.
        text: The query, in English.
        relevant: The ids of the documents that it summarises; each is in the sample.
    """

    id: str
    text: str
    relevant: frozenset[str]


def load_documents() -> list[Document]:
    """Return the 2,400 documents, ordered by id; their metadata names the ``package``."""
    records = _read(DATA / "debian-sample.jsonl.gz")
    return [Document(record["id"], record["text"], {"package": record["package"]}) for record in records]


def load_queries() -> list[Query]:
    """Return the 308 queries, ordered by id."""
    records = _read(DATA / "debian-sample-queries.jsonl.gz")
    return [Query(record["id"], record["text"], frozenset(record["relevant"])) for record in records]


def _read(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)
