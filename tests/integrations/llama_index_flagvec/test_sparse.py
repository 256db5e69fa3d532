"""Lexical weights in the forms that LlamaIndex and its Qdrant store take."""

import asyncio
import json
import pickle

import pytest

from llama_index_flagvec import M3SparseEmbedding, sparse_doc_fn, sparse_query_fn

TEXTS = ["How to cook rice.", "Rinse it first.", ""]


@pytest.fixture
def weights(tiny_m3):
    return tiny_m3.encode_corpus(TEXTS)["lexical_weights"]


def test_texts_get_the_models_lexical_weights(tiny_m3, weights):
    found = M3SparseEmbedding(tiny_m3).get_text_embedding_batch(TEXTS)
    assert found == [pytest.approx(one, abs=1e-6) for one in weights]
    assert {type(token) for one in found for token in one} == {int}
    assert {type(weight) for one in found for weight in one.values()} == {float}
    assert found[2] == {}


def test_the_async_methods_give_the_same(tiny_m3):
    sparse = M3SparseEmbedding(tiny_m3)
    assert asyncio.run(sparse.aget_query_embedding(TEXTS[0])) == sparse.get_query_embedding(TEXTS[0])
    assert asyncio.run(sparse.aget_text_embedding(TEXTS[0])) == sparse.get_text_embedding(TEXTS[0])
    assert asyncio.run(sparse.aget_text_embedding_batch(TEXTS)) == sparse.get_text_embedding_batch(TEXTS)


def test_json_and_pickle_give_an_equal_embedding(tiny_m3):
    sparse = M3SparseEmbedding(tiny_m3, embed_batch_size=7)
    copies = [M3SparseEmbedding(**json.loads(sparse.model_dump_json())), pickle.loads(pickle.dumps(sparse))]
    for again in (*copies, M3SparseEmbedding.model_validate(sparse.model_dump())):
        assert again.embed_batch_size == 7
        assert again.get_text_embedding(TEXTS[0]) == sparse.get_text_embedding(TEXTS[0])


def test_the_functions_for_qdrant_give_token_ids_first_and_then_weights(tiny_m3, weights):
    token_ids, values = sparse_doc_fn(tiny_m3)(TEXTS)
    assert token_ids == [list(one) for one in weights]
    assert values == [pytest.approx(list(one.values()), abs=1e-6) for one in weights]
    assert sparse_query_fn(tiny_m3)(TEXTS[:1]) == (token_ids[:1], [pytest.approx(values[0], abs=1e-6)])


def test_the_functions_for_qdrant_keep_queries_and_documents_apart(counting):
    sparse_doc_fn(counting)(TEXTS[:1])
    sparse_query_fn(counting)(TEXTS[1:2])
    assert (counting.documents, counting.queries) == ([TEXTS[:1]], [TEXTS[1:2]])


@pytest.mark.parametrize("make", [M3SparseEmbedding, sparse_doc_fn, sparse_query_fn], ids=lambda make: make.__name__)
def test_a_model_without_lexical_weights_is_refused(make, tiny_bert):
    with pytest.raises(ValueError, match="gives no sparse representation"):
        make(tiny_bert)
