"""How much space on the disk a write takes, against the bound that is checked before it."""

from __future__ import annotations

import sys

import pytest

from flagvec import ColbertStorage, Document
from flagvec.store.backend import Record
from flagvec.store.encoding import encode_documents
from flagvec_qdrant import QdrantEdgeStore
from flagvec_qdrant.edge_models import bytes_on_disk

# Pages of the engine's own tables.
TABLES = 2**20

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say what a sparse file takes")


def allocated(directory):
    return sum(file.lstat().st_blocks * 512 for file in directory.rglob("*"))


@pytest.mark.parametrize("again", [False, True], ids=["new", "replaced"])
@pytest.mark.parametrize("storage", [None, ColbertStorage(bits=8)], ids=["native", "codes"])
@pytest.mark.parametrize(
    ("dimension", "text", "metadata"),
    [
        (256, "one two three four five six seven", {}),
        (8, "é漢字" * 3_000, {"key": "漢字" * 500}),
        (8, "x", {f"key{number}": number for number in range(200)}),
        (8, "x", {}),
    ],
    ids=["vectors", "text", "metadata", "nothing"],
)
def test_a_write_takes_no_more_space_than_the_bound(tmp_path, seeded, storage, dimension, text, metadata, again):
    model = seeded(dimension)
    documents = [Document(str(number), f"{number} {text}", metadata) for number in range(60)]
    texts = [document.text for document in documents]
    encoded = encode_documents(model, texts, texts, model.representations, colbert_storage=storage)
    bound = sum(map(bytes_on_disk, map(Record, documents, encoded.vectors)))
    with QdrantEdgeStore(model, tmp_path / "index", colbert=storage or True) as store:
        store.create()
        for _ in range(1 + again):
            before = allocated(store.path)
            store.add(documents)
        assert allocated(store.path) - before <= bound + TABLES


def test_the_log_of_a_store_of_codes_is_short(tmp_path, seeded):
    text = " ".join(f"word{number}" for number in range(200))
    with QdrantEdgeStore(seeded(256), tmp_path / "index", colbert=ColbertStorage(bits=16)) as store:
        store.create()
        store.add(Document(str(number), f"{number} {text}") for number in range(200))
        # The codes take 27 MB as text.
        assert allocated(store.path) > 27e6
        assert allocated(store.path / "shard" / "wal") < 8e6
