"""Search recipes in Milvus Lite, which keeps them in ./recipes.db."""

from flagvec import BGEM3FlagModel, Document
from flagvec_milvus import MilvusStore, lite_client

RECIPES = [
    Document("rice", "Rice is cooked in twice as much water.", {"kind": "side", "minutes": 20}),
    Document("bread", "Bread is baked in a hot oven.", {"kind": "side", "minutes": 180}),
    Document("stew", "Beef is stewed with onions and wine.", {"kind": "main", "minutes": 150}),
]

# For a server use pymilvus: MilvusClient("http://localhost:19530").
with MilvusStore(BGEM3FlagModel("mini-m3"), lite_client("recipes.db"), "recipes") as store:
    store.create()
    store.add(RECIPES)
    for options in ({}, {"rerank": "colbert"}, {"filter": {"kind": "side", "minutes": {"lt": 60}}}):
        print(options)
        for hit in store.search("how do I make a loaf?", limit=2, **options):
            print(f"  {hit.score:.4f} {hit.text}")
