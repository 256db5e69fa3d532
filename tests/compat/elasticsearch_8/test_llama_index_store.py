"""LlamaIndex's own Elasticsearch store, unmodified, which takes dense vectors, on the server at ELASTICSEARCH_URL."""

import asyncio
import sys
import uuid
import warnings
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import TextNode
from pydantic import PydanticDeprecatedSince20

from llama_index_flagvec import FlagEmbedding

with warnings.catch_warnings():
    # Importing the store's class warns.
    warnings.simplefilter("ignore", PydanticDeprecatedSince20)
    from llama_index.vector_stores.elasticsearch import ElasticsearchStore

sys.path.append(str(Path(__file__).parents[2] / "integrations/llama_index_flagvec"))
from counting_model import CountingModel

THINGS = ("rice", "bread", "water", "oven", "salt", "butter", "soup", "pan", "stone", "boil")
TEXTS = [f"{thing} is number {number} of the things" for number, thing in enumerate(THINGS)]
QUERY = "hot soup in a pan"


@pytest.fixture
def model(tiny_m3_directory):
    return CountingModel(tiny_m3_directory, use_fp16=False, return_sparse=True)


@pytest.fixture
def loop():
    """The event loop that the store takes from its thread and does not close."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture
def index(elasticsearch_url, model, loop):
    name = f"flagvec_llama_{uuid.uuid4().hex}"
    # By default the server quantises vectors to bytes, which changes scores.
    exact = {"type": "dense_vector", "similarity": "cosine", "index_options": {"type": "hnsw"}}
    with Elasticsearch(elasticsearch_url) as client:
        client.indices.create(index=name, mappings={"properties": {"embedding": {**exact, "dims": model.dimension}}})
    store = ElasticsearchStore(index_name=name, es_url=elasticsearch_url)
    nodes = [TextNode(text=text) for text in TEXTS]
    storage = StorageContext.from_defaults(vector_store=store)
    yield VectorStoreIndex(nodes, storage_context=storage, embed_model=FlagEmbedding(model))
    store.close()
    with Elasticsearch(elasticsearch_url) as client:
        client.indices.delete(index=name, ignore_unavailable=True)


def test_ingestion_and_query_encode_each_text_once(model, index):
    assert sorted(chain.from_iterable(model.documents)) == sorted(TEXTS)
    assert index.as_retriever(similarity_top_k=3).retrieve(QUERY)
    assert model.queries == [[QUERY]]


def test_scores_are_those_of_the_model_stretched_from_0_to_1(model, index):
    cosines = model.encode_corpus(TEXTS)["dense_vecs"] @ model.encode_queries([QUERY])["dense_vecs"][0]
    found = index.as_retriever(similarity_top_k=len(TEXTS)).retrieve(QUERY)
    # The store rescales the scores of its hits, so the worst hit has 0 and the best 1.
    expected = dict(zip(TEXTS, (cosines - cosines.min()) / np.ptp(cosines), strict=True))
    assert {one.text: one.score for one in found} == pytest.approx(expected, abs=1e-4)
