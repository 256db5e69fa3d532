"""Index texts in Qdrant and search them: embedded in this process, or on the server at QDRANT_URL."""

from __future__ import annotations

import os
from pathlib import Path

from flagvec import BGEM3FlagModel, Document
from flagvec_qdrant import QdrantEdgeStore, QdrantStore
from mini_m3.build import build_mini_m3

BUILD = Path(__file__).parents[1] / "build"
RECIPES = [
    Document("rice", "Rice is cooked in twice as much water.", {"minutes": 20, "tags": ["vegan"]}),
    Document("bread", "Bread is baked in a hot oven.", {"minutes": 180, "tags": ["vegan", "baking"]}),
    Document("omelette", "Beaten eggs are fried in butter.", {"minutes": 10}),
]


def open_store(model: BGEM3FlagModel) -> QdrantEdgeStore | QdrantStore:
    """Return a store on the server at QDRANT_URL if that is set, and in a directory otherwise."""
    if url := os.environ.get("QDRANT_URL"):
        from qdrant_client import QdrantClient

        return QdrantStore(model, QdrantClient(url=url), "recipes", filter_fields={"minutes": "float"})
    return QdrantEdgeStore(model, BUILD / "qdrant-index")


if __name__ == "__main__":
    model = BGEM3FlagModel(build_mini_m3(BUILD / "mini-m3"), pooling_method="mean", return_colbert_vecs=True)
    with open_store(model) as store:
        store.create()
        store.add(RECIPES).raise_for_failures()
        for hit in store.search("how do I make a loaf?", rerank="colbert"):
            print(f"{hit.score:.3f}  {hit.text}")
        print("quick:", [hit.id for hit in store.search("something to eat", filter={"minutes": {"lte": 30}})])
