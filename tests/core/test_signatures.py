"""The names, order and defaults of arguments, which FlagEmbedding's users rely on."""

import inspect
from dataclasses import fields

import pytest

from flagvec import AbsEmbedder, BGEM3FlagModel, FlagModel
from flagvec.model_options import EmbedderOptions, FlagModelKeywords, M3EncodeKeywords, M3Keywords, M3Options

REQUIRED = inspect.Parameter.empty
SHARED = {
    "model_name_or_path": REQUIRED,
    "pooling_method": "cls",
    "normalize_embeddings": True,
    "use_fp16": True,
    "query_instruction_for_retrieval": None,
    "query_instruction_format": "{}{}",
    "devices": None,
    "batch_size": 256,
    "query_max_length": 512,
    "passage_max_length": 512,
    "convert_to_numpy": True,
}
SIGNATURES = {
    FlagModel: SHARED | {"trust_remote_code": False, "cache_dir": None},
    BGEM3FlagModel: SHARED
    | {"colbert_dim": -1, "return_dense": True, "return_sparse": False, "return_colbert_vecs": False},
}
FURTHER_OPTIONS = {
    "use_bf16": False,
    "truncate_dim": None,
    "passage_instruction_for_retrieval": "passage: ",
    "passage_instruction_format": "{} {}",
    "trust_remote_code": False,
    "cache_dir": None,
    "device": "cpu",
    "revision": None,
    "token": None,
    "local_files_only": True,
}


def parameters_of(function):
    parameters = inspect.signature(function).parameters.values()
    return {
        parameter.name: parameter.default for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD
    }


@pytest.mark.parametrize("model_class", SIGNATURES)
def test_constructors_have_the_documented_arguments_in_order(model_class):
    assert list(parameters_of(model_class).items()) == list(SIGNATURES[model_class].items())


@pytest.mark.parametrize("model_class", SIGNATURES)
def test_all_of_them_can_be_given_by_position(model_class):
    kinds = {parameter.kind for parameter in inspect.signature(model_class).parameters.values()}
    assert kinds == {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.VAR_KEYWORD}


@pytest.mark.parametrize("model_class", SIGNATURES)
def test_both_classes_are_embedders(model_class):
    assert issubclass(model_class, AbsEmbedder)


@pytest.mark.parametrize("model_class", SIGNATURES)
@pytest.mark.parametrize(
    ("method", "first"), [("encode", "sentences"), ("encode_queries", "queries"), ("encode_corpus", "corpus")]
)
def test_texts_come_first_then_batch_size_and_max_length(model_class, method, first):
    names = list(parameters_of(getattr(model_class, method)))
    assert names[:4] == ["self", first, "batch_size", "max_length"]


def test_representations_can_be_chosen_for_one_call():
    assert list(parameters_of(BGEM3FlagModel.encode))[4:7] == ["return_dense", "return_sparse", "return_colbert_vecs"]


@pytest.mark.parametrize("model_class", SIGNATURES)
def test_further_options_are_taken_as_keywords(model_class, tiny_m3_directory):
    model = model_class(tiny_m3_directory, **FURTHER_OPTIONS)
    assert model.passage_instruction_for_retrieval == "passage: "


@pytest.mark.parametrize("model_class", SIGNATURES)
@pytest.mark.parametrize(
    ("given", "nearest"),
    [("use_pf16", "use_fp16"), ("truncate_dims", "truncate_dim"), ("query_instruction", "query_instruction_format")],
)
def test_an_unknown_keyword_is_refused_with_the_nearest_one(model_class, given, nearest):
    with pytest.raises(TypeError, match=f"{model_class.__name__} takes no argument '{given}'; .* '{nearest}'"):
        model_class("no-such-model", **{given: 1})


def test_a_keyword_of_the_other_class_is_refused(tiny_bert_directory):
    with pytest.raises(TypeError, match="FlagModel takes no argument 'return_sparse'"):
        FlagModel(tiny_bert_directory, return_sparse=True)


@pytest.mark.parametrize(
    ("model_class", "options", "keywords"),
    [(FlagModel, EmbedderOptions, FlagModelKeywords), (BGEM3FlagModel, M3Options, M3Keywords)],
)
def test_the_types_of_further_options_name_all_of_them(model_class, options, keywords):
    names = {field.name for field in fields(options)}
    assert keywords.__optional_keys__ == names - SIGNATURES[model_class].keys()


def test_the_types_of_options_of_a_call_name_all_that_encode_takes():
    assert M3EncodeKeywords.__optional_keys__ == set(list(parameters_of(BGEM3FlagModel.encode))[4:])


def test_encode_refuses_an_unknown_keyword(tiny_bert):
    with pytest.raises(TypeError, match="batchsize"):
        tiny_bert.encode(["a"], batchsize=4)
    with pytest.raises(TypeError, match="batchsize"):
        tiny_bert.encode_queries(["a"], batchsize=4)
