"""LlamaIndex's own Elasticsearch store, unmodified, which takes dense vectors, on the server at ELASTICSEARCH_URL."""

import os
import sys
import uuid
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.vector_stores.elasticsearch import ElasticsearchStore

from llama_index_flagvec import FlagEmbedding

sys.path.append(str(Path(__file__).parents[2] / "integrations/llama_index_flagvec"))
from counting_model import CountingModel

THINGS = ("rice", "bread", "water", "oven", "salt", "butter", "soup", "pan", "stone", "boil")
TEXTS = [f"{thing} is number {number} of the things" for number, thing in enumerate(THINGS)]
QUERY = "hot soup in a pan"


@pytest.fixture
def url():
    if not os.environ.get("ELASTICSEARCH_URL"):
        pytest.skip("ELASTICSEARCH_URL is not set")
    return os.environ["ELASTICSEARCH_URL"]


@pytest.fixture
def model(tiny_m3_directory):
    return CountingModel(tiny_m3_directory, use_fp16=False, return_sparse=True)


@pytest.fixture
def index(url, model):
    name = f"flagvec_llama_{uuid.uuid4().hex}"
    store = ElasticsearchStore(index_name=name, es_url=url)
    nodes = [TextNode(text=text) for text in TEXTS]
    storage = StorageContext.from_defaults(vector_store=store)
    yield VectorStoreIndex(nodes, storage_context=storage, embed_model=FlagEmbedding(model))
    store.close()
    with Elasticsearch(url) as client:
        client.indices.delete(index=name, ignore_unavailable=True)


def test_ingestion_and_query_encode_each_text_once(model, index):
    assert sorted(chain.from_iterable(model.documents)) == sorted(
        TextNode(text=text).get_content(MetadataMode.EMBED) for text in TEXTS
    )
    assert index.as_retriever(similarity_top_k=3).retrieve(QUERY)
    assert model.queries == [[QUERY]]


def test_nodes_are_ordered_by_the_dense_scores_of_the_model(model, index):
    scores = model.encode_corpus(TEXTS)["dense_vecs"] @ model.encode_queries([QUERY])["dense_vecs"][0]
    assert np.diff(np.sort(scores)).min() > 1e-4, "no two texts may tie for the order to be one"
    found = [one.text for one in index.as_retriever(similarity_top_k=len(TEXTS)).retrieve(QUERY)]
    assert found == [TEXTS[position] for position in np.argsort(-scores)]
