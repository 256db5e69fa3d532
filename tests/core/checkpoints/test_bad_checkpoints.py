"""A damaged or incomplete checkpoint is refused by name; random weights never replace missing ones."""

import json
import pickle
import shutil
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from flagvec import BGEM3FlagModel, CheckpointError, FlagModel, FlagvecError
from flagvec.checkpoints.checks import held_weights, no_more_than


@pytest.fixture
def directory(tmp_path, tiny_m3_directory):
    """A sound checkpoint, to be damaged."""
    return Path(shutil.copytree(tiny_m3_directory, tmp_path / "checkpoint"))


def load(directory, **options):
    return BGEM3FlagModel(directory, use_fp16=False, return_sparse=True, return_colbert_vecs=True, **options)


def rewrite_config(directory, **changes):
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rewrite_weights(directory, change):
    weights = load_file(directory / "model.safetensors")
    change(weights)
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})


def test_the_checkpoint_is_sound_before_it_is_damaged(directory):
    assert load(directory).representations == {"dense", "sparse", "colbert"}


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "sparse_linear.pt",
        "colbert_linear.pt",
    ],
)
def test_a_file_cut_short_is_refused_naming_the_checkpoint(directory, name, kept):
    content = (directory / name).read_bytes()
    (directory / name).write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(CheckpointError, match=r"checkpoint.* cannot be read"):
        load(directory)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "sparse_linear.pt", "colbert_linear.pt"]
)
def test_a_file_of_garbage_is_refused(directory, name):
    (directory / name).write_bytes(b"\xff\xfe garbage \x00" * 50)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(directory)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_missing_file_is_refused(directory, name):
    (directory / name).unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(directory)


@pytest.mark.parametrize("head", ["sparse_linear.pt", "colbert_linear.pt"])
def test_a_missing_head_is_refused_if_it_is_asked_for(directory, head):
    (directory / head).unlink()
    with pytest.raises(CheckpointError, match=f"has no {head}, which return_.* needs; ask for return_dense only"):
        load(directory)


@pytest.mark.parametrize(
    ("head", "option"), [("sparse_linear.pt", "return_sparse"), ("colbert_linear.pt", "return_colbert_vecs")]
)
def test_a_missing_head_is_refused_by_the_call_that_needs_it(directory, head, option):
    (directory / head).unlink()
    model = BGEM3FlagModel(directory, use_fp16=False)
    assert list(model.encode(["a text"])) == ["dense_vecs"]
    with pytest.raises(CheckpointError, match=f"has no {head}"):
        model.encode(["a text"], **{option: True})
    with pytest.raises(CheckpointError, match=f"has no {head}"):
        model.encode([], **{option: True})


@pytest.mark.parametrize(
    ("head", "shape", "expected"), [("sparse_linear.pt", (2, 48), (1, 48)), ("colbert_linear.pt", (48, 32), (48, 48))]
)
def test_a_head_of_another_shape_is_refused_with_both_shapes(directory, head, shape, expected):
    torch.save({"weight": torch.zeros(shape), "bias": torch.zeros(shape[0])}, directory / head)
    with pytest.raises(CheckpointError) as raised:
        load(directory)
    assert f"'weight': {shape}" in str(raised.value)
    assert f"needs {{'weight': {expected}" in str(raised.value)


def test_a_colbert_head_of_fewer_rows_needs_its_colbert_dim(directory):
    torch.save(torch.nn.Linear(48, 16).state_dict(), directory / "colbert_linear.pt")
    with pytest.raises(CheckpointError, match="set colbert_dim to the number of its rows, or fewer"):
        load(directory)
    model = load(directory, colbert_dim=16)
    assert model.colbert_dimension == 16
    assert model.encode("a text")["colbert_vecs"].shape[1] == 16


def test_the_first_rows_of_a_colbert_head_give_shorter_vectors(directory):
    whole, short = load(directory), load(directory, colbert_dim=16)
    kept = whole.encode("a text")["colbert_vecs"][:, :16]
    expected = kept / np.linalg.norm(kept, axis=1, keepdims=True)
    np.testing.assert_allclose(short.encode("a text")["colbert_vecs"], expected, atol=1e-6)
    assert short.colbert_dimension == 16


def test_more_rows_than_a_colbert_head_has_are_refused(directory):
    with pytest.raises(CheckpointError, match=r"'weight': \(48, 48\).*needs {'weight': \(64, 48\)"):
        load(directory, colbert_dim=64)


@pytest.mark.parametrize("state", [[1, 2], {"weight": torch.zeros(1, 48)}, {"linear.weight": torch.zeros(1, 48)}, {}])
def test_a_head_with_other_tensors_is_refused(directory, state):
    torch.save(state, directory / "sparse_linear.pt")
    with pytest.raises(CheckpointError, match=r"sparse_linear\.pt holds .*, but this model needs"):
        load(directory)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("tensor", ["weight", "bias"])
def test_a_head_that_is_not_finite_is_refused(directory, value, tensor):
    state = torch.load(directory / "sparse_linear.pt", weights_only=True)
    state[tensor].view(-1)[0] = value
    torch.save(state, directory / "sparse_linear.pt")
    with pytest.raises(CheckpointError, match=r"sparse_linear\.pt holds NaN or infinite weights"):
        load(directory)


class TouchesAFile:
    """Would create a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("write", [torch.save, lambda head, path: path.write_bytes(pickle.dumps(head, protocol=2))])
def test_code_in_a_head_never_runs(directory, tmp_path, write):
    write(TouchesAFile(tmp_path / "ran"), directory / "sparse_linear.pt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(directory)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "tensor", ["embeddings.word_embeddings.weight", "embeddings.LayerNorm.bias", "encoder.layer.1.output.dense.weight"]
)
def test_a_missing_weight_is_refused_by_name(directory, tensor):
    rewrite_weights(directory, lambda weights: weights.pop(tensor))
    with pytest.raises(CheckpointError, match=rf"1 weights are missing .*{tensor}"):
        load(directory)


def test_a_missing_pooler_changes_no_vector(directory):
    expected = load(directory).encode("a text")["dense_vecs"]
    rewrite_weights(directory, lambda weights: [weights.pop(f"pooler.dense.{name}") for name in ("weight", "bias")])
    assert (load(directory).encode("a text")["dense_vecs"] == expected).all()


@pytest.mark.parametrize("changes", [{"hidden_size": 40}, {"intermediate_size": 64}, {"num_hidden_layers": 3}])
def test_weights_of_another_size_than_the_config_says_are_refused(directory, changes):
    rewrite_config(directory, **changes)
    with pytest.raises(CheckpointError):
        load(directory)


def test_a_config_that_cannot_be_is_refused(directory):
    rewrite_config(directory, num_attention_heads=5)
    with pytest.raises(CheckpointError, match=r"hidden size .* multiple of the number of attention heads"):
        load(directory)


@pytest.mark.parametrize("architecture", ["unheard-of", None])
def test_an_architecture_that_transformers_lacks_is_refused_by_name(directory, architecture):
    rewrite_config(directory, model_type=architecture)
    with pytest.raises(CheckpointError, match=f"this version of transformers has no architecture {architecture!r}"):
        load(directory)


def test_a_tokenizer_larger_than_the_embeddings_is_refused_with_both_sizes(directory):
    rewrite_config(directory, vocab_size=2000)

    def cut(weights):
        weights["embeddings.word_embeddings.weight"] = weights["embeddings.word_embeddings.weight"][:2000].clone()

    rewrite_weights(directory, cut)
    with pytest.raises(CheckpointError, match="gives ids up to 2999, but the model has embeddings for ids up to 1999"):
        load(directory)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read: FileNotFoundError"):
        FlagModel(tmp_path)


def test_refusals_can_be_caught_as_flagvecs_or_as_value_errors():
    assert issubclass(CheckpointError, FlagvecError)
    assert issubclass(CheckpointError, ValueError)


@pytest.mark.parametrize(
    "content", ["[]", "5", "null", '"text"', '{"model_type": []}', '{"model_type": "bert", "hidden_size": "x"}']
)
def test_a_config_of_other_json_is_refused(directory, content):
    (directory / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json|cannot be read"):
        load(directory)


def test_a_head_of_numbers_is_refused(directory):
    torch.save({"weight": 1, "bias": 2}, directory / "sparse_linear.pt")
    with pytest.raises(CheckpointError, match=r"sparse_linear\.pt holds"):
        load(directory)


def test_a_tokenizer_without_padding_is_refused_or_not_needed(directory):
    config = json.loads((directory / "tokenizer_config.json").read_text())
    del config["pad_token"]
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    try:
        assert load(directory).encode(["a", "a longer text"])["dense_vecs"].shape == (2, 48)
    except CheckpointError as error:
        assert "pad" in str(error)


def test_weights_that_are_not_finite_are_refused(directory):
    def spoil(weights):
        weights["encoder.layer.1.output.dense.weight"][0, 0] = float("nan")

    rewrite_weights(directory, spoil)
    with pytest.raises(CheckpointError, match="NaN"):
        load(directory)


def test_weights_of_more_layers_than_the_config_says_are_refused(directory):
    rewrite_config(directory, num_hidden_layers=1)
    with pytest.raises(CheckpointError, match=r"unknown to the model that config\.json describes \(encoder\.layer\.1"):
        load(directory)


def test_a_model_that_is_not_an_encoder_is_refused_by_name(directory):
    from transformers import GPT2Config, GPT2Model

    GPT2Model(GPT2Config(vocab_size=3000, n_embd=48, n_layer=1, n_head=4)).save_pretrained(directory)
    with pytest.raises(CheckpointError, match="a model of the architecture 'gpt2'; flagvec needs an encoder of text"):
        load(directory)


def test_an_encoder_without_berts_embeddings_is_refused_by_name(directory):
    from transformers import BartConfig, BartModel

    sizes = {"d_model": 48, "encoder_layers": 1, "decoder_layers": 1, "max_position_embeddings": 64}
    BartModel(BartConfig(vocab_size=3000, **sizes)).save_pretrained(directory)
    with pytest.raises(CheckpointError, match="holds a BartModel; flagvec needs a BERT-like encoder"):
        load(directory)


@pytest.mark.parametrize(
    "sizes",
    [
        {"num_hidden_layers": 1_000_000},
        {"vocab_size": 10**9},
        {"max_position_embeddings": 10**10},
        {"type_vocab_size": 10**9},
        {"intermediate_size": 10**9},
        {"hidden_size": 10**6, "num_attention_heads": 1},
    ],
)
@pytest.mark.parametrize("as_older_weights", [False, True])
def test_a_size_that_the_weights_cannot_have_is_refused_before_memory_is_taken(directory, sizes, as_older_weights):
    if as_older_weights:
        weights = directory / "model.safetensors"
        torch.save(load_file(weights), directory / "pytorch_model.bin")
        weights.unlink()
    rewrite_config(directory, **sizes)
    with pytest.raises(CheckpointError, match=r"describes a model of at least .* but the weight files hold 39 with"):
        load(directory)


def test_a_refused_size_bounds_no_model_that_is_made_later_or_in_another_thread(directory):
    refused, sizes = Path(shutil.copytree(directory, directory.with_name("refused"))), (20_000, 1_000)
    rewrite_config(refused, vocab_size=10**9)

    def make_another():
        with torch.device("meta"):
            return torch.nn.Embedding(*sizes)

    with pytest.raises(CheckpointError, match="describes a model of at least"):
        load(refused)
    assert make_another().weight.shape == sizes
    with no_more_than(held_weights(directory), directory):
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(make_another).result().weight.shape == sizes
        with pytest.raises(CheckpointError, match="at least 1 weights with 20,000,000 numbers"):
            make_another()


def test_a_view_that_repeats_one_number_counts_as_what_its_file_holds(directory):
    weights = load_file(directory / "model.safetensors") | {"repeated": torch.zeros(1).expand(10**6, 10**6)}
    torch.save(weights, directory / "pytorch_model.bin")
    (directory / "model.safetensors").unlink()
    rewrite_config(directory, vocab_size=10**9)
    with pytest.raises(CheckpointError, match="copy both from the same model"):
        load(directory)


@pytest.mark.parametrize("new_format", [True, False])
def test_older_weights_load_in_both_of_torchs_formats(directory, new_format):
    expected = load(directory).encode("a text")["dense_vecs"]
    weights = load_file(directory / "model.safetensors")
    torch.save(weights, directory / "pytorch_model.bin", _use_new_zipfile_serialization=new_format)
    (directory / "model.safetensors").unlink()
    assert (load(directory).encode("a text")["dense_vecs"] == expected).all()


def in_three_shards(weights, directory, name):
    names = sorted(weights)
    shards = {f"part-{number}-{name}": names[number::3] for number in range(3)}
    for shard, held in shards.items():
        tensors = {key: weights[key] for key in held}
        if name == "model.safetensors":
            save_file(tensors, directory / shard, metadata={"format": "pt"})
        else:
            torch.save(tensors, directory / shard)
    index = {"metadata": {}, "weight_map": {key: shard for shard, held in shards.items() for key in held}}
    (directory / f"{name}.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_weights_in_several_files_of_any_name_load_and_are_counted(directory, name):
    expected, held = load(directory).encode("a text")["dense_vecs"], held_weights(directory)
    weights = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    in_three_shards(weights, directory, name)
    assert (load(directory).encode("a text")["dense_vecs"] == expected).all()
    assert held_weights(directory) == held


def test_files_that_a_training_leaves_beside_the_weights_are_not_read(directory):
    expected, held = load(directory).encode("a text")["dense_vecs"], held_weights(directory)
    torch.save(load_file(directory / "model.safetensors"), directory / "pytorch_model.bin")
    (directory / "model.safetensors").unlink()
    torch.save(Namespace(learning_rate=1e-5), directory / "training_args.bin")
    save_file({"step": torch.zeros(1)}, directory / "state.safetensors")
    assert (load(directory).encode("a text")["dense_vecs"] == expected).all()
    assert held_weights(directory) == held


def rewrite_tokenizer(directory, change):
    path = directory / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    change(tokenizer)
    path.write_text(json.dumps(tokenizer))


def give_a_token_a_large_id(tokenizer):
    # The count of tokens stays.
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary[max(vocabulary, key=vocabulary.get)] = 50_000


def give_the_template_a_large_id(tokenizer):
    for token in tokenizer["post_processor"]["special_tokens"].values():
        token["ids"] = [70_000]


@pytest.mark.parametrize("change", [give_a_token_a_large_id, give_the_template_a_large_id])
def test_an_id_without_an_embedding_is_refused_by_number(tmp_path, tiny_bert_directory, change):
    directory = Path(shutil.copytree(tiny_bert_directory, tmp_path / "checkpoint"))
    assert FlagModel(directory, use_fp16=False).encode("a text").shape == (48,)
    rewrite_tokenizer(directory, change)
    with pytest.raises(CheckpointError, match=r"ids up to [57]0000, but the model has embeddings for ids up to 2999"):
        FlagModel(directory, use_fp16=False)
