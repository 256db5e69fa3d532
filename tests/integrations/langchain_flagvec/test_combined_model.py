"""A `CombinedModel` in LangChain's classes."""

import pickle

import pytest

from flagvec import ColbertFlagModel, CombinedModel
from flagvec_qdrant import QdrantEdgeStore
from langchain_flagvec import ColbertReranker, FlagEmbeddings, FlagRetriever, FlagVectorStore

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


def test_the_vector_store_takes_it(model, store):
    vectors = FlagVectorStore.from_texts(TEXTS, FlagEmbeddings(model), store=store)
    assert vectors.similarity_search(QUERY, k=1)[0].page_content == TEXTS[1]
    found = vectors.similarity_search_with_score(QUERY, k=3, rerank="colbert")
    expected = store.search(QUERY, limit=3, rerank="colbert")
    assert [(document.page_content, score) for document, score in found] == [(hit.text, hit.score) for hit in expected]


def test_the_retriever_reranks_by_the_colbert_model(store):
    store.add(TEXTS)
    found = FlagRetriever(store=store, k=3, rerank="colbert").invoke(QUERY)
    assert [one.page_content for one in found] == [hit.text for hit in store.search(QUERY, limit=3, rerank="colbert")]


def test_the_reranker_takes_it(model, store):
    store.add(TEXTS)
    documents = FlagRetriever(store=store, k=3).invoke(QUERY)
    best = ColbertReranker(model=model, top_n=1).compress_documents(documents, QUERY)
    assert [one.page_content for one in best] == [store.search(QUERY, limit=1, rerank="colbert")[0].text]


def test_pickled_embeddings_hold_both_models(model):
    again = pickle.loads(pickle.dumps(FlagEmbeddings(model)))
    assert isinstance(again.model, CombinedModel)
    assert again.embed_query(QUERY) == FlagEmbeddings(model).embed_query(QUERY)
