"""Dense vectors for any vector store of LangChain."""

import asyncio
import copy
import pickle

import pytest

from flagvec import FlagModel
from langchain_flagvec import FlagEmbeddings

TEXTS = ["How to cook rice.", "Rinse it first.", ""]


@pytest.fixture
def instructed(tiny_bert_directory):
    return FlagModel(
        tiny_bert_directory,
        use_fp16=False,
        query_instruction_for_retrieval="query: ",
        passage_instruction_for_retrieval="passage: ",
    )


def test_queries_and_documents_get_each_their_own_instruction(instructed):
    embeddings = FlagEmbeddings(instructed)
    assert embeddings.embed_documents(TEXTS) == instructed.encode_corpus(TEXTS).tolist()
    assert embeddings.embed_query(TEXTS[0]) == instructed.encode_queries(TEXTS[:1])[0].tolist()
    assert embeddings.embed_query(TEXTS[0]) != embeddings.embed_documents(TEXTS)[0]


def test_an_m3_model_gives_its_dense_vectors_and_computes_nothing_else(noting, tiny_m3):
    assert FlagEmbeddings(noting).embed_documents(TEXTS) == tiny_m3.encode_corpus(TEXTS)["dense_vecs"].tolist()
    [options] = noting.options
    assert (options["return_sparse"], options["return_colbert_vecs"]) == (False, False)


def test_vectors_are_lists_of_python_floats(tiny_m3):
    embeddings = FlagEmbeddings(tiny_m3)
    vectors = [*embeddings.embed_documents(TEXTS), embeddings.embed_query("rice")]
    assert {type(vector) for vector in vectors} == {list}
    assert {type(number) for vector in vectors for number in vector} == {float}


async def test_the_async_methods_give_the_same(tiny_m3):
    embeddings = FlagEmbeddings(tiny_m3)
    assert await embeddings.aembed_documents(TEXTS) == embeddings.embed_documents(TEXTS)
    assert await embeddings.aembed_query("rice") == embeddings.embed_query("rice")


def test_no_documents_have_no_vectors(tiny_m3, tiny_bert):
    assert FlagEmbeddings(tiny_m3).embed_documents([]) == FlagEmbeddings(tiny_bert).embed_documents([]) == []


def test_a_directory_is_loaded_with_what_the_model_takes(tiny_m3_directory, tiny_m3):
    embeddings = FlagEmbeddings(tiny_m3_directory, model_kwargs={"use_fp16": False})
    assert embeddings.embed_query("rice") == FlagEmbeddings(tiny_m3).embed_query("rice")


def test_a_name_is_loaded_with_its_prompts(hub_cache):
    embeddings = FlagEmbeddings("bge-small-en-v1.5", model_kwargs={"cache_dir": hub_cache})
    assert embeddings.model.query_instruction_for_retrieval.startswith("Represent this sentence")
    assert repr(embeddings) == "FlagEmbeddings('bge-small-en-v1.5')"


def test_the_batch_size_reaches_the_model(noting):
    embeddings = FlagEmbeddings(noting, batch_size=2)
    embeddings.embed_documents(TEXTS)
    embeddings.embed_query("rice")
    FlagEmbeddings(noting).embed_documents(TEXTS)
    assert [options["batch_size"] for options in noting.options] == [2, 2, None]


def test_progress_is_shown_of_documents_where_it_is_asked_for(tiny_m3, capsys):
    FlagEmbeddings(tiny_m3).embed_documents(TEXTS)
    FlagEmbeddings(tiny_m3, show_progress=True).embed_query("rice")
    assert capsys.readouterr().err == ""
    FlagEmbeddings(tiny_m3, show_progress=True).embed_documents(TEXTS)
    assert "3/3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("rice", "texts takes a list of str, not the one str 'rice': put it in a list"),
        (["rice", None], r"texts\[1\] is NoneType, not str"),
        ([b"rice"], r"texts\[0\] is bytes"),
        (None, "texts takes a str or a list of str, not NoneType"),
    ],
)
def test_documents_that_are_no_list_of_texts_are_refused(noting, texts, message):
    with pytest.raises(TypeError, match=message):
        FlagEmbeddings(noting).embed_documents(texts)
    assert noting.encoded == []


def test_a_query_that_is_no_text_is_refused(noting):
    with pytest.raises(TypeError, match="a query is a str, not list"):
        FlagEmbeddings(noting).embed_query(["rice"])
    assert noting.encoded == []


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": None}, TypeError, "model=None is a NoneType: pass a FlagModel or BGEM3FlagModel, or the name"),
        ({"model_kwargs": {"use_fp16": False}}, ValueError, "model_kwargs=.*: the model is loaded already"),
        ({"batch_size": 0}, ValueError, "batch_size=0"),
    ],
    ids=str,
)
def test_bad_arguments_are_named(tiny_m3, arguments, error, message):
    with pytest.raises(error, match=message):
        FlagEmbeddings(**{"model": tiny_m3, **arguments})


def test_an_unknown_argument_of_the_model_is_named(tiny_m3_directory):
    with pytest.raises(TypeError, match="no argument 'pooling'; the nearest it takes is"):
        FlagEmbeddings(tiny_m3_directory, model_kwargs={"pooling": "mean"})


def test_a_pickle_holds_neither_weights_nor_the_token_and_gives_the_same_vectors(tiny_m3_directory):
    embeddings = FlagEmbeddings(
        str(tiny_m3_directory), model_kwargs={"use_fp16": False, "token": "hf_secret"}, batch_size=3, show_progress=True
    )
    pickled = pickle.dumps(embeddings)
    assert len(pickled) < 1_000 and b"hf_secret" not in pickled
    again = pickle.loads(pickled)
    assert (again.batch_size, again.show_progress) == (3, True)
    assert again.embed_query("rice") == embeddings.embed_query("rice")


def test_a_deep_copy_shares_the_model(tiny_m3):
    embeddings = FlagEmbeddings(tiny_m3, batch_size=3)
    again = copy.deepcopy({"embeddings": embeddings})["embeddings"]
    assert (again.model, again.batch_size) == (tiny_m3, 3)
    assert again is not embeddings


async def test_many_queries_at_once_leave_the_loop_free_and_take_turns_with_the_model(noting):
    noting.seconds = 0.01
    embeddings, ticks = FlagEmbeddings(noting), 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.005)
            ticks += 1

    ticker = asyncio.create_task(tick())
    queries = [f"query {number}" for number in range(32)]
    vectors = await asyncio.gather(*map(embeddings.aembed_query, queries))
    ticker.cancel()
    # A loop that is not free ticks once at most.
    assert ticks > 10
    assert noting.most_at_once == 1
    assert sorted(noting.encoded) == sorted(queries)
    assert vectors == [embeddings.embed_query(query) for query in queries]
