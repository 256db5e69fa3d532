"""A model, or the name or path of one."""

import pytest

from flagvec import ModelNotFoundError
from flagvec.frameworks.models import loaded_model


def test_a_loaded_model_is_returned_as_it_is(tiny_m3):
    assert loaded_model(tiny_m3) is tiny_m3


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "path"])
def test_a_directory_is_loaded_with_the_arguments_given(tiny_m3_directory, kind):
    model = loaded_model(kind(tiny_m3_directory), {"use_fp16": False, "batch_size": 3})
    assert (model.representations, model.batch_size) == ({"dense", "sparse", "colbert"}, 3)


def test_a_name_is_loaded_with_its_prompts(hub_cache):
    model = loaded_model("bge-small-en-v1.5", {"cache_dir": hub_cache})
    assert model.query_instruction_for_retrieval.startswith("Represent this sentence")


def test_an_unknown_name_is_refused_with_the_nearest_ones():
    with pytest.raises(ModelNotFoundError, match=r"nearest: .*bge-m3"):
        loaded_model("bge-m33")


@pytest.mark.parametrize("given", [None, 7, object], ids=str)
def test_something_other_than_a_model_is_refused(given):
    with pytest.raises(TypeError, match="pass a FlagModel or BGEM3FlagModel, or the name or path of a model"):
        loaded_model(given)


def test_arguments_beside_a_loaded_model_are_refused(tiny_m3):
    with pytest.raises(ValueError, match=r"model_kwargs=.*'use_fp16'.*: the model is loaded already"):
        loaded_model(tiny_m3, {"use_fp16": False})
