"""While the model encodes, the event loop goes on, and the model has one caller at a time."""

import asyncio
import time

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import NodeWithScore

from llama_index_flagvec import ColbertRerank, FlagEmbedding, FlagVectorStore, M3SparseEmbedding

AT_ONCE = 32


@pytest.fixture
def slow(counting, monkeypatch):
    """The counting model, which takes a hundredth of a second longer for each call."""
    encode = counting.encode

    def encode_slowly(*arguments, **options):
        time.sleep(0.01)
        return encode(*arguments, **options)

    monkeypatch.setattr(counting, "encode", encode_slowly)
    return counting


async def ticks_while_encoding(model, asked):
    """Await everything that was asked; return the results and how often the loop turned within a call of the model."""
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += model.callers

    ticker = asyncio.create_task(tick())
    results = await asyncio.gather(*asked)
    ticker.cancel()
    return results, ticks


def check(model, ticks):
    # A loop that was blocked would not turn a single time while the model has a caller.
    assert ticks >= AT_ONCE
    assert model.most_callers == 1


async def test_many_retrievals_at_once_do_not_block_the_loop(counted_store, slow, recipes):
    vectors = FlagVectorStore(counted_store)
    index = VectorStoreIndex.from_vector_store(vectors, embed_model=vectors.embed_model)
    await index.ainsert_nodes(recipes.nodes)
    retriever = index.as_retriever(similarity_top_k=2, vector_store_query_mode="hybrid")
    queries = [f"query number {number}" for number in range(AT_ONCE)]
    results, ticks = await ticks_while_encoding(slow, [retriever.aretrieve(query) for query in queries])
    check(slow, ticks)
    assert sorted(slow.queries) == sorted([query] for query in queries)
    for query, found in zip(queries, results, strict=True):
        hits = counted_store.search(query, 2, mode="hybrid")
        assert [one.score for one in found] == pytest.approx([hit.score for hit in hits], abs=1e-6)


async def test_many_embeddings_at_once_do_not_block_the_loop(slow):
    dense, sparse = FlagEmbedding(slow), M3SparseEmbedding(slow)
    texts = [f"text number {number}" for number in range(AT_ONCE)]
    asked = [embedding.aget_text_embedding(text) for text in texts for embedding in (dense, sparse)]
    results, ticks = await ticks_while_encoding(slow, asked)
    check(slow, ticks)
    assert sorted(slow.documents) == sorted([text] for text in texts)
    assert results[0] == dense.get_text_embedding(texts[0])


async def test_many_reranks_at_once_do_not_block_the_loop(slow, recipes):
    rerank = ColbertRerank(slow, top_n=2)
    nodes = [NodeWithScore(node=node) for node in recipes.nodes]
    asked = [rerank.apostprocess_nodes(nodes, query_str=f"query number {number}") for number in range(AT_ONCE)]
    results, ticks = await ticks_while_encoding(slow, asked)
    check(slow, ticks)
    assert results[3] == rerank.postprocess_nodes(nodes, query_str="query number 3")
