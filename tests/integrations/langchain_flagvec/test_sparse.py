"""Lexical weights in langchain-qdrant's own store, beside the dense vectors of the same model."""

import copy
import pickle

import pytest
from langchain_qdrant import QdrantVectorStore, RetrievalMode, SparseEmbeddings, SparseVector
from qdrant_client import QdrantClient, models

from flagvec.search.fusion import RRF_K
from flagvec_qdrant import QdrantStore
from langchain_flagvec import FlagEmbeddings, M3SparseEmbeddings

# It embeds this to learn how many dimensions there are.
PROBE = "dummy_text"


def qdrant(model, mode, texts):
    return QdrantVectorStore.from_texts(
        texts,
        FlagEmbeddings(model),
        sparse_embedding=M3SparseEmbeddings(model),
        retrieval_mode=mode,
        location=":memory:",
    )


@pytest.fixture(scope="module")
def own(tiny_m3, texts):
    with QdrantStore(tiny_m3, QdrantClient(":memory:"), "golden", colbert=False) as store:
        store.create()
        store.add(texts)
        yield store


def test_a_text_goes_through_the_model_once_for_both_vectors_and_so_does_a_query(noting):
    # More than the 64 that the store embeds at a time.
    texts = [f"text number {number}" for number in range(100)]
    store = qdrant(noting, RetrievalMode.HYBRID, texts)
    assert noting.encoded == [PROBE, *texts]
    noting.encoded.clear()
    assert len(store.similarity_search("text number 7", k=3)) == 3
    assert noting.encoded == ["text number 7"]


def test_the_encoder_itself_runs_once_for_each_batch_and_once_for_a_query(noting):
    runs = []
    noting.model.model.encoder.layer[0].register_forward_hook(lambda *_: runs.append(1))
    store = qdrant(noting, RetrievalMode.HYBRID, [f"text number {number}" for number in range(100)])
    # The probe, 64 texts, 36 texts.
    assert len(runs) == 3
    store.similarity_search("text number 7")
    assert len(runs) == 4


async def test_so_it_is_with_the_async_methods(noting):
    store = qdrant(noting, RetrievalMode.HYBRID, ["rice", "bread"])
    noting.encoded.clear()
    await store.aadd_texts(["soup", "salad"])
    await store.asimilarity_search("soup")
    assert noting.encoded == ["soup", "salad", "soup"]


@pytest.mark.parametrize("mode", ["dense", "sparse"])
def test_scores_are_those_of_our_own_store(tiny_m3, own, texts, queries, mode):
    store = qdrant(tiny_m3, RetrievalMode(mode), texts)
    for query in queries:
        hits = store.similarity_search_with_score(query, k=len(texts))
        expected = {hit.text: hit.score for hit in own.search(query, limit=len(texts), mode=mode)}
        assert {hit.page_content: score for hit, score in hits} == pytest.approx(expected, abs=1e-6)


def test_fusion_by_reciprocal_ranks_is_that_of_our_own_store(tiny_m3, own, texts, queries):
    store = qdrant(tiny_m3, RetrievalMode.HYBRID, texts)
    # Qdrant counts ranks from 0.
    rrf = models.RrfQuery(rrf=models.Rrf(k=RRF_K + 1))
    for query in queries:
        hits = store.similarity_search_with_score(query, k=len(texts), hybrid_fusion=rrf)
        expected = {hit.text: hit.score for hit in own.search(query, limit=len(texts))}
        assert {hit.page_content: score for hit, score in hits} == pytest.approx(expected, abs=1e-6)


def test_a_text_without_weights_is_stored_and_found_by_its_dense_vector_alone(seeded):
    model = seeded()
    found = {
        mode: {document.page_content for document in qdrant(model, mode, ["", "rice soup"]).similarity_search("rice")}
        for mode in RetrievalMode
    }
    assert found[RetrievalMode.DENSE] == found[RetrievalMode.HYBRID] == {"", "rice soup"}
    assert found[RetrievalMode.SPARSE] == {"rice soup"}


def test_vectors_are_langchain_qdrants_own(tiny_m3):
    embeddings = M3SparseEmbeddings(tiny_m3)
    assert isinstance(embeddings, SparseEmbeddings)
    [document] = embeddings.embed_documents(["How to cook rice."])
    [weights] = tiny_m3.encode_corpus(["How to cook rice."], return_dense=False)["lexical_weights"]
    assert document == SparseVector(indices=list(weights), values=list(weights.values()))
    assert embeddings.embed_documents([]) == []


def test_queries_get_the_query_instruction_and_documents_do_not(tiny_m3_directory):
    from flagvec import BGEM3FlagModel

    model = BGEM3FlagModel(tiny_m3_directory, use_fp16=False, query_instruction_for_retrieval="find: ")
    embeddings, plain = M3SparseEmbeddings(model), M3SparseEmbeddings(BGEM3FlagModel(tiny_m3_directory, use_fp16=False))
    assert embeddings.embed_documents(["rice"]) == plain.embed_documents(["rice"])
    assert embeddings.embed_query("rice") == plain.embed_query("find: rice")


def test_a_model_without_lexical_weights_is_refused(tiny_bert):
    with pytest.raises(ValueError, match="tiny-bert' gives no sparse representation"):
        M3SparseEmbeddings(tiny_bert)


def test_a_name_is_refused_because_the_model_would_be_loaded_twice():
    with pytest.raises(TypeError, match=r"model='bge-m3' is not a loaded model: .* that the dense embeddings use"):
        M3SparseEmbeddings("bge-m3")


def test_a_weight_that_is_not_finite_is_refused_and_its_text_named(seeded):
    class Broken(seeded):
        def encode_corpus(self, texts, **options):
            output = super().encode_corpus(texts, **options)
            output["lexical_weights"][1] = {7: float("nan")}
            return output

    with pytest.raises(ValueError, match=r"texts\[1\] has a lexical weight that is not finite"):
        M3SparseEmbeddings(Broken()).embed_documents(["rice", "soup"])


def test_both_embeddings_in_one_pickle_share_a_model_again(tiny_m3_directory):
    from flagvec import BGEM3FlagModel

    model = BGEM3FlagModel(tiny_m3_directory, use_fp16=False)
    pickled = pickle.dumps((FlagEmbeddings(model), M3SparseEmbeddings(model, batch_size=4)))
    assert len(pickled) < 1_000
    dense, sparse = pickle.loads(pickled)
    assert dense.model is sparse.model is not model
    assert sparse.batch_size == 4
    assert sparse.embed_query("rice") == M3SparseEmbeddings(model).embed_query("rice")


def test_a_deep_copy_shares_the_model(tiny_m3):
    assert copy.deepcopy(M3SparseEmbeddings(tiny_m3)).model is tiny_m3
