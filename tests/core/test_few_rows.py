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
from flagvec.engine.kernels.availability import Level
from flagvec.engine.packed import PackedBatch
from flagvec.engine.post_norm_layer import plain_product, replace_layers, run_layers
from flagvec.engine.prepacked import PrepackedLinear, can_prepack

CPU = torch.device("cpu")
FLAGS = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""


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
    if not can_prepack(CPU, torch.float32):
        pytest.skip("no oneDNN for float32 on this CPU")
    if not prepacked._columns_of(384, 128, torch.float32, torch.get_num_threads()):
        pytest.skip("oneDNN keeps weights in another order here")


def skip_without_order(dtype):
    """Skip where oneDNN has no products in a format, or computes bfloat16 in float32 and keeps it in another order."""
    if not can_prepack(CPU, dtype):
        pytest.skip(f"no oneDNN for {dtype} on this CPU")
    computes_in_float32 = dtype is torch.bfloat16 and "avx512_bf16" not in FLAGS
    if computes_in_float32 and not prepacked._columns_of(384, 128, dtype, torch.get_num_threads()):
        pytest.skip("oneDNN keeps bfloat16 in another order on this CPU, which has no AVX512 with bfloat16")


# The kernels of vectors read weights in either format, those of tiles only bfloat16.
CASES = [
    (Level.AVX2, torch.float32), (Level.AVX512, torch.float32), (Level.AVX2, torch.bfloat16),
    (Level.AVX512, torch.bfloat16), (Level.AMX, torch.bfloat16),
]  # fmt: skip


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}, {str(case[1])[6:]}")
def dtype(request, at_level):
    """The format of the weights, at one of the levels whose kernels take it."""
    level, dtype = request.param
    skip_without_order(dtype)
    with at_level(level):
        yield dtype


@pytest.fixture(scope="module")
def backbones(directory):
    return {dtype: backbone_of(directory, dtype) for dtype in {case[1] for case in CASES} if can_prepack(CPU, dtype)}


@pytest.fixture
def backbone(backbones, dtype):
    return backbones[dtype]


@pytest.fixture(scope="module")
def exact(directory):
    return backbone_of(directory, torch.float32, plain_product).double()


def batch_of(lengths):
    random = np.random.default_rng(len(lengths))
    return PackedBatch.of([random.integers(5, 1000, length) for length in lengths], CPU, uncounted_id=1)


def in_one_call(backbone, lengths):
    with torch.inference_mode():
        return FewRows(backbone).run(batch_of(lengths))[0]


def one_by_one(backbone, lengths):
    with torch.inference_mode():
        return run_layers(backbone, batch_of(lengths))[0]


def check_closeness(backbone, exact, lengths, factor):
    """Check that the kernel is about as close to exact states as the layers one by one."""
    expected = one_by_one(exact, lengths)
    found, others = (run(backbone, lengths).double() for run in (in_one_call, one_by_one))
    # float32's own rounding is 6e-8, and the formula of the error function is off by 1.5e-7.
    assert (found - expected).norm() < factor * (others - expected).norm() + 2e-6 * expected.norm()


few_rows = st.lists(st.integers(1, 50), min_size=1, max_size=8).filter(lambda lengths: sum(lengths) <= MOST_ROWS)


@given(lengths=few_rows | st.just([1]) | st.just([MOST_ROWS]))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_states_are_as_close_to_exact_ones_as_those_of_the_layers_one_by_one(backbone, exact, lengths):
    check_closeness(backbone, exact, lengths, factor=1.5)


def test_gelu_is_right_far_from_zero(directory, dtype):
    backbone, exact = backbone_of(directory, dtype), backbone_of(directory, torch.float32, plain_product)
    for model, product in ((backbone, PrepackedLinear), (exact, plain_product)):
        for position, own in enumerate(AutoModel.from_pretrained(directory, dtype=model.dtype).encoder.layer):
            linear = own.intermediate.dense.requires_grad_(False)
            linear.weight.mul_(8)
            model.encoder.layer[position].widen = product(linear, "gelu")
    check_closeness(backbone, exact.double(), [40], factor=1.25)


def test_a_text_gives_the_same_bits_alone_and_among_others(backbone):
    random = np.random.default_rng(0)
    texts = [random.integers(5, 1000, length) for length in (7, 40, 1, 33)]
    encoder = FewRows(backbone)

    def states(texts):
        with torch.inference_mode():
            return encoder.run(PackedBatch.of(texts, CPU, uncounted_id=1))[0]

    assert torch.equal(states(texts), torch.cat([states([text]) for text in texts]))


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


def test_an_encoder_runs_up_to_128_rows_in_one_call(directory, dtype, monkeypatch):
    calls = []
    run = FewRows.run
    monkeypatch.setattr(FewRows, "run", lambda *arguments: calls.append(arguments) or run(*arguments))
    backbone = AutoModel.from_pretrained(directory, dtype=dtype).eval().requires_grad_(False)
    encoder = HiddenStateEncoder(backbone, CPU, padding_id=1)
    for length, total in ((MOST_ROWS, 1), (MOST_ROWS + 1, 1), (1, 2)):
        [(_, batch)] = encoder.run([encoder.window([np.full(length, 7)], 1)], reduce=lambda batch: batch)
        assert len(calls) == total
        assert batch.states.dtype is dtype


def test_weights_in_another_order_are_left_to_onednn(backbone, monkeypatch):
    assert can_run_few_rows(backbone)
    monkeypatch.setattr(prepacked, "_columns_of", lambda *shape: 0)
    assert not can_run_few_rows(backbone)
    with pytest.raises(ValueError, match="whose weights the kernel cannot read"):
        FewRows(backbone)


def test_layers_that_are_not_prepacked_are_left_to_torch(directory):
    assert not can_run_few_rows(backbone_of(directory, torch.bfloat16, plain_product))


def test_other_sizes_are_left_to_onednn(level):
    dtype = torch.bfloat16 if level is Level.AMX else torch.float32
    assert not kernels.can_run_layers(80, 2, dtype), "heads of 40"
    assert not kernels.can_run_layers(96, 5, dtype), "heads of 19.2"
    assert not kernels.can_run_layers(8192, 128, dtype), "wider than a row that is normalised"
    assert not kernels.can_run_layers(128, 4, torch.float16), "another format"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("columns", [32, 64])
def test_weights_in_columns_are_inputs_of_so_many_outputs_in_pairs_for_bfloat16(columns, dtype):
    weights = (torch.arange(128 * 96) % 251).view(128, 96).to(dtype)
    pair = 1 if dtype is torch.float32 else 2
    ordered = kernels.in_columns(weights, columns)
    assert ordered.shape == (128 // columns, 96 // pair, columns, pair)
    for output, number in ((0, 0), (1, 0), (31, 95), (32, 33), (65, 62), (127, 1)):
        found = ordered[output // columns, number // pair, output % columns, number % pair]
        assert found == weights[output, number]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_columns_that_onednn_chose_are_found(dtype):
    skip_without_order(dtype)
    columns = PrepackedLinear(torch.nn.Linear(128, 384).to(dtype).requires_grad_(False)).columns
    assert columns in (32, 64)
    assert columns == 64 or "amx_bf16" in FLAGS


def test_norms_of_another_kind_are_left_to_torch(directory, dtype):
    backbone = backbone_of(directory, dtype)
    backbone.encoder.layer[1].feed_forward_norm.eps = 0.5
    assert not can_run_few_rows(backbone)


def test_the_kernel_keeps_its_weights_when_a_user_casts_the_model(directory, dtype):
    backbone = backbone_of(directory, dtype)
    encoder = FewRows(backbone)
    batch = batch_of([20])
    with torch.inference_mode():
        before = encoder.run(batch).clone()
    for layer in backbone.encoder.layer:
        layer.double()
    with torch.inference_mode():
        assert torch.equal(encoder.run(batch), before)
