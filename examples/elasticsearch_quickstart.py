"""Search recipes in Elasticsearch: on the node at ELASTICSEARCH_URL, by default http://127.0.0.1:9200."""

import os

from elasticsearch import Elasticsearch

from flagvec import BGEM3FlagModel, Document, Weighted
from flagvec_elasticsearch import ElasticsearchStore

RECIPES = [
    Document("rice", "Rice is cooked in twice as much water.", {"kind": "side", "minutes": 20}),
    Document("bread", "Bread is baked in a hot oven.", {"kind": "side", "minutes": 180}),
    Document("stew", "Beef is stewed with onions and wine.", {"kind": "main", "minutes": 150}),
]

url = os.environ.get("ELASTICSEARCH_URL", "http://127.0.0.1:9200")
with Elasticsearch(url) as client:
    store = ElasticsearchStore(BGEM3FlagModel("mini-m3"), client, "flagvec-example")
    store.create()
    store.add(RECIPES)
    for options in ({}, {"fusion": Weighted()}, {"filter": {"kind": "side", "minutes": {"lt": 60}}}):
        print(options)
        for hit in store.search("how do I make a loaf?", limit=2, **options):
            print(f"  {hit.score:.4f} {hit.text}")
