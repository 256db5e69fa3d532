"""LlamaIndex's own Milvus store, unmodified, on Milvus Lite: one forward pass a text, and the scores of our store."""

import sys
from itertools import chain, product
from pathlib import Path

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.vector_stores.milvus import MilvusVectorStore
from pymilvus.exceptions import MilvusException

from flagvec_qdrant import QdrantEdgeStore
from llama_index_flagvec import FlagEmbedding, FlagVectorStore, M3SparseEmbeddingFunction

sys.path.append(str(Path(__file__).parents[2] / "integrations/llama_index_flagvec"))
from counting_model import CountingModel

QUERY = "bake fry cook stir wait rinse hot cold slow sweet"
THINGS = ("rice", "bread", "water", "oven", "salt", "butter", "soup", "pan", "stone", "boil")
DEEDS = ("bake", "fry", "cook", "stir", "wait", "rinse", "hot", "cold", "slow")
TEXTS = [f"{thing} {deed} and {thing} number {deed}{thing}" for thing, deed in product(THINGS, DEEDS)]
NO_WEIGHTS = "</s>"


@pytest.fixture
def model(tiny_m3_directory):
    return CountingModel(tiny_m3_directory, use_fp16=False, return_sparse=True)


@pytest.fixture(scope="session")
def database(tmp_path_factory):
    return str(tmp_path_factory.mktemp("milvus") / "nodes.db")


@pytest.fixture
def milvus(model, database):
    store = MilvusVectorStore(
        database,
        collection_name="nodes",
        overwrite=True,
        dim=model.dimension,
        enable_sparse=True,
        sparse_embedding_function=M3SparseEmbeddingFunction(model),
        use_async_client=False,
    )
    yield store
    store.client.close()


@pytest.fixture
def index(model, milvus):
    return VectorStoreIndex.from_vector_store(milvus, embed_model=FlagEmbedding(model))


@pytest.fixture
def nodes():
    return [
        TextNode(id_=str(number), text=text, metadata={"number": number}, excluded_embed_metadata_keys=["number"])
        for number, text in enumerate(TEXTS)
    ]


@pytest.fixture
def own(model, nodes, tmp_path):
    with QdrantEdgeStore(model, tmp_path / "own") as store:
        store.create()
        FlagVectorStore(store).add(nodes)
        yield store


def retriever(index, mode):
    return index.as_retriever(similarity_top_k=len(TEXTS), vector_store_query_mode=mode)


def scores(found):
    return {one.node.node_id: one.score for one in found}


def sparse_scores(milvus, query):
    """Search the store's own sparse field, as its hybrid mode does."""
    weights = milvus.sparse_embedding_function.encode_queries([query])
    found = milvus.client.search(
        milvus.collection_name, weights, anns_field=milvus.sparse_embedding_field, limit=200, output_fields=["id"]
    )
    return {hit["entity"]["id"]: hit["distance"] for hit in found[0]}


def test_ingestion_and_hybrid_query_encode_each_text_once(model, index, nodes):
    index.insert_nodes(nodes)
    assert list(chain.from_iterable(model.documents)) == TEXTS
    assert len(retriever(index, "hybrid").retrieve(QUERY)) == len(TEXTS)
    assert model.queries == [[QUERY]]


def test_a_text_that_is_embedded_with_metadata_is_encoded_again_without_them(model, index):
    node = TextNode(text="Rinse it.", metadata={"title": "Rice"})
    index.insert_nodes([node])
    assert model.documents == [[node.get_content(MetadataMode.EMBED)], ["Rinse it."]]


def test_dense_scores_are_those_of_our_own_store(index, nodes, own):
    index.insert_nodes(nodes)
    expected = {hit.id: pytest.approx(hit.score, abs=1e-6) for hit in own.search(QUERY, 90, mode="dense")}
    assert scores(retriever(index, "default").retrieve(QUERY)) == expected


def test_hybrid_scores_are_those_of_our_own_store(index, nodes, own):
    index.insert_nodes(nodes)
    expected = {hit.id: pytest.approx(hit.score, abs=1e-6) for hit in own.search(QUERY, 90, mode="hybrid")}
    assert len(own.search(QUERY, 90, mode="sparse")) > 10
    assert scores(retriever(index, "hybrid").retrieve(QUERY)) == expected


def test_stored_lexical_weights_score_as_in_our_own_store(index, milvus, nodes, own):
    index.insert_nodes(nodes)
    expected = {hit.id: pytest.approx(hit.score, abs=1e-6) for hit in own.search(QUERY, 90, mode="sparse")}
    assert len(expected) > 10
    assert sparse_scores(milvus, QUERY) == expected


@pytest.mark.parametrize("mode", ["sparse", "text_search"])
def test_milvus_lite_refuses_the_stores_sparse_mode_which_leaves_out_small_weights(index, nodes, mode):
    # The store always asks for drop_ratio_search=0.2, and has no argument for it.
    index.insert_nodes(nodes[:1])
    with pytest.raises(MilvusException, match="only drop_ratio_search=0 is supported"):
        retriever(index, mode).retrieve(QUERY)


def test_a_text_without_lexical_weights_is_stored_and_changes_no_score(model, index, milvus, nodes):
    assert not model.encode_corpus(NO_WEIGHTS)["lexical_weights"]
    index.insert_nodes(nodes)
    before = sparse_scores(milvus, QUERY)
    index.insert_nodes([TextNode(id_="empty", text=NO_WEIGHTS)])
    assert sparse_scores(milvus, QUERY) == before
    dense = index.as_retriever(similarity_top_k=len(TEXTS) + 1).retrieve(QUERY)
    assert "empty" in scores(dense)


def test_a_query_without_lexical_weights_finds_by_its_dense_vector_alone(model, index, milvus, nodes):
    index.insert_nodes([*nodes, TextNode(id_="empty", text=NO_WEIGHTS)])
    assert sparse_scores(milvus, NO_WEIGHTS) == {}
    dense = [one.node.node_id for one in retriever(index, "default").retrieve(NO_WEIGHTS)]
    assert [one.node.node_id for one in retriever(index, "hybrid").retrieve(NO_WEIGHTS)] == dense
    assert dense[0] == "empty"


async def test_awaited_weights_are_the_same(model, milvus):
    function = milvus.sparse_embedding_function
    assert await function.async_encode_queries([QUERY]) == function.encode_queries([QUERY])
    assert await function.async_encode_documents(TEXTS[:2]) == function.encode_documents(TEXTS[:2])
