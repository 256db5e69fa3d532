"""`ColbertReranker` on the real tiny model."""

import asyncio
import copy
import pickle

import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ValidationError

from flagvec import BGEM3FlagModel
from flagvec_qdrant import QdrantEdgeStore
from langchain_flagvec import ColbertReranker, FlagRetriever


@pytest.fixture
def documents(texts):
    return [Document(text, id=str(n), metadata={"n": n}) for n, text in enumerate(texts[:12])]


def own_score(model, query, text):
    asked = model.encode_queries([query], return_colbert_vecs=True)["colbert_vecs"][0]
    return float(model.colbert_score(asked, model.encode_corpus([text], return_colbert_vecs=True)["colbert_vecs"][0]))


def test_documents_come_in_the_order_of_the_models_colbert_score(tiny_m3, documents, queries):
    for query in queries[:3]:
        ranked = ColbertReranker(model=tiny_m3, top_n=None).compress_documents(documents, query)
        scores = [document.metadata["relevance_score"] for document in ranked]
        assert scores == sorted(scores, reverse=True)
        assert scores == pytest.approx([own_score(tiny_m3, query, found.page_content) for found in ranked], abs=1e-5)
        assert {document.id for document in ranked} == {document.id for document in documents}


def test_the_best_are_kept_with_id_and_metadata_and_what_was_given_stays_as_it_is(tiny_m3, documents):
    before = copy.deepcopy(documents)
    best = ColbertReranker(model=tiny_m3, top_n=2).compress_documents(documents, documents[5].page_content)
    assert len(best) == 2
    assert (best[0].id, best[0].page_content) == ("5", documents[5].page_content)
    assert best[0].metadata == {"n": 5, "relevance_score": pytest.approx(1, abs=1e-5)}
    assert len(ColbertReranker(model=tiny_m3).compress_documents(documents, "a question")) == 3
    assert documents == before


def test_of_equal_documents_the_first_comes_first(tiny_m3):
    equal = [Document("the same text", id=name) for name in "cab"]
    ranked = ColbertReranker(model=tiny_m3).compress_documents(equal, "a question")
    assert [document.id for document in ranked] == ["c", "a", "b"]


def test_any_text_can_be_ranked(tiny_m3):
    hostile = [Document(text) for text in ("", "   ", "\ud800", "米" * 2000)]
    assert len(ColbertReranker(model=tiny_m3, top_n=None).compress_documents(hostile, "")) == 4


async def test_no_documents_are_no_work(tiny_m3, monkeypatch):
    monkeypatch.setattr(tiny_m3, "encode", None)
    assert ColbertReranker(model=tiny_m3).compress_documents([], "a question") == []
    assert await ColbertReranker(model=tiny_m3).acompress_documents([], "a question") == []


def test_a_call_encodes_the_query_and_all_documents_once_each(tiny_m3, documents, monkeypatch):
    calls, encode = [], tiny_m3.encode

    def recorded(texts, *arguments, **options):
        calls.append((len(texts), options["return_dense"], options["return_sparse"]))
        return encode(texts, *arguments, **options)

    monkeypatch.setattr(tiny_m3, "encode", recorded)
    ColbertReranker(model=tiny_m3).compress_documents(documents, "a question")
    assert calls == [(1, False, False), (12, False, False)]


def test_queries_get_the_query_instruction_and_documents_theirs(tiny_m3_directory, documents):
    model = BGEM3FlagModel(
        tiny_m3_directory,
        use_fp16=False,
        query_instruction_for_retrieval="ask: ",
        passage_instruction_for_retrieval="read: ",
    )
    plain = BGEM3FlagModel(tiny_m3_directory, use_fp16=False)
    [best] = ColbertReranker(model=model, top_n=1).compress_documents(documents[:1], "a question")
    expected = own_score(plain, "ask: a question", f"read: {documents[0].page_content}")
    assert best.metadata["relevance_score"] == pytest.approx(expected, abs=1e-5)


async def test_calls_that_overlap_give_the_same(tiny_m3, documents, queries):
    reranker = ColbertReranker(model=tiny_m3)
    expected = [reranker.compress_documents(documents, query) for query in queries[:8]]
    found = await asyncio.gather(*(reranker.acompress_documents(documents, query) for query in queries[:8]))
    assert found == expected


class CompressingRetriever(BaseRetriever):
    """What ``ContextualCompressionRetriever`` of langchain-classic does with a retriever and a compressor."""

    base_retriever: BaseRetriever
    base_compressor: ColbertReranker

    def _get_relevant_documents(self, query, *, run_manager):
        found = self.base_retriever.invoke(query, config={"callbacks": run_manager.get_child()})
        return list(self.base_compressor.compress_documents(found, query, callbacks=run_manager.get_child()))

    async def _aget_relevant_documents(self, query, *, run_manager):
        found = await self.base_retriever.ainvoke(query, config={"callbacks": run_manager.get_child()})
        return list(await self.base_compressor.acompress_documents(found, query, callbacks=run_manager.get_child()))


async def test_behind_a_retriever_it_orders_as_the_stores_own_rerank_does(tmp_path, tiny_m3, texts, queries):
    with QdrantEdgeStore(tiny_m3, tmp_path / "index") as store:
        store.create()
        store.add(texts)
        retriever = CompressingRetriever(
            base_retriever=FlagRetriever(store=store, k=20, candidates=20),
            base_compressor=ColbertReranker(model=tiny_m3, top_n=5),
        )
        for query in queries[:3]:
            candidates = {hit.id for hit in store.search(query, 20, candidates=20)}
            hits = [hit for hit in store.search(query, len(texts), rerank="colbert") if hit.id in candidates][:5]
            found = retriever.invoke(query)
            assert await retriever.ainvoke(query) == found
            # The store keeps ColBERT vectors in float16.
            assert [document.metadata["relevance_score"] for document in found] == pytest.approx(
                [hit.score for hit in hits], abs=1e-4
            )


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "path"])
def test_a_model_is_loaded_from_its_path(tiny_m3_directory, tiny_m3, documents, kind):
    reranker = ColbertReranker(model=kind(tiny_m3_directory), top_n=2)
    found = reranker.compress_documents(documents, "a question")
    assert found == ColbertReranker(model=reranker.model, top_n=2).compress_documents(documents, "a question")
    expected = ColbertReranker(model=tiny_m3, top_n=2).compress_documents(documents, "a question")
    assert [document.id for document in found] == [document.id for document in expected]


def test_its_repr_names_the_model(tiny_m3):
    assert repr(ColbertReranker(model=tiny_m3, top_n=2)) == (
        f"ColbertReranker(model={tiny_m3.model_name_or_path!r}, top_n=2)"
    )


def test_something_other_than_a_model_is_refused():
    with pytest.raises(TypeError, match="pass a FlagModel or BGEM3FlagModel, or the name or path of a model"):
        ColbertReranker(model=None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "bge-m33"}, "'bge-m33' is not in the catalogue .*bge-m3"),
        ({"top_n": 0}, "top_n=0"),
        ({"k": 3}, "Extra inputs are not permitted"),
    ],
)
def test_bad_arguments_are_refused_when_it_is_made(tiny_m3, options, message):
    with pytest.raises(ValidationError, match=message):
        ColbertReranker(**{"model": tiny_m3, **options})


def test_a_model_without_colbert_vectors_is_refused(tiny_bert):
    with pytest.raises(ValidationError, match="gives no ColBERT vectors"):
        ColbertReranker(model=tiny_bert)


def test_a_query_that_is_no_text_is_refused(tiny_m3, documents):
    with pytest.raises(TypeError, match="query takes a str, not list"):
        ColbertReranker(model=tiny_m3).compress_documents(documents, ["a question"])


def test_it_is_pickled_without_weights_and_token(tiny_m3_directory, documents):
    model = BGEM3FlagModel(tiny_m3_directory, use_fp16=False, token="a-secret")
    reranker = ColbertReranker(model=model, top_n=2)
    pickled = pickle.dumps(reranker)
    assert len(pickled) < 2_000
    assert b"a-secret" not in pickled
    assert "a-secret" not in repr(reranker)
    again = pickle.loads(pickled)
    assert again.compress_documents(documents, "a question") == reranker.compress_documents(documents, "a question")


def test_copies_share_the_model(tiny_m3):
    reranker = ColbertReranker(model=tiny_m3, top_n=2)
    for copied in (copy.deepcopy(reranker), reranker.model_copy(deep=True), ColbertReranker(**dict(reranker))):
        assert copied.model is tiny_m3
        assert copied == reranker


def test_a_model_that_gives_colbert_vectors_only_orders_documents(colbert_checkpoint, tmp_path, documents):
    directory = colbert_checkpoint(tmp_path / "colbert")
    reranker = ColbertReranker(model=str(directory), top_n=None)
    query = documents[5].page_content
    ranked = reranker.compress_documents(documents, query)
    asked = reranker.model.encode_queries(query)
    expected = [reranker.model.compute_score(asked, reranker.model.encode_corpus(one.page_content)) for one in ranked]
    assert [one.metadata["relevance_score"] for one in ranked] == pytest.approx(expected, abs=1e-5)
    assert expected == sorted(expected, reverse=True)
