"""A model travels as what it was made with, and is loaded again where it arrives."""

import copy
import pickle

import numpy as np
import pytest

from flagvec import BGEM3FlagModel, FlagModel

TEXTS = ["How to cook rice.", "Rinse it first."]


def same(found, expected):
    found, expected = (output if isinstance(output, dict) else {"dense_vecs": output} for output in (found, expected))
    np.testing.assert_array_equal(found["dense_vecs"], expected["dense_vecs"])
    assert found.get("lexical_weights") == expected.get("lexical_weights")


@pytest.fixture(params=["FlagModel", "BGEM3FlagModel"])
def model(request, tiny_bert_directory, tiny_m3_directory):
    if request.param == "FlagModel":
        return FlagModel(tiny_bert_directory, "mean", use_fp16=False, query_instruction_for_retrieval="find: ")
    return BGEM3FlagModel(str(tiny_m3_directory), use_fp16=False, return_sparse=True, passage_max_length=64)


def test_an_unpickled_model_encodes_as_the_one_that_was_pickled(model):
    again = pickle.loads(pickle.dumps(model))
    assert again is not model
    same(again.encode_queries(TEXTS), model.encode_queries(TEXTS))
    same(again.encode_corpus(TEXTS), model.encode_corpus(TEXTS))


def test_a_pickle_holds_no_weights(model):
    assert len(pickle.dumps(model)) < 1_000


def test_a_pickle_holds_no_access_token(tiny_bert_directory):
    model = FlagModel(tiny_bert_directory, token="hf_secret", local_files_only=True)
    assert b"hf_secret" not in pickle.dumps(model)
    assert pickle.loads(pickle.dumps(model)).dimension == model.dimension


def test_a_deep_copy_shares_the_model(model):
    assert copy.deepcopy({"model": model})["model"] is model
