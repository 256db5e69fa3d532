"""Search recipes in Qdrant: on the server at QDRANT_URL, or without a server in ./qdrant-index."""

import os

from flagvec import BGEM3FlagModel, Document
from flagvec_qdrant import QdrantEdgeStore, QdrantStore

RECIPES = [
    Document("rice", "Rice is cooked in twice as much water.", {"kind": "side", "minutes": 20}),
    Document("bread", "Bread is baked in a hot oven.", {"kind": "side", "minutes": 180}),
    Document("stew", "Beef is stewed with onions and wine.", {"kind": "main", "minutes": 150}),
]


def open_store(model: BGEM3FlagModel) -> QdrantEdgeStore | QdrantStore:
    """Return a store on the server if there is one, and a store in a directory if not."""
    if url := os.environ.get("QDRANT_URL"):
        from qdrant_client import QdrantClient

        fields = {"kind": "keyword", "minutes": "float"}
        return QdrantStore(model, QdrantClient(url=url), "recipes", filter_fields=fields)
    return QdrantEdgeStore(model, "qdrant-index")


with open_store(BGEM3FlagModel("mini-m3")) as store:
    store.create()
    store.add(RECIPES)
    for options in ({}, {"rerank": "colbert"}, {"filter": {"kind": "side", "minutes": {"lt": 60}}}):
        print(options)
        for hit in store.search("how do I make a loaf?", limit=2, **options):
            print(f"  {hit.score:.4f} {hit.text}")
