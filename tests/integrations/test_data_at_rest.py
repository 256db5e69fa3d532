"""Documents and vectors through Parquet files from one kind of store into others, and back."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flagvec import Document

pytest.importorskip("pyarrow")

from flagvec.ingest.loading import load
from flagvec.ingest.parquet import export, read_vectors

HERE = Path(__file__).parent
HALF = 1e-3
HOSTILE = [
    "\x00",
    "\"'\\",
    "a'; DROP TABLE x;--",
    "é\u0301",
    "米飯 😀",
    " leading and trailing ",
    "\u202e",
    "%s {0}\n\t",
    "x" * 400,
]
DOCUMENTS = [
    Document(f"{HOSTILE[number % 9]}#{number}", f"word{number} shared {HOSTILE[number % 9]}", {
        "n": number, HOSTILE[number % 9]: [HOSTILE[(number + 1) % 9], None, 0.1, {"": True}], "big": 2**63 - 1,
    })
    for number in range(30)
] + [Document("without words", "", {})]  # fmt: skip


@pytest.fixture
def make(load_module: Callable[[Path], Any], seeded: Any) -> Iterator[Callable[..., Any]]:
    """A function that makes an empty store of a kind: ``edge``, ``milvus-lite`` or ``elasticsearch``."""
    factories = {
        one.name: one
        for package in ("qdrant", "milvus", "elasticsearch")
        for one in load_module(HERE / f"flagvec_{package}" / "factory.py").FACTORIES
    }
    made: list[tuple[Any, str, Any]] = []

    def make(kind: str, **options: Any) -> Any:
        factory, name = factories[kind], f"flagvec_test_{uuid.uuid4().hex}"
        if (reason := factory.skip_reason()) is not None:
            pytest.skip(reason)
        store = factory.make(seeded(), name, **options)
        made.append((factory, name, store))
        store.create()
        return store

    yield make
    for factory, name, store in made:
        store.close()
        factory.cleanup(name)


def by_id(records: Any) -> dict[str, Any]:
    return {record.document.id: record for record in records}


def check_equal(found: Any, wanted: Any, weights: float = 0.0) -> None:
    """Check that records are the same, lexical weights up to a relative error."""
    assert found.keys() == wanted.keys()
    for name, one in found.items():
        other = wanted[name]
        assert one.document == other.document
        np.testing.assert_allclose(one.vectors.dense, other.vectors.dense, atol=1e-6)
        assert (one.vectors.sparse or {}) == pytest.approx(dict(other.vectors.sparse or {}), rel=weights, abs=0)
        assert rows(one).shape == rows(other).shape
        np.testing.assert_allclose(rows(one), rows(other), atol=HALF)
        if one.vectors.colbert_codes is not None and other.vectors.colbert_codes is not None:
            assert np.array_equal(one.vectors.colbert_codes, other.vectors.colbert_codes)


def rows(record: Any) -> Any:
    """Return a record's native ColBERT rows, none if it has none."""
    found = record.vectors.colbert
    return np.empty((0, 16)) if found is None or not len(found) else found


def test_edge_to_files_to_milvus_lite_to_files_to_elasticsearch(make, tmp_path):
    edge, milvus, elastic = make("edge"), make("milvus-lite"), make("elasticsearch")
    edge.add(DOCUMENTS).raise_for_failures()
    origin = by_id(edge.scroll_vectors())
    assert export(edge, tmp_path / "edge").written == len(DOCUMENTS)
    check_equal(by_id(read_vectors(tmp_path / "edge")), origin)
    load(tmp_path / "edge", milvus)
    check_equal(by_id(milvus.scroll_vectors()), origin)
    export(milvus, tmp_path / "milvus")
    check_equal(by_id(read_vectors(tmp_path / "milvus")), origin)
    load(tmp_path / "milvus", elastic)
    check_equal(by_id(elastic.scroll_vectors()), origin)
    assert [hit.id for hit in elastic.search("word7", mode="sparse", limit=1)] == [DOCUMENTS[7].id]
