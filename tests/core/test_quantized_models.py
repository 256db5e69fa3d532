"""quantization="int8": close to float32, the same from a file and in other processes, refused where it cannot run."""

import json
import multiprocessing

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel

from flagvec import BGEM3FlagModel, CheckpointError, FlagAutoModel, FlagModel
from flagvec.checkpoints.checks import INT8_WEIGHTS
from flagvec.engine.kernels import quantized as kernels
from flagvec.engine.prepacked import can_prepack
from flagvec.engine.quantized_layers import PackedInt8Linear, largest_byte
from flagvec.engine.quantized_weights import Int8Linear
from flagvec.loading import HubOptions, load_checkpoint
from flagvec.quantization import load_model_checkpoint, quantize_checkpoint

pytestmark = pytest.mark.skipif(
    not can_prepack(torch.device("cpu"), torch.float32), reason="oneDNN has no int8 for this CPU"
)

TEXTS = ["one", "a text of several words", "word " * 40, "", "another text, of some length and with a comma"] * 3
ALL = {"return_sparse": True, "return_colbert_vecs": True}


@pytest.fixture(scope="module")
def m3_directory(tmp_path_factory, build_checkpoint):
    return build_checkpoint(tmp_path_factory.mktemp("m3"), "xlm-roberta", heads=True, width=64)


@pytest.fixture(scope="module")
def written(tmp_path_factory, m3_directory):
    """A directory that flagvec quantize wrote."""
    directory = tmp_path_factory.mktemp("int8") / "model"
    quantize_checkpoint(m3_directory, directory, trust_remote_code=False, hub=HubOptions())
    return directory


@pytest.fixture(scope="module")
def model(m3_directory):
    return BGEM3FlagModel(m3_directory, devices="cpu", use_fp16=False, quantization="int8", **ALL)


def cosines(found, expected):
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    return (found * expected).sum(1) / norms


def same(found, expected):
    np.testing.assert_array_equal(found["dense_vecs"], expected["dense_vecs"])
    assert found["lexical_weights"] == expected["lexical_weights"]
    for one, other in zip(found["colbert_vecs"], expected["colbert_vecs"], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("architecture", ["bert", "xlm-roberta", "modernbert", "gte", "nomic_bert"])
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_vectors_are_close_to_those_of_float32(tmp_path, build_checkpoint, architecture, half):
    directory = build_checkpoint(tmp_path, architecture, width=64)
    exact = FlagModel(directory, "mean", use_fp16=False, devices="cpu").encode(TEXTS)
    found = FlagModel(directory, "mean", use_fp16=False, use_bf16=half, devices="cpu", quantization="int8").encode(
        TEXTS
    )
    assert cosines(found, exact).min() > 0.98
    assert not np.allclose(found, exact, atol=1e-5), "nothing was rounded"


@settings(max_examples=30)
@given(st.lists(st.integers(1, 600), min_size=1, max_size=6))
def test_texts_of_any_lengths_are_the_same_with_and_without_kernels(model, lengths):
    texts = ["word " * length for length in lengths]
    found = model.encode(texts)["dense_vecs"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "can_run", lambda width: False)
        in_torch = model.encode(texts)["dense_vecs"]
    # A number that lies between two bytes may be rounded either way.
    assert cosines(found, in_torch).min() > 0.999


def test_a_linear_layer_of_odd_sizes_multiplies_the_rounded_numbers():
    linear = nn.Linear(30, 7).requires_grad_(False)
    found = PackedInt8Linear(Int8Linear.of(linear))(torch.randn(2, 5, 30))
    assert found.shape == (2, 5, 7)
    states = torch.randn(11, 30)
    error = (PackedInt8Linear(Int8Linear.of(linear))(states) - linear(states)).abs().max()
    assert 0 < error < 0.05


def test_a_layer_without_bias_and_with_a_row_of_zeros_gives_zeros():
    linear = nn.Linear(32, 16, bias=False).requires_grad_(False)
    linear.weight[3] = 0
    assert (PackedInt8Linear(Int8Linear.of(linear))(torch.randn(4, 32))[:, 3] == 0).all()


def test_sums_of_the_largest_numbers_are_exact():
    largest = largest_byte()
    linear = Int8Linear(torch.full((64, 512), 127, dtype=torch.int8), torch.ones(64), None)
    rows = kernels.ByteRows(torch.full((9, 512), largest, dtype=torch.uint8), torch.ones(9), torch.zeros(9))
    assert (PackedInt8Linear(linear).multiplied(rows).sums == 512 * 127 * largest).all()


def test_a_directory_that_was_written_gives_the_same_without_an_argument(model, written):
    loaded = BGEM3FlagModel(written, devices="cpu", use_fp16=False, **ALL)
    same(loaded.encode(TEXTS), model.encode(TEXTS))
    assert "int8 and float32 on cpu" in repr(loaded)
    assert isinstance(FlagAutoModel.from_finetuned(written, devices="cpu"), BGEM3FlagModel)


@pytest.mark.parametrize("architecture", ["bert", "modernbert", "gte", "nomic_bert"])
def test_other_architectures_are_written_and_loaded(tmp_path, build_checkpoint, architecture):
    directory = build_checkpoint(tmp_path / "float", architecture, width=64)
    quantize_checkpoint(directory, tmp_path / "int8", trust_remote_code=False, hub=HubOptions())
    options = {"use_fp16": False, "devices": "cpu"}
    found = FlagModel(tmp_path / "int8", "mean", **options).encode(TEXTS)
    np.testing.assert_array_equal(found, FlagModel(directory, "mean", quantization="int8", **options).encode(TEXTS))


def test_a_directory_that_was_written_holds_a_quarter_of_the_bytes(m3_directory, written):
    before, after = ((d / f).stat().st_size for d, f in ((m3_directory, "model.safetensors"), (written, INT8_WEIGHTS)))
    assert after < 0.4 * before  # scales, norms and headers weigh more in a tiny model


def test_loading_makes_no_table_or_matrix_of_floats(written):
    backbone = load_checkpoint(written, torch.float32, False, HubOptions()).backbone
    matrices = [tensor for tensor in backbone.state_dict().values() if tensor.ndim > 1]
    assert matrices
    assert all(tensor.dtype is torch.int8 for tensor in matrices)


def test_the_formats_of_states_are_those_of_the_other_arguments(written):
    half = BGEM3FlagModel(written, devices="cpu", use_fp16=False, use_bf16=True)
    assert half.checkpoint.backbone.dtype is torch.bfloat16
    assert "int8 and bfloat16 on cpu" in repr(half)


def test_other_programs_find_no_weights(written):
    with pytest.raises(OSError, match=r"no file named .*model\.safetensors"):
        AutoModel.from_pretrained(written)


def test_two_workers_give_what_one_process_gives(model, written):
    texts = [f"Document {number} {'and so on ' * (number * 37 % 60)}" for number in range(400)]
    with BGEM3FlagModel(written, devices=["cpu", "cpu"], use_fp16=False, **ALL) as two:
        found = two.encode(texts)
    assert cosines(found["dense_vecs"], model.encode(texts)["dense_vecs"]).min() > 0.9999


def _encode(model, queue):
    queue.put(model.encode(TEXTS)["dense_vecs"])


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this platform has no fork")
def test_a_forked_process_gives_the_same(written):
    model = BGEM3FlagModel(written, devices="cpu", use_fp16=False)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_encode, args=(model, queue))
    child.start()
    found = queue.get(timeout=60)
    child.join()
    np.testing.assert_array_equal(found, model.encode(TEXTS)["dense_vecs"])


def test_texts_that_are_not_finite_run_again_in_float32_on_the_same_weights(m3_directory):
    model = FlagModel(m3_directory, "mean", use_fp16=False, use_bf16=True, devices="cpu", quantization="int8")
    (wider,) = model._encoder.for_single_texts()
    assert wider.dtype is torch.float32
    tokens = [np.array([0, 5, 7, 2])]
    (_, states), (_, wide) = (
        next(each.run([each.window(tokens, 1)], lambda b: b.states)) for each in (model._encoder, wider)
    )
    assert wide.dtype is torch.float32
    torch.testing.assert_close(wide, states.float(), atol=0.1, rtol=0.1)


def test_an_unknown_value_is_refused_before_the_model_is_looked_for():
    with pytest.raises(ValueError, match="quantization='int4': choose 'int8', or None"):
        FlagModel("no/such-model", quantization="int4")


@pytest.mark.parametrize("device", ["cuda:0", "mps"])
def test_an_accelerator_is_refused(m3_directory, written, device):
    for directory, quantization, said in ((m3_directory, "int8", "quantization='int8'"), (written, None, "int8")):
        with pytest.raises(ValueError, match=rf"{said}.* device is {device}; pass devices='cpu'"):
            load_model_checkpoint(directory, torch.float32, False, HubOptions(), quantization, [torch.device(device)])


def test_a_quantised_model_is_not_quantised_again(written, tmp_path):
    with pytest.raises(CheckpointError, match="holds int8 weights already"):
        quantize_checkpoint(written, tmp_path / "again", trust_remote_code=False, hub=HubOptions())
    assert not (tmp_path / "again").exists()


def test_a_directory_with_files_is_not_overwritten(m3_directory, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not an empty directory; give a new name"):
        quantize_checkpoint(m3_directory, tmp_path, trust_remote_code=False, hub=HubOptions())
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def damaged(directory, change):
    weights = load_file(directory / INT8_WEIGHTS)
    change(weights)
    save_file(weights, directory / INT8_WEIGHTS, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda weights: weights.pop("embeddings.word_embeddings.scales"), "Missing key.*word_embeddings.scales"),
        (lambda weights: weights.update(other=torch.ones(1)), "Unexpected key.*other"),
        (lambda weights: weights["embeddings.word_embeddings.scales"].fill_(torch.nan), "NaN or infinite"),
        (
            lambda weights: weights.update(
                {"embeddings.word_embeddings.weight": weights["embeddings.word_embeddings.weight"].float()}
            ),
            "word_embeddings.weight holds torch.float32",
        ),
    ],
    ids=["missing", "unknown", "NaN", "float"],
)
def test_damaged_weights_are_refused(m3_directory, tmp_path, change, said):
    quantize_checkpoint(m3_directory, tmp_path / "int8", trust_remote_code=False, hub=HubOptions())
    damaged(tmp_path / "int8", change)
    with pytest.raises(CheckpointError, match=f"(?s){said}"):
        BGEM3FlagModel(tmp_path / "int8", devices="cpu")


def test_an_interrupted_directory_is_no_checkpoint(m3_directory, tmp_path):
    quantize_checkpoint(m3_directory, tmp_path / "int8", trust_remote_code=False, hub=HubOptions())
    (tmp_path / "int8/config.json").unlink()  # it is written last
    with pytest.raises(CheckpointError, match=r"config\.json"):
        BGEM3FlagModel(tmp_path / "int8", devices="cpu")


def test_config_json_says_what_wrote_the_weights(written):
    config = json.loads((written / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == "flagvec-int8"
    assert config["model_type"] == "xlm-roberta"
