"""`FlagAutoModel`: class, pooling and prompts from the catalogue."""

from enum import Enum

import numpy as np
import pytest

from flagvec import BGEM3FlagModel, FlagAutoModel, FlagModel, ModelNotFoundError


@pytest.mark.parametrize(
    ("name", "model_class", "pooling", "query_prompt", "passage_prompt"),
    [
        ("bge-m3", BGEM3FlagModel, "cls", None, None),
        ("mini-m3", BGEM3FlagModel, "mean", None, None),
        ("BAAI/bge-m3", BGEM3FlagModel, "cls", None, None),
        (
            "bge-small-en-v1.5",
            FlagModel,
            "cls",
            "Represent this sentence for searching relevant passages: ",
            None,
        ),
        ("e5-small-v2", FlagModel, "mean", "query: ", "passage: "),
        ("multilingual-e5-base", FlagModel, "mean", "query: ", "passage: "),
        ("gte-multilingual-base", FlagModel, "cls", None, None),
    ],
)
def test_class_pooling_and_prompts_come_from_the_catalogue(
    hub_cache, name, model_class, pooling, query_prompt, passage_prompt
):
    model = FlagAutoModel.from_finetuned(name, cache_dir=hub_cache)
    assert type(model) is model_class
    assert model.pooling_method == pooling
    assert model.query_instruction_for_retrieval == query_prompt
    assert model.passage_instruction_for_retrieval == passage_prompt


def test_prompts_reach_queries_and_passages(hub_cache):
    model = FlagAutoModel.from_finetuned("e5-small-v2", cache_dir=hub_cache, use_fp16=False)
    np.testing.assert_array_equal(model.encode_queries(["a text"]), model.encode(["query: a text"]))
    np.testing.assert_array_equal(model.encode_corpus(["a text"]), model.encode(["passage: a text"]))


def test_an_instruction_given_replaces_the_catalogues(hub_cache):
    model = FlagAutoModel.from_finetuned(
        "e5-small-v2",
        query_instruction_for_retrieval="ask: ",
        passage_instruction_for_retrieval="tell: ",
        cache_dir=hub_cache,
    )
    assert (model.query_instruction_for_retrieval, model.passage_instruction_for_retrieval) == ("ask: ", "tell: ")


def test_an_empty_instruction_means_none_at_all(hub_cache):
    model = FlagAutoModel.from_finetuned(
        "e5-small-v2", query_instruction_for_retrieval="", cache_dir=hub_cache, use_fp16=False
    )
    np.testing.assert_array_equal(model.encode_queries(["a text"]), model.encode(["a text"]))


def test_further_arguments_reach_the_model(hub_cache):
    model = FlagAutoModel.from_finetuned(
        "bge-small-en-v1.5",
        cache_dir=hub_cache,
        use_fp16=False,
        normalize_embeddings=False,
        batch_size=7,
        devices="cpu",
    )
    assert (model.normalize_embeddings, model.batch_size, model.target_devices) == (False, 7, ["cpu"])


def test_an_unknown_keyword_is_refused(hub_cache):
    with pytest.raises(TypeError, match="'btch_size'; the nearest it takes is 'batch_size'"):
        FlagAutoModel.from_finetuned("bge-small-en-v1.5", cache_dir=hub_cache, btch_size=7)


@pytest.mark.parametrize("folder", ["e5-small-v2", "e5-small-v2/checkpoint-123"])
def test_a_directory_is_known_by_its_name_or_its_checkpoints(tmp_path, build_checkpoint, folder):
    directory = build_checkpoint(tmp_path / folder, "bert")
    model = FlagAutoModel.from_finetuned(directory)
    assert (model.pooling_method, model.query_instruction_for_retrieval) == ("mean", "query: ")


def test_a_directory_with_both_heads_is_a_model_of_three_representations(tiny_m3_directory):
    assert type(FlagAutoModel.from_finetuned(tiny_m3_directory)) is BGEM3FlagModel


def test_a_directory_of_an_unknown_model_needs_its_class(tiny_bert_directory):
    with pytest.raises(ModelNotFoundError, match="pass model_class='encoder-only-base' or 'encoder-only-m3'"):
        FlagAutoModel.from_finetuned(tiny_bert_directory)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("encoder-only-base", FlagModel),
        ("encoder-only-m3", BGEM3FlagModel),
        ("FlagModel", FlagModel),
        ("BGEM3FlagModel", BGEM3FlagModel),
        (Enum("EmbedderModelClass", {"ENCODER_ONLY_BASE": "encoder-only-base"}).ENCODER_ONLY_BASE, FlagModel),
    ],
)
def test_a_class_given_serves_any_model(tiny_bert_directory, given, expected):
    assert type(FlagAutoModel.from_finetuned(tiny_bert_directory, model_class=given)) is expected


def test_an_unknown_class_is_refused_with_the_known_ones(tiny_bert_directory):
    with pytest.raises(ValueError, match="model_class='decoder-only': choose 'encoder-only-base' or"):
        FlagAutoModel.from_finetuned(tiny_bert_directory, model_class="decoder-only")


def test_an_unknown_name_is_refused_with_the_nearest_names():
    with pytest.raises(ModelNotFoundError, match=r"'bge-m4' is not in the catalogue \(nearest: bge-m3"):
        FlagAutoModel.from_finetuned("bge-m4")


def test_it_is_not_made_directly():
    with pytest.raises(TypeError, match=r"call FlagAutoModel\.from_finetuned"):
        FlagAutoModel()
