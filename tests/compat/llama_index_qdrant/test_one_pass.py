"""LlamaIndex's own Qdrant store, unmodified: one forward pass a text, and the scores of flagvec's store."""

import sys
import uuid
from itertools import chain, product
from pathlib import Path

import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.core.vector_stores.types import VectorStoreQueryResult
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient, QdrantClient

from flagvec.search.fusion import reciprocal_rank_fusion
from flagvec_qdrant import QdrantEdgeStore
from llama_index_flagvec import FlagEmbedding, FlagVectorStore, sparse_doc_fn, sparse_query_fn

sys.path.append(str(Path(__file__).parents[2] / "integrations/llama_index_flagvec"))
from counting_model import CountingModel

# The store always creates payload indexes, which the local mode ignores with a warning.
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant:UserWarning")

QUERY = "bake fry cook stir wait rinse hot cold slow sweet"
THINGS = ("rice", "bread", "water", "oven", "salt", "butter", "soup", "pan", "stone", "boil")
DEEDS = ("bake", "fry", "cook", "stir", "wait", "rinse", "hot", "cold", "slow")
# More than the 64 texts that the store gives to the sparse function at once.
TEXTS = [f"{thing} {deed} and {thing} number {deed}{thing}" for thing, deed in product(THINGS, DEEDS)]


def fused(dense_result, sparse_result, alpha, top_k):
    """Fuse by reciprocal ranks, with the signature that the store expects."""
    best = reciprocal_rank_fusion([dense_result.ids, sparse_result.ids])[:top_k]
    nodes = {node.node_id: node for node in [*dense_result.nodes, *sparse_result.nodes]}
    names = [name for name, _ in best]
    return VectorStoreQueryResult([nodes[name] for name in names], [score for _, score in best], names)


@pytest.fixture
def model(tiny_m3_directory):
    return CountingModel(tiny_m3_directory, use_fp16=False, return_sparse=True)


@pytest.fixture
def nodes():
    return [
        TextNode(id_=str(uuid.uuid5(uuid.NAMESPACE_OID, text)), text=text, metadata={"number": number})
        for number, text in enumerate(TEXTS)
    ]


def qdrant_store(model, **clients):
    return QdrantVectorStore(
        "nodes",
        enable_hybrid=True,
        sparse_doc_fn=sparse_doc_fn(model),
        sparse_query_fn=sparse_query_fn(model),
        hybrid_fusion_fn=fused,
        **clients,
    )


@pytest.fixture
def index(model, nodes):
    storage = StorageContext.from_defaults(vector_store=qdrant_store(model, client=QdrantClient(":memory:")))
    return VectorStoreIndex(nodes, storage_context=storage, embed_model=FlagEmbedding(model))


def retriever(index, mode):
    return index.as_retriever(similarity_top_k=len(TEXTS), sparse_top_k=len(TEXTS), vector_store_query_mode=mode)


def test_ingestion_and_query_encode_each_text_once(model, nodes, index):
    assert list(chain.from_iterable(model.documents)) == [node.get_content(MetadataMode.EMBED) for node in nodes]
    assert retriever(index, "hybrid").retrieve(QUERY)
    assert model.queries == [[QUERY]]


async def test_awaited_ingestion_and_query_encode_each_text_once(model, nodes):
    store = qdrant_store(model, aclient=AsyncQdrantClient(":memory:"))
    index = VectorStoreIndex.from_vector_store(store, embed_model=FlagEmbedding(model))
    await index.ainsert_nodes(nodes)
    assert list(chain.from_iterable(model.documents)) == [node.get_content(MetadataMode.EMBED) for node in nodes]
    assert await retriever(index, "hybrid").aretrieve(QUERY)
    assert model.queries == [[QUERY]]


@pytest.mark.parametrize("mode", ["default", "sparse", "hybrid"])
def test_scores_are_those_of_our_own_store(model, nodes, index, mode, tmp_path):
    found = {one.node.node_id: one.score for one in retriever(index, mode).retrieve(QUERY)}
    with QdrantEdgeStore(model, tmp_path / "own") as store:
        store.create()
        own = FlagVectorStore(store, default_mode="dense")
        own.add(nodes)
        expected = retriever(VectorStoreIndex.from_vector_store(own, embed_model=own.embed_model), mode).retrieve(QUERY)
    assert len(found) > 10
    assert found == {one.node.node_id: pytest.approx(one.score, abs=1e-6) for one in expected}


def test_a_text_without_lexical_weights_is_stored_and_changes_no_score(model, index):
    before = {one.node.node_id: one.score for one in retriever(index, "sparse").retrieve(QUERY)}
    empty = TextNode(text="</s>")
    assert not model.encode_corpus("</s>")["lexical_weights"]
    index.insert_nodes([empty])
    after = {one.node.node_id: one.score for one in retriever(index, "sparse").retrieve(QUERY)}
    assert after == before
    dense = index.as_retriever(similarity_top_k=len(TEXTS) + 1).retrieve(QUERY)
    assert empty.node_id in {one.node.node_id for one in dense}
    assert retriever(index, "sparse").retrieve("</s>") == []
