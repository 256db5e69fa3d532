"""Both representations in langchain-elasticsearch's own, unmodified store, on the server at ELASTICSEARCH_URL."""

import asyncio
import time
import uuid
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import langchain_elasticsearch
import numpy as np
import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch

from flagvec import BGEM3FlagModel, Document, Weighted
from flagvec.store.encoding import encode_documents, encode_query
from flagvec_elasticsearch import ElasticsearchStore
from langchain_flagvec import (
    AsyncElasticsearchStrategy,
    ElasticsearchEmbeddings,
    ElasticsearchStrategy,
    FlagEmbeddings,
)

# The store embeds this text to learn the dimension when it creates an index.
PROBE = "get num dimensions"
WORDS = [f"word{number}" for number in range(40)]
EVEN = Weighted(dense=1, sparse=1, colbert=0)


def seeded_class():
    path = Path(__file__).parents[2] / "integrations/seeded_model.py"
    specification = spec_from_file_location("flagvec_tests_seeded_model", path)
    module = module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.SeededModel


def seeded_model():
    return seeded_class()(64)


def model_of_unrelated_legs():
    """Return a model whose dense vectors do not depend on the words that texts share."""

    class Unrelated(seeded_class()):
        def encode_corpus(self, texts, **options):
            rows = self._rows([f"the text {text}" for text in texts])
            vectors = {"dense_vecs": rows / np.linalg.norm(rows, axis=1, keepdims=True)}
            return super().encode_corpus(texts, **options) | vectors

        encode_queries = encode_corpus

    return Unrelated(64)


@pytest.fixture(scope="module")
def client(elasticsearch_url):
    with Elasticsearch(elasticsearch_url, request_timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def new_name(client):
    """A function that returns the name of an index that does not exist yet."""
    names = []

    def name():
        names.append(f"flagvec_test_{uuid.uuid4().hex}")
        return names[-1]

    yield name
    client.indices.delete(index=",".join(names), ignore_unavailable=True)


@pytest.fixture(scope="module")
def new_store(client, new_name):
    def make(model, texts=(), name=None, strategy=None, embedding=None, **options):
        store = langchain_elasticsearch.ElasticsearchStore(
            name or new_name(),
            client=client,
            embedding=embedding or ElasticsearchEmbeddings(model),
            strategy=strategy or ElasticsearchStrategy(model),
            **options,
        )
        if texts:
            store.add_texts(texts)
        return store

    return make


@pytest.fixture(scope="module")
def new_own(client, new_name):
    def make(model, texts):
        store = ElasticsearchStore(model, client, new_name(), colbert=False)
        store.create()
        store.add([Document(str(position), text) for position, text in enumerate(texts)]).raise_for_failures()
        return store

    return make


@pytest.fixture
def noting(tiny_m3_directory):
    class NotingModel(BGEM3FlagModel):
        seconds = 0.0
        at_once = most_at_once = 0

        def encode(self, sentences, *arguments, **options):
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self.encoded += sentences
            time.sleep(self.seconds)
            output = super().encode(sentences, *arguments, **options)
            self.at_once -= 1
            return output

    model = NotingModel(tiny_m3_directory, use_fp16=False)
    model.encoded = []
    return model


@pytest.fixture(scope="module")
def words():
    generator = np.random.default_rng(0)
    return [" ".join(generator.choice(WORDS, size=6, replace=False)) for _ in range(300)]


@pytest.fixture(scope="module")
def texts(golden):
    return list(dict.fromkeys(golden.texts))


def scores_of(hits):
    return [score for _, score in hits]


def test_a_text_goes_through_the_model_once_for_both_vectors_and_so_does_a_query(noting, new_store):
    texts = [f"text number {number}" for number in range(100)]
    store = new_store(noting, texts)
    assert noting.encoded == [PROBE, *texts]
    noting.encoded.clear()
    assert len(store.similarity_search("text number 7", k=3)) == 3
    assert noting.encoded == ["text number 7"]


@pytest.mark.parametrize(
    ("strategy", "search"),
    [
        ({}, {"fusion": EVEN}),
        ({"fusion": Weighted(1, 0.3, 0)}, {"fusion": Weighted(1, 0.3, 0)}),
        ({"mode": "dense"}, {"mode": "dense"}),
        ({"mode": "sparse"}, {"mode": "sparse"}),
    ],
    ids=["hybrid", "weighted", "dense", "sparse"],
)
def test_scores_are_those_of_our_own_store(tiny_m3, new_store, new_own, texts, golden, strategy, search):
    store = new_store(tiny_m3, texts, strategy=ElasticsearchStrategy(tiny_m3, **strategy))
    own = new_own(tiny_m3, texts)
    for query in golden.queries:
        hits = store.similarity_search_with_score(query, k=len(texts))
        expected = {hit.text: hit.score for hit in own.search(query, limit=len(texts), **search)}
        assert {document.page_content: score for document, score in hits} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("dense_index", ["int8_hnsw", "hnsw", "bbq_hnsw"])
@pytest.mark.parametrize("shards", [1, 3])
def test_of_many_documents_the_best_are_found_with_scores_of_our_own_store(
    new_store, new_own, words, dense_index, shards
):
    model = seeded_model()
    strategy = ElasticsearchStrategy(model, dense_index=dense_index)
    store = new_store(model, words, strategy=strategy, custom_index_settings={"number_of_shards": shards})
    own = new_own(model, words)
    for query in ["word1 word7 word9", "word3", "word30 word31 word32"]:
        expected = [hit.score for hit in own.search(query, limit=10, fusion=EVEN)]
        assert scores_of(store.similarity_search_with_score(query, k=10)) == pytest.approx(expected, abs=1e-6)


def test_a_document_that_is_not_among_the_nearest_counts_as_one_of_dense_score_0(new_store, words):
    model, query = model_of_unrelated_legs(), "word1 word7 word9"
    asked = encode_query(model, query, model.representations)
    vectors = encode_documents(model, words, words, model.representations).all_valid()
    dense = {text: float(asked.dense @ vector.dense) for text, vector in zip(words, vectors, strict=True)}
    sparse = {
        text: sum(weight * vector.sparse.get(token, 0.0) for token, weight in asked.sparse.items())
        for text, vector in zip(words, vectors, strict=True)
    }
    # The store asks for so many candidates.
    nearest = sorted(dense, key=dense.get)[-50:]
    strategy = ElasticsearchStrategy(model, candidates=10, rescored=10, dense_index="hnsw")
    hits = new_store(model, words, strategy=strategy).similarity_search_with_score(query, k=50)
    found = {document.page_content: score for document, score in hits}
    assert any(text not in nearest for text in found)
    for text, score in found.items():
        counted = max(dense[text], 0.0) if text in nearest else 0.0
        # Elasticsearch keeps nine bits of a weight.
        assert score == pytest.approx((counted + sparse[text]) / 2, rel=4e-3)


def test_a_filter_holds_in_both_legs(tiny_m3, new_store):
    store = new_store(tiny_m3)
    store.add_texts(["rice soup", "rice salad", "bread"], [{"n": 1}, {"n": 2}, {"n": 3}])
    hits = store.similarity_search("rice soup", filter=[{"range": {"metadata.n": {"gte": 2}}}])
    assert {(hit.page_content, hit.metadata["n"]) for hit in hits} == {("rice salad", 2), ("bread", 3)}


def test_a_text_without_weights_is_stored_with_others_and_found_by_its_dense_vector_alone(new_store, new_name):
    # The store itself refuses an empty query.
    model, name = seeded_model(), new_name()
    new_store(model, ["", "rice soup"], name=name)
    found = {}
    for mode in ("dense", "sparse", "hybrid"):
        store = new_store(model, name=name, strategy=ElasticsearchStrategy(model, mode=mode))
        found[mode] = {query: {hit.page_content for hit in store.similarity_search(query)} for query in ("rice", " ")}
    assert found["dense"] == found["hybrid"] == {"rice": {"", "rice soup"}, " ": {"", "rice soup"}}
    assert found["sparse"] == {"rice": {"rice soup"}, " ": set()}


def test_a_search_by_a_vector_is_dense(tiny_m3, new_store, new_own, texts):
    store, own = new_store(tiny_m3, texts), new_own(tiny_m3, texts)
    vector = FlagEmbeddings(tiny_m3).embed_query(texts[0])
    hits = store.similarity_search_by_vector_with_relevance_scores(vector, k=5)
    expected = [hit.score for hit in own.search(texts[0], limit=5, mode="dense")]
    assert scores_of(hits) == pytest.approx(expected, abs=1e-6)


def test_maximal_marginal_relevance_says_what_to_use_instead(tiny_m3, new_store, texts):
    with pytest.raises(ValueError, match=r"max_marginal_relevance_search, .* use FlagVectorStore"):
        new_store(tiny_m3, texts[:3]).max_marginal_relevance_search("rice")


def test_embeddings_of_plain_vectors_are_refused_before_the_index_is_made(tiny_m3, new_store, client, new_name):
    name = new_name()
    with pytest.raises(ValueError, match=r"embedding=ElasticsearchEmbeddings\(model\)"):
        new_store(tiny_m3, ["rice"], name=name, embedding=FlagEmbeddings(tiny_m3))
    assert not client.indices.exists(index=name)


async def test_the_async_store_gives_the_same_leaves_the_loop_free_and_takes_turns_with_the_model(
    noting, elasticsearch_url, new_store, new_name, texts
):
    name = new_name()
    queries, ticks = [f"query {number}" for number in range(32)], 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.005)
            ticks += 1

    async with AsyncElasticsearch(elasticsearch_url, request_timeout=30) as client:
        store = langchain_elasticsearch.AsyncElasticsearchStore(
            name,
            client=client,
            embedding=ElasticsearchEmbeddings(noting),
            strategy=AsyncElasticsearchStrategy(noting),
        )
        await store.aadd_texts(texts)
        assert noting.encoded == [PROBE, *texts]
        noting.encoded.clear()
        noting.seconds = 0.01
        ticker = asyncio.create_task(tick())
        found = await asyncio.gather(*(store.asimilarity_search_with_score(query) for query in queries))
        ticker.cancel()
        await store.client.close()
    assert ticks > 10
    assert noting.most_at_once == 1
    assert sorted(noting.encoded) == sorted(queries)
    expected = new_store(noting, name=name)
    assert found == [expected.similarity_search_with_score(query) for query in queries]
