"""Lexical weights in langchain-milvus's own store on Milvus Lite, beside the dense vectors of the same model."""

import atexit
import pickle
import shutil
import tempfile

import pytest
from langchain_milvus import Milvus
from langchain_milvus.utils.sparse import BaseSparseEmbedding
from milvus_lite.server_manager import server_manager_instance
from pymilvus import Function, FunctionType

from flagvec_milvus import MilvusStore, lite_client
from langchain_flagvec import FlagEmbeddings, MilvusSparseEmbeddings

# Of every hybrid search without a reranker of its own, though nothing that is deprecated was given.
pytestmark = pytest.mark.filterwarnings("ignore:The 'ranker_type' and 'ranker_params' parameters:DeprecationWarning")

DENSE = {"index_type": "FLAT", "metric_type": "IP"}
# The store's own default leaves out the smallest weights.
SPARSE = {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "IP"}
IP = {"metric_type": "IP"}


@pytest.fixture(scope="module")
def path():
    directory = tempfile.mkdtemp(prefix="flagvec-langchain-")
    path = f"{directory}/milvus.db"
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    # Before the directory goes, the engine has to end its writing there.
    atexit.register(server_manager_instance.release_server, path)
    return path


@pytest.fixture
def new_milvus(path):
    """A function that makes stores of some texts, each in a collection of its own."""

    def make(embeddings, index, texts=(), search=IP, **options):
        store = Milvus(
            embeddings,
            collection_name=f"langchain_{next(NUMBERS)}",
            connection_args={"uri": path},
            index_params=index,
            search_params=search,
            auto_id=True,
            **options,
        )
        if texts:
            store.add_texts(texts)
        return store

    return make


NUMBERS = iter(range(1_000))


@pytest.fixture
def new_hybrid(new_milvus):
    def make(model, texts=()):
        embeddings = [FlagEmbeddings(model), MilvusSparseEmbeddings(model)]
        return new_milvus(embeddings, [DENSE, SPARSE], texts, [IP, IP], vector_field=["dense", "sparse"])

    return make


@pytest.fixture(scope="module")
def own(path, tiny_m3, texts):
    with MilvusStore(tiny_m3, lite_client(path), "own", colbert=False) as store:
        store.create()
        store.add(texts)
        yield store


def test_a_text_goes_through_the_model_once_for_both_vectors_and_so_does_a_query(noting, new_hybrid):
    texts = [f"text number {number}" for number in range(100)]
    store = new_hybrid(noting, texts)
    assert noting.encoded == texts
    noting.encoded.clear()
    assert len(store.similarity_search("text number 7", k=3)) == 3
    assert noting.encoded == ["text number 7"]


async def test_so_it_is_with_the_async_methods(noting, new_hybrid):
    store = new_hybrid(noting)
    await store.aadd_texts(["soup", "salad"])
    assert len(await store.asimilarity_search("soup")) == 2
    assert noting.encoded == ["soup", "salad", "soup"]


@pytest.mark.parametrize(
    ("mode", "embeddings", "index"), [("dense", FlagEmbeddings, DENSE), ("sparse", MilvusSparseEmbeddings, SPARSE)]
)
def test_scores_are_those_of_our_own_store(tiny_m3, own, texts, queries, new_milvus, mode, embeddings, index):
    store = new_milvus(embeddings(tiny_m3), index, texts)
    for query in queries:
        hits = store.similarity_search_with_score(query, k=len(texts))
        expected = {hit.text: hit.score for hit in own.search(query, limit=len(texts), mode=mode)}
        assert {hit.page_content: score for hit, score in hits} == pytest.approx(expected, abs=1e-6)


def test_fusion_by_reciprocal_ranks_is_that_of_our_own_store(tiny_m3, own, texts, queries, new_hybrid):
    store = new_hybrid(tiny_m3, texts)
    rrf = Function(
        name="rrf", input_field_names=[], function_type=FunctionType.RERANK, params={"reranker": "rrf", "k": 60}
    )
    for query in queries:
        hits = store.similarity_search_with_score(query, k=10, fetch_k=100, reranker=rrf)
        expected = [hit.score for hit in own.search(query, limit=10, candidates=100)]
        assert [score for _, score in hits] == pytest.approx(expected, abs=1e-6)


def test_a_text_without_weights_is_stored_with_others_and_found_by_its_dense_vector_alone(seeded, new_hybrid):
    store = new_hybrid(seeded(), ["", "rice soup", ""])
    assert sorted(document.page_content for document in store.similarity_search("rice")) == ["", "", "rice soup"]


def test_a_text_without_weights_changes_no_score(seeded, new_milvus):
    [(found, score)] = new_milvus(
        MilvusSparseEmbeddings(seeded()), SPARSE, ["", "rice soup"]
    ).similarity_search_with_score("rice")
    assert (found.page_content, score) == ("rice soup", pytest.approx(0.4 * 0.4))


def test_a_query_without_weights_finds_nothing_by_them(seeded, new_milvus):
    assert new_milvus(MilvusSparseEmbeddings(seeded()), SPARSE, ["", "rice soup"]).similarity_search("") == []


def test_weights_are_those_of_the_model_by_token_id(tiny_m3):
    embeddings = MilvusSparseEmbeddings(tiny_m3)
    assert isinstance(embeddings, BaseSparseEmbedding)
    expected = tiny_m3.encode_corpus(["How to cook rice."], return_dense=False)["lexical_weights"]
    assert embeddings.embed_documents(["How to cook rice."]) == expected
    assert embeddings.embed_documents([]) == []


def test_queries_get_the_query_instruction_and_documents_do_not(tiny_m3_directory, tiny_m3):
    from flagvec import BGEM3FlagModel

    model = BGEM3FlagModel(tiny_m3_directory, use_fp16=False, query_instruction_for_retrieval="find: ")
    embeddings, plain = MilvusSparseEmbeddings(model), MilvusSparseEmbeddings(tiny_m3)
    assert embeddings.embed_documents(["rice"]) == plain.embed_documents(["rice"])
    assert embeddings.embed_query("rice") == plain.embed_query("find: rice")


def test_a_model_without_lexical_weights_is_refused(tiny_bert):
    with pytest.raises(ValueError, match="tiny-bert' gives no sparse representation"):
        MilvusSparseEmbeddings(tiny_bert)


def test_an_unpickled_one_gives_the_same(tiny_m3_directory):
    from flagvec import BGEM3FlagModel

    embeddings = MilvusSparseEmbeddings(BGEM3FlagModel(tiny_m3_directory, use_fp16=False))
    assert pickle.loads(pickle.dumps(embeddings)).embed_query("rice") == embeddings.embed_query("rice")
