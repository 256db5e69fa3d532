"""What goes into `encode` and its kin, and what comes out."""

import numpy as np
import pandas
import pytest
import torch

from flagvec import BGEM3FlagModel, FlagModel, M3Output

TEXTS = ["first text", "a second, somewhat longer text", "third"]
METHODS = {"encode": "sentences", "encode_queries": "queries", "encode_corpus": "corpus"}
KEYS = {"return_dense": "dense_vecs", "return_sparse": "lexical_weights", "return_colbert_vecs": "colbert_vecs"}


def assert_same(found, expected):
    """Compare two outputs of either model class."""
    if not isinstance(expected, dict):
        np.testing.assert_allclose(torch.as_tensor(found).cpu(), expected, rtol=0, atol=1e-6)
        return
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        for value, other in zip(values, found[key], strict=True):
            if isinstance(value, dict):
                assert other == pytest.approx(value, rel=0, abs=1e-6)
            else:
                np.testing.assert_allclose(torch.as_tensor(other).cpu(), value, rtol=0, atol=1e-6)


def test_a_batch_is_one_unit_row_of_float32_a_text(tiny_bert):
    vectors = tiny_bert.encode(TEXTS)
    assert (vectors.shape, vectors.dtype) == ((3, 48), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_batch_of_three_representations_has_documented_types(tiny_m3):
    output = tiny_m3.encode(TEXTS)
    assert isinstance(output, M3Output)
    assert list(output) == ["dense_vecs", "lexical_weights", "colbert_vecs"]
    assert (output["dense_vecs"].shape, output["dense_vecs"].dtype) == ((3, 48), np.float32)
    assert all(type(token) is int for weights in output["lexical_weights"] for token in weights)
    assert all(type(weight) is float and weight > 0 for w in output["lexical_weights"] for weight in w.values())
    assert all((vectors.ndim, vectors.dtype) == (2, np.float32) for vectors in output["colbert_vecs"])


def test_a_str_gives_one_result_without_a_batch(tiny_bert, tiny_m3):
    assert tiny_bert.encode("first text").shape == (48,)
    output = tiny_m3.encode("first text")
    assert output["dense_vecs"].shape == (48,)
    assert isinstance(output["lexical_weights"], dict)
    assert output["colbert_vecs"].ndim == 2


@pytest.mark.parametrize("model", ["tiny_bert", "tiny_m3"])
def test_a_str_gives_what_a_list_of_it_gives(request, model):
    model = request.getfixturevalue(model)
    one = model.encode("first text")
    assert_same(one.as_batch() if isinstance(one, M3Output) else one[None], model.encode(["first text"]))


@pytest.mark.parametrize("form", [list, tuple, iter, np.array, pandas.Series], ids=lambda form: form.__name__)
def test_texts_come_in_any_iterable(tiny_bert, form):
    assert_same(tiny_bert.encode(form(TEXTS)), tiny_bert.encode(TEXTS))


@pytest.mark.parametrize("model", ["tiny_bert", "tiny_m3"])
@pytest.mark.parametrize("method", METHODS)
def test_texts_can_be_given_by_name_and_by_generator(request, model, method):
    encode = getattr(request.getfixturevalue(model), method)
    expected = encode(TEXTS)
    assert_same(encode(**{METHODS[method]: TEXTS}), expected)
    assert_same(encode(text for text in TEXTS), expected)


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_list_gives_an_empty_float32_batch(tiny_bert, method):
    vectors = getattr(tiny_bert, method)([])
    assert (vectors.shape, vectors.dtype) == ((0, 48), np.float32)


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_list_gives_an_empty_batch_of_each_representation(tiny_m3, method):
    output = getattr(tiny_m3, method)([])
    assert (output["dense_vecs"].shape, output["dense_vecs"].dtype) == ((0, 48), np.float32)
    assert (output["lexical_weights"], output["colbert_vecs"], output.num_texts) == ([], [], 0)


def test_an_empty_list_gives_an_empty_tensor(tiny_bert):
    vectors = tiny_bert.encode([], convert_to_numpy=False)
    assert (vectors.shape, vectors.dtype) == ((0, 48), torch.float32)


def test_the_same_text_gives_the_same_result_twice(tiny_m3):
    assert_same(tiny_m3.encode(["same", "same"])[0], tiny_m3.encode(["same", "same"])[1])


@pytest.mark.parametrize("asked", KEYS)
def test_a_call_can_ask_for_one_representation(tiny_m3, asked):
    output = tiny_m3.encode(TEXTS, **{name: name == asked for name in KEYS})
    assert list(output) == [KEYS[asked]]
    assert_same(output, {KEYS[asked]: tiny_m3.encode(TEXTS)[KEYS[asked]]})


@pytest.mark.parametrize("method", ["encode_queries", "encode_corpus"])
def test_queries_and_documents_pass_the_choice_on(tiny_m3, method):
    output = getattr(tiny_m3, method)(TEXTS, return_dense=False, return_colbert_vecs=False)
    assert list(output) == ["lexical_weights"]


def test_the_constructor_chooses_what_calls_give(tiny_m3_directory):
    model = BGEM3FlagModel(tiny_m3_directory, use_fp16=False, return_dense=False, return_sparse=True)
    assert list(model.encode(TEXTS)) == ["lexical_weights"]
    assert list(model.encode(TEXTS, return_dense=True, return_sparse=False)) == ["dense_vecs"]


def test_by_default_only_dense_vectors_are_given(tiny_m3_directory):
    assert list(BGEM3FlagModel(tiny_m3_directory).encode(TEXTS)) == ["dense_vecs"]


def test_tensors_equal_arrays(tiny_m3, tiny_bert):
    tensors = tiny_m3.encode(TEXTS, convert_to_numpy=False)
    assert all(isinstance(vectors, torch.Tensor) for vectors in [tensors["dense_vecs"], *tensors["colbert_vecs"]])
    assert_same(tensors, tiny_m3.encode(TEXTS))
    assert isinstance(tiny_bert.encode("one", convert_to_numpy=False), torch.Tensor)


def test_a_model_can_give_tensors_throughout(tiny_bert_directory):
    model = FlagModel(tiny_bert_directory, use_fp16=False, convert_to_numpy=False)
    assert isinstance(model.encode(TEXTS), torch.Tensor)
    assert isinstance(model.encode(TEXTS, convert_to_numpy=True), np.ndarray)


def test_tensors_can_take_part_in_training(tiny_m3):
    output = tiny_m3.encode(TEXTS, convert_to_numpy=False)
    for vectors in (output["dense_vecs"], output["colbert_vecs"][0]):
        layer = torch.nn.Linear(48, 1, device=vectors.device)
        layer(vectors).sum().backward()
        assert layer.weight.grad.abs().sum() > 0


def test_truncate_dim_keeps_leading_dimensions_and_normalises_them(tiny_bert_directory):
    whole = FlagModel(tiny_bert_directory, use_fp16=False, normalize_embeddings=False).encode(TEXTS)
    model = FlagModel(tiny_bert_directory, use_fp16=False, truncate_dim=10)
    assert model.dimension == 10
    expected = whole[:, :10] / np.linalg.norm(whole[:, :10], axis=1, keepdims=True)
    np.testing.assert_allclose(model.encode(TEXTS), expected, atol=1e-6)
    assert model.encode([]).shape == (0, 10)


def test_truncate_dim_cuts_colbert_vectors_too(tiny_m3_directory):
    model = BGEM3FlagModel(tiny_m3_directory, use_fp16=False, truncate_dim=10, return_colbert_vecs=True)
    output = model.encode(TEXTS)
    assert (model.dimension, model.colbert_dimension) == (10, 10)
    assert output["dense_vecs"].shape == (3, 10)
    for vectors in output["colbert_vecs"]:
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        assert vectors.shape[1] == 10


@pytest.mark.parametrize(("max_length", "rows"), [(3, 2), (5, 4), (512, 511)])
def test_a_long_text_is_cut_to_max_length_tokens(tiny_m3, max_length, rows):
    output = tiny_m3.encode("word " * 2000, max_length=max_length)
    assert len(output["colbert_vecs"]) == rows


def test_queries_and_passages_have_lengths_of_their_own(tiny_m3_directory):
    model = BGEM3FlagModel(
        tiny_m3_directory, use_fp16=False, query_max_length=5, passage_max_length=9, return_colbert_vecs=True
    )
    rows = {name: len(getattr(model, name)("word " * 50)["colbert_vecs"]) for name in METHODS}
    assert rows == {"encode_queries": 4, "encode_corpus": 8, "encode": 8}


def test_the_default_length_becomes_the_limit_of_a_shorter_model(tmp_path, build_checkpoint):
    model = BGEM3FlagModel(
        build_checkpoint(tmp_path, "xlm-roberta", heads=True, max_length=40), use_fp16=False, return_colbert_vecs=True
    )
    assert (model.max_length, model.query_max_length, model.passage_max_length) == (40, 40, 40)
    assert len(model.encode("word " * 50)["colbert_vecs"]) == 39


def test_a_model_is_shown_by_its_name_and_what_decides_its_vectors(tiny_m3, tiny_m3_directory):
    device = tiny_m3.target_devices[0]
    assert repr(tiny_m3) == (
        f"BGEM3FlagModel('{tiny_m3_directory}', pooling='cls', float32 on {device}, passage_max_length=512 of 512)"
    )


def test_the_model_has_upstreams_attributes(tiny_m3):
    assert tiny_m3.model.model.config.hidden_size == 48
    assert tiny_m3.model.colbert_linear.out_features == 48
    assert tiny_m3.model.sparse_linear.out_features == 1
    assert len(tiny_m3.tokenizer) == 3000
    assert tiny_m3.target_devices == ["cuda:0" if torch.cuda.is_available() else "cpu"]
