"""Hybrid search in Elasticsearch, at ELASTICSEARCH_URL or on this machine, on a model that needs no download."""

import os
import sys
from pathlib import Path

from transformers.utils import logging as transformers_logging

from mini_m3.build import build_mini_m3

# This file has the client's name, and would be imported in its place while its folder comes first.
sys.path.append(sys.path.pop(0))
from elasticsearch import Elasticsearch

from flagvec import BGEM3FlagModel, Document, Weighted
from flagvec_elasticsearch import ElasticsearchStore

DOCUMENTS = [
    Document("rice", "Rice is cooked in twice as much water.", {"kind": "side", "minutes": 20}),
    Document("bread", "Bread is baked in a hot oven.", {"kind": "side", "minutes": 180}),
    Document("stew", "Beef is stewed with onions and wine.", {"kind": "main", "minutes": 150}),
]


def main(checkpoint: Path, client: Elasticsearch) -> None:
    """Write three recipes and search them: hybrid, by the model's own weighted score, and filtered."""
    model = BGEM3FlagModel(checkpoint, pooling_method="mean", return_sparse=True, return_colbert_vecs=True)
    store = ElasticsearchStore(model, client, "flagvec-example")
    store.create()
    store.add(DOCUMENTS).raise_for_failures()
    for options in ({}, {"fusion": Weighted()}, {"filter": {"kind": "side", "minutes": {"lt": 60}}}):
        for hit in store.search("how do I make a loaf?", limit=2, explain=True, **options):
            print(options, f"{hit.score:.4f}", hit.text, {name: round(score, 2) for name, score in hit.scores.items()})


if __name__ == "__main__":
    transformers_logging.disable_progress_bar()
    url = os.environ.get("ELASTICSEARCH_URL", "http://127.0.0.1:9200")
    main(build_mini_m3(Path(__file__).parents[1] / "build" / "mini-m3"), Elasticsearch(url))
