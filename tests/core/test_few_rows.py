"""One call for all layers gives the same as the layers one by one."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModel

from flagvec.engine import kernels, prepacked
from flagvec.engine.few_rows import MOST_ROWS, FewRows, can_run_few_rows
from flagvec.engine.hidden_states import HiddenStateEncoder
from flagvec.engine.packed import PackedBatch
from flagvec.engine.post_norm_layer import plain_product, replace_layers, run_layers
from flagvec.engine.prepacked import PrepackedLinear, can_prepack

CPU = torch.device("cpu")
FLAGS = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""

needs_amx = pytest.mark.skipif("amx_bf16" not in FLAGS, reason="no AMX on this CPU")


@pytest.fixture(scope="module", params=["bert", "xlm-roberta"])
def directory(request, tmp_path_factory, build_checkpoint):
    return build_checkpoint(tmp_path_factory.mktemp("few") / request.param, request.param, seed=9, width=128, layers=3)


def backbone_of(directory, dtype=torch.bfloat16, product=PrepackedLinear):
    backbone = AutoModel.from_pretrained(directory, dtype=dtype).eval().requires_grad_(False)
    replace_layers(backbone, product)
    return backbone


@pytest.fixture(scope="module", autouse=True)
def readable():
    if kernels._compiled is None and not shutil.which("cc"):
        pytest.skip("the kernels were not built, there is no C compiler")
    if "amx_bf16" in FLAGS and not prepacked._keeps_in_tiles(384, 128, torch.get_num_threads()):
        pytest.skip("oneDNN keeps weights in another order here")


@pytest.fixture(scope="module")
def backbone(directory):
    return backbone_of(directory)


@pytest.fixture(scope="module")
def exact(directory):
    return backbone_of(directory, torch.float32, plain_product)


def batch_of(lengths):
    random = np.random.default_rng(len(lengths))
    return PackedBatch.of([random.integers(5, 1000, length) for length in lengths], CPU, uncounted_id=1)


def in_one_call(backbone, lengths):
    with torch.inference_mode():
        return FewRows(backbone).run(batch_of(lengths))[0]


def one_by_one(backbone, lengths):
    with torch.inference_mode():
        return run_layers(backbone, batch_of(lengths))[0]


few_rows = st.lists(st.integers(1, 50), min_size=1, max_size=8).filter(lambda lengths: sum(lengths) <= MOST_ROWS)


@needs_amx
@given(lengths=few_rows | st.just([1]) | st.just([MOST_ROWS]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_states_are_as_close_to_exact_ones_as_those_of_the_layers_one_by_one(backbone, exact, lengths):
    expected = one_by_one(exact, lengths)
    found, others = (run(backbone, lengths).float() for run in (in_one_call, one_by_one))
    assert (found - expected).norm() < 1.5 * (others - expected).norm()


@needs_amx
def test_gelu_is_right_far_from_zero(directory):
    backbone, exact = backbone_of(directory), backbone_of(directory, torch.float32, plain_product)
    for model, product in ((backbone, PrepackedLinear), (exact, plain_product)):
        for position, own in enumerate(AutoModel.from_pretrained(directory, dtype=model.dtype).encoder.layer):
            linear = own.intermediate.dense.requires_grad_(False)
            linear.weight.mul_(8)
            model.encoder.layer[position].widen = product(linear, "gelu")
    expected = one_by_one(exact, [40])
    found, others = (run(backbone, [40]).float() for run in (in_one_call, one_by_one))
    assert (found - expected).norm() < 1.25 * (others - expected).norm()


@needs_amx
def test_a_text_gives_the_same_bits_alone_and_among_others(backbone):
    random = np.random.default_rng(0)
    texts = [random.integers(5, 1000, length) for length in (7, 40, 1, 33)]
    encoder = FewRows(backbone)

    def states(texts):
        with torch.inference_mode():
            return encoder.run(PackedBatch.of(texts, CPU, uncounted_id=1))[0]

    assert torch.equal(states(texts), torch.cat([states([text]) for text in texts]))


@needs_amx
def test_the_number_of_threads_changes_nothing(backbone):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = in_one_call(backbone, [50, 9])
        for number in (2, 3, 8):
            torch.set_num_threads(number)
            assert torch.equal(in_one_call(backbone, [50, 9]), alone)
    finally:
        torch.set_num_threads(threads)


@needs_amx
def test_an_encoder_runs_up_to_128_rows_in_one_call(directory, monkeypatch):
    calls = []
    run = FewRows.run
    monkeypatch.setattr(FewRows, "run", lambda *arguments: calls.append(arguments) or run(*arguments))
    backbone = AutoModel.from_pretrained(directory, dtype=torch.bfloat16).eval().requires_grad_(False)
    encoder = HiddenStateEncoder(backbone, CPU, padding_id=1)
    for length, total in ((MOST_ROWS, 1), (MOST_ROWS + 1, 1), (1, 2)):
        list(encoder.run([[np.full(length, 7)]], 1, reduce=lambda batch: batch))
        assert len(calls) == total


@needs_amx
def test_weights_in_another_order_are_left_to_onednn(backbone, monkeypatch):
    assert can_run_few_rows(backbone)
    monkeypatch.setattr(prepacked, "_keeps_in_tiles", lambda *shape: False)
    assert not can_run_few_rows(backbone)


@pytest.mark.skipif(not can_prepack(CPU, torch.float32), reason="no oneDNN for float32 on this CPU")
def test_float32_is_left_to_onednn(directory):
    assert not can_run_few_rows(backbone_of(directory, torch.float32))
    with pytest.raises(ValueError, match="whose weights the kernel cannot read"):
        FewRows(backbone_of(directory, torch.float32))


def test_layers_that_are_not_prepacked_are_left_to_torch(directory):
    assert not can_run_few_rows(backbone_of(directory, torch.bfloat16, plain_product))


@needs_amx
def test_other_sizes_are_left_to_onednn():
    assert not kernels.can_run_layers(width=96, inner_width=384, heads=2), "heads of 48"
    assert not kernels.can_run_layers(width=8192, inner_width=384, heads=128), "wider than a row that is normalised"
    assert not kernels.can_run_layers(width=64, inner_width=80, heads=1), "half a block of columns"


def test_weights_in_tiles_are_pairs_of_inputs_of_32_outputs():
    weights = torch.arange(64 * 96).view(64, 96)
    tiles = kernels.in_tiles(weights)
    assert tiles.shape == (2, 3, 16, 32, 2)
    for output, number in ((0, 0), (1, 0), (31, 95), (32, 33), (63, 62)):
        found = tiles[output // 32, number // 32, number % 32 // 2, output % 32, number % 2]
        assert found == weights[output, number]


@needs_amx
def test_norms_of_another_kind_are_left_to_torch(directory):
    backbone = backbone_of(directory)
    backbone.encoder.layer[1].feed_forward_norm.eps = 0.5
    assert not can_run_few_rows(backbone)
    backbone = backbone_of(directory)
    backbone.encoder.layer[1].attention_norm.float()
    assert not can_run_few_rows(backbone)


@needs_amx
def test_the_kernel_keeps_its_weights_when_a_user_casts_the_model(directory):
    backbone = backbone_of(directory)
    encoder = FewRows(backbone)
    batch = batch_of([20])
    with torch.inference_mode():
        before = encoder.run(batch).clone()
    for layer in backbone.encoder.layer:
        layer.float()
    with torch.inference_mode():
        assert torch.equal(encoder.run(batch), before)
