"""Pooling, prompts, lengths and linear layers from the files that sentence-transformers writes beside a checkpoint."""

import json
import warnings

import numpy as np
import pytest
import torch
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import save_file
from transformers import AutoModel, AutoTokenizer

from flagvec import BGEM3FlagModel, CheckpointError, FlagAutoModel, FlagModel, loading
from flagvec.checkpoints.author_files import read_author_files

TEXTS = ["machine learning", "a library for reading and writing zip archives", "rice"]


@pytest.fixture
def published(tmp_path, build_checkpoint):
    """Write a checkpoint with the files of sentence-transformers that are given."""

    def write(pooling=None, modules=("Transformer", "Pooling", "Normalize"), name="mine", architecture="bert", **files):
        directory = build_checkpoint(tmp_path / name, architecture, seed=11)
        entries = [
            {"idx": place, "name": str(place), "path": f"{place}_{kind}" if place else "", "type": f"a.models.{kind}"}
            for place, kind in enumerate(modules)
        ]
        put(directory / "modules.json", entries)
        if pooling is not None:
            put(directory / "1_Pooling" / "config.json", pooling)
        for file, values in files.items():
            put(directory / f"{file}.json", values)
        return directory

    return write


def put(path, values):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(values))


OLDER_MEAN = {"word_embedding_dimension": 32, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
OLDER_CLS = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
NEWER_MEAN = {"embedding_dimension": 32, "pooling_mode": "mean", "include_prompt": True}


@pytest.mark.parametrize(
    ("config", "pooling"), [(OLDER_MEAN, "mean"), (OLDER_CLS, "cls"), (NEWER_MEAN, "mean")], ids=["old", "cls", "new"]
)
def test_an_unknown_directory_pools_as_its_authors_say(published, config, pooling):
    model = FlagAutoModel.from_finetuned(published(config), use_fp16=False)
    assert (type(model), model.pooling_method) == (FlagModel, pooling)


def test_an_unknown_repository_pools_as_its_authors_say(published, add_to_hub, tmp_path):
    add_to_hub(tmp_path / "hub", "someone/mine", published(OLDER_MEAN))
    model = FlagAutoModel.from_finetuned("someone/mine", cache_dir=tmp_path / "hub", use_fp16=False)
    assert (model.model_name_or_path, model.pooling_method) == ("someone/mine", "mean")


def test_an_unknown_repository_with_both_heads_gives_three_representations(tiny_m3_directory, add_to_hub, tmp_path):
    add_to_hub(tmp_path / "hub", "someone/fine-tuned-m3", tiny_m3_directory)
    assert type(FlagAutoModel.from_finetuned("someone/fine-tuned-m3", cache_dir=tmp_path / "hub")) is BGEM3FlagModel


def test_the_files_of_a_directory_count_before_the_catalogue(published):
    directory = published(OLDER_CLS, name="e5-small-v2", config_sentence_transformers={"prompts": {"query": "ask: "}})
    model = FlagAutoModel.from_finetuned(directory)
    assert (model.pooling_method, model.query_instruction_for_retrieval) == ("cls", "ask: ")
    assert model.passage_instruction_for_retrieval == "passage: "


@pytest.mark.parametrize(
    ("settings", "query", "passage"),
    [
        ({"prompts": {"query": "q: ", "document": "d: "}}, "q: ", "d: "),
        ({"prompts": {"query": "q: ", "passage": "p: "}}, "q: ", "p: "),
        ({"prompts": {"query": "", "document": ""}, "default_prompt_name": None}, None, None),
        ({"prompts": {"task": "t: "}, "default_prompt_name": "task"}, "t: ", "t: "),
        ({"prompts": {"task": "t: ", "query": "q: "}, "default_prompt_name": "task"}, "q: ", "t: "),
        ({"prompts": {"task": "t: "}}, None, None),
        ({}, None, None),
    ],
)
def test_prompts_are_those_that_sentence_transformers_would_use(published, settings, query, passage):
    model = FlagAutoModel.from_finetuned(published(OLDER_CLS, config_sentence_transformers=settings))
    assert (model.query_instruction_for_retrieval, model.passage_instruction_for_retrieval) == (query, passage)


def test_arguments_count_before_the_files(published):
    directory = published(OLDER_CLS, config_sentence_transformers={"prompts": {"query": "q: ", "document": "d: "}})
    model = FlagAutoModel.from_finetuned(
        directory, query_instruction_for_retrieval="", passage_instruction_for_retrieval="mine: "
    )
    assert (model.query_instruction_for_retrieval, model.passage_instruction_for_retrieval) == ("", "mine: ")


@pytest.mark.parametrize(("limit", "expected"), [(128, 128), (8_192, 512), (None, 512)])
def test_a_lower_limit_of_tokens_counts(published, limit, expected):
    directory = published(OLDER_CLS, sentence_bert_config={"max_seq_length": limit, "do_lower_case": False})
    model = FlagAutoModel.from_finetuned(directory)
    assert (model.query_max_length, model.passage_max_length) == (expected, expected)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_weightedmean_tokens": True}, "weightedmean"),
        ({"pooling_mode": "lasttoken"}, "lasttoken"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, r"cls\+mean"),
        (NEWER_MEAN | {"include_prompt": False}, "mean without the prompt"),
    ],
)
def test_pooling_that_flagvec_does_not_have_is_refused(published, config, named):
    with pytest.raises(CheckpointError, match=f"trained with {named} pooling; flagvec has cls and mean"):
        FlagAutoModel.from_finetuned(published(config))


def test_a_missing_file_of_the_pooling_module_is_refused(published):
    with pytest.raises(CheckpointError, match=r"1_Pooling/config\.json is missing"):
        FlagAutoModel.from_finetuned(published())


def test_a_module_that_flagvec_does_not_have_is_refused(published):
    directory = published(OLDER_CLS, modules=("Transformer", "Pooling", "LayerNorm"))
    with pytest.raises(CheckpointError, match="has the module 'LayerNorm'"):
        FlagAutoModel.from_finetuned(directory)


@pytest.mark.parametrize("content", ["{", "3", "[]"])
def test_a_damaged_file_is_refused(published, content):
    directory = published(OLDER_CLS)
    (directory / "1_Pooling" / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"1_Pooling/config\.json .*get the file again"):
        FlagAutoModel.from_finetuned(directory)


def test_vectors_are_normalised_also_without_a_normalize_module(published):
    model = FlagAutoModel.from_finetuned(published(OLDER_CLS, modules=("Transformer", "Pooling")), use_fp16=False)
    np.testing.assert_allclose(np.linalg.norm(model.encode(TEXTS), axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("make", [FlagModel, FlagAutoModel.from_finetuned], ids=["FlagModel", "FlagAutoModel"])
def test_one_warning_says_which_pooling_is_right(published, make):
    directory = published(OLDER_MEAN)
    with pytest.warns() as caught:
        model = make(directory, pooling_method="cls")
    assert model.pooling_method == "cls"
    (warning,) = caught
    assert str(warning.message) == (
        f"pooling_method='cls' gives worse vectors with {directory}, which was trained with mean pooling: pass "
        "pooling_method='mean'"
    )


def test_nothing_is_warned_of_if_the_pooling_is_right(published):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        FlagModel(published(OLDER_MEAN), pooling_method="mean")


def add_dense(directory, activation, outputs=12, bias=True):
    tensors = {"linear.weight": torch.randn(outputs, 32) / 6}
    if bias:
        tensors["linear.bias"] = torch.randn(outputs)
    config = {"in_features": 32, "out_features": outputs, "bias": bias}
    put(directory / "2_Dense" / "config.json", config | {"activation_function": f"torch.nn.modules.{activation}"})
    save_file(tensors, directory / "2_Dense" / "model.safetensors")
    return tensors


@pytest.mark.parametrize("activation", ["linear.Identity", "activation.Tanh"])
@pytest.mark.parametrize("make", [FlagModel, FlagAutoModel.from_finetuned], ids=["FlagModel", "FlagAutoModel"])
def test_a_linear_layer_after_pooling_is_applied(published, activation, make):
    directory = published(OLDER_CLS, modules=("Transformer", "Pooling", "Dense", "Normalize"))
    tensors = add_dense(directory, activation)
    model = make(directory, use_fp16=False)
    expected = [after_pooling(directory, tensors, activation, text) for text in TEXTS]
    assert model.dimension == 12
    np.testing.assert_allclose(model.encode(TEXTS), expected, atol=1e-5)


@torch.inference_mode()
def after_pooling(directory, tensors, activation, text):
    encoding = AutoTokenizer.from_pretrained(directory)(text, return_tensors="pt")
    pooled = AutoModel.from_pretrained(directory).eval()(**encoding).last_hidden_state[0, 0]
    vector = tensors["linear.weight"] @ pooled + tensors["linear.bias"]
    vector = torch.tanh(vector) if activation.endswith("Tanh") else vector
    return (vector / vector.norm()).numpy()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "2_Dense cannot be read"),
        (lambda folder: save_file({"x": torch.ones(2)}, folder / "model.safetensors"), "has no matrix 'linear.weight'"),
        (
            lambda folder: save_file({"linear.weight": torch.ones(4, 5)}, folder / "model.safetensors"),
            "takes vectors of length 5, and gets 32",
        ),
        (
            lambda folder: save_file({"linear.weight": torch.full((4, 32), np.nan)}, folder / "model.safetensors"),
            "holds NaN or infinite weights",
        ),
        (lambda folder: put(folder / "config.json", {"activation_function": "a.Softsign"}), "activation 'Softsign'"),
    ],
)
def test_a_damaged_linear_layer_is_refused(published, damage, message):
    directory = published(OLDER_CLS, modules=("Transformer", "Pooling", "Dense"))
    add_dense(directory, "linear.Identity")
    damage(directory / "2_Dense")
    with pytest.raises(CheckpointError, match=message):
        FlagModel(directory)


def test_modules_in_subfolders_are_downloaded_and_other_formats_are_not(tmp_path, monkeypatch):
    asked = {}

    def download(repository, **options):
        asked.update(options)
        (tmp_path / "model.safetensors").touch()
        return str(tmp_path)

    monkeypatch.setattr(loading, "snapshot_download", download)
    loading.find_checkpoint("someone/mine", loading.HubOptions())
    files = [
        "config.json", "modules.json", "model.safetensors", "1_Pooling/config.json", "2_Dense/config.json",
        "2_Dense/model.safetensors", "2_Dense/pytorch_model.bin", "artifact.metadata",
        "onnx/model.onnx", "onnx/config.json", "openvino/openvino_model.xml", "0_Transformer/model.safetensors",
        "README.md", "imgs/picture.json",
    ]  # fmt: skip
    patterns = {name: asked[name] for name in ("allow_patterns", "ignore_patterns")}
    assert list(filter_repo_objects(files, **patterns)) == files[:8]


def test_a_checkpoint_without_such_files_says_nothing(tiny_bert_directory):
    files = read_author_files(tiny_bert_directory)
    assert (files.modules, files.pooling, files.query_prompt, files.max_length) == ([], None, None, None)


@pytest.mark.parametrize(
    "settings",
    [{"prompts": "query: "}, {"prompts": ["query: "]}, {"prompts": {"a": "b"}, "default_prompt_name": ["a"]}],
)
def test_prompts_of_another_type_are_none(published, settings):
    files = read_author_files(published(OLDER_CLS, config_sentence_transformers=settings))
    assert (files.query_prompt, files.passage_prompt) == (None, None)


def test_an_architecture_that_is_no_list_is_not_read(published):
    assert read_author_files(published(OLDER_CLS, config={"architectures": 5})).architecture is None


@pytest.mark.parametrize("modes", [5, {"cls": True}])
def test_a_pooling_mode_of_another_type_is_refused_by_name(published, modes):
    with pytest.raises(CheckpointError, match=f"was trained with {modes} pooling"):
        read_author_files(published({"pooling_mode": modes})).refuse_other_pooling()
