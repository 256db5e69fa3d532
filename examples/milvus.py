"""Hybrid search in Milvus Lite, in a file, on a model that needs no download."""

from __future__ import annotations

from pathlib import Path

from transformers.utils import logging as transformers_logging

from flagvec import BGEM3FlagModel, Document
from flagvec_milvus import MilvusStore, lite_client
from mini_m3.build import build_mini_m3

DOCUMENTS = [
    Document("rice", "Rice is cooked in twice as much water.", {"kind": "side", "minutes": 20}),
    Document("bread", "Bread is baked in a hot oven.", {"kind": "side", "minutes": 180}),
    Document("stew", "Beef is stewed with onions and wine.", {"kind": "main", "minutes": 150}),
]


def main(build: Path) -> None:
    """Write three recipes and search them: hybrid, reranked by ColBERT, and filtered."""
    model = BGEM3FlagModel(
        build_mini_m3(build / "mini-m3"), pooling_method="mean", return_sparse=True, return_colbert_vecs=True
    )
    # For a server: MilvusClient("http://localhost:19530") of pymilvus.
    store = MilvusStore(model, lite_client(build / "milvus.db"), "recipes")
    store.create()
    store.add(DOCUMENTS).raise_for_failures()
    for options in ({}, {"rerank": "colbert"}, {"filter": {"kind": "side", "minutes": {"lt": 60}}}):
        print(options)
        for hit in store.search("how do I make a loaf?", limit=2, explain=True, **options):
            print(f"  {hit.score:.4f}", hit.text, {name: round(score, 2) for name, score in hit.scores.items()})


if __name__ == "__main__":
    transformers_logging.disable_progress_bar()
    main(Path(__file__).parents[1] / "build")
