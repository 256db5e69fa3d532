"""A `CombinedModel` in LlamaIndex's components."""

import json

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode

from flagvec import ColbertFlagModel, CombinedModel
from flagvec_qdrant import QdrantEdgeStore
from llama_index_flagvec import ColbertRerank, DeferredEmbedding, FlagEmbedding, FlagVectorStore

QUERY = "a library for zip archives"
TEXTS = ["rice is cooked in water", "a library for zip archives and files", "what is hybrid search?"]


@pytest.fixture
def model(tiny_bert, tmp_path, colbert_checkpoint):
    return CombinedModel(tiny_bert, colbert=ColbertFlagModel(colbert_checkpoint(tmp_path / "mine"), use_fp16=False))


@pytest.fixture
def store(model, tmp_path):
    with QdrantEdgeStore(model, tmp_path / "index") as store:
        store.create()
        yield store


def test_the_vector_store_takes_it(store):
    vectors = FlagVectorStore(store)
    vectors.add([TextNode(text=text) for text in TEXTS])
    index = VectorStoreIndex.from_vector_store(vectors, embed_model=DeferredEmbedding())
    found = index.as_retriever(similarity_top_k=3, vector_store_kwargs={"rerank": "colbert"}).retrieve(QUERY)
    expected = store.search(QUERY, limit=3, rerank="colbert")
    assert [one.score for one in found] == pytest.approx([hit.score for hit in expected])
    assert [one.node.node_id for one in found] == [hit.id for hit in expected]


@pytest.mark.parametrize("make", [FlagEmbedding, ColbertRerank])
def test_a_component_is_remade_from_its_json_with_both_models(make, model):
    fields = json.loads(make(model).model_dump_json())
    fields.pop("class_name")
    again = make(**fields).model
    assert isinstance(again, CombinedModel)
    assert again.model_name_or_path == model.model_name_or_path
    assert (again.encode_queries(QUERY)["dense_vecs"] == model.encode_queries(QUERY)["dense_vecs"]).all()
