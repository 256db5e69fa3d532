"""The compiled kernels equal the formulas, within the precision of the number format, at each level."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import layer_norm
from transformers import AutoModel

from flagvec.engine import kernels
from flagvec.engine.hidden_states import HiddenStateEncoder
from flagvec.engine.kernels import bit_vectors, clusters
from flagvec.engine.kernels.availability import Level
from flagvec.late_interaction import pooling

CPU = torch.device("cpu")
FLAGS = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""

needs_avx2 = pytest.mark.skipif("avx2" not in FLAGS, reason="no AVX2 on this CPU")
needs_amx = pytest.mark.skipif("amx_bf16" not in FLAGS, reason="no AMX on this CPU")
needs_bfloat16 = pytest.mark.skipif("avx512_bf16" not in FLAGS, reason="no AVX512 with bfloat16 on this CPU")
needs_avx512 = pytest.mark.skipif(
    not {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= set(FLAGS.split()), reason="no AVX512 on this CPU"
)
needs_packing = pytest.mark.skipif(
    int(transformers.__version__.split(".")[0]) < 5, reason="with transformers 4 batches are padded, not packed"
)


@pytest.fixture(autouse=True)
def compiled():
    if kernels._compiled is None and not shutil.which("cc"):
        pytest.skip("the kernels were not built, there is no C compiler")


@pytest.fixture
def torchs_own(monkeypatch):
    """Make a call without our kernels."""

    def without(call):
        with monkeypatch.context() as patch:
            patch.setattr(kernels, "can_attend", lambda *_: False)
            patch.setattr(kernels, "can_normalise_sum", lambda *_: False)
            patch.setattr(kernels, "can_run_layers", lambda *_: False)
            return call()

    return without


@needs_amx
def test_a_machine_with_amx_and_a_compiler_uses_the_kernels():
    assert sys.platform == "linux"
    assert kernels.can_attend(states_of(4, heads=2, width=32)[0])
    assert kernels.can_normalise_sum(torch.zeros(1, 4, 32, dtype=torch.bfloat16), norm_of(32))
    assert kernels.can_run_layers(384, 12, torch.bfloat16)


def states_of(tokens, heads, width, heads_first=False, size=1.0, dtype=torch.bfloat16):
    shape = (3, heads, tokens, width) if heads_first else (tokens, 3, heads, width)
    states = size * torch.randn(shape, generator=torch.Generator().manual_seed(tokens))
    states = states.to(dtype)
    return [part.transpose(0, 1) for part in states] if heads_first else states.unbind(1)


def starts_of(lengths):
    return torch.tensor(np.concatenate([[0], np.cumsum(lengths)]), dtype=torch.int32)


def exact_attention(query, key, value, lengths):
    parts = [part.double().split(lengths) for part in (query, key, value)]
    found = []
    for own in zip(*parts, strict=True):
        queries, keys, values = (part.transpose(0, 1) for part in own)
        weights = torch.softmax(queries @ keys.transpose(1, 2) / query.shape[-1] ** 0.5, dim=-1)
        found.append((weights @ values).transpose(0, 1))
    return torch.cat(found)


FORMATS = (torch.float32, torch.bfloat16)
in_each_format = pytest.mark.parametrize("dtype", FORMATS, ids=["float32", "bfloat16"])


@given(
    level=st.sampled_from([Level.AVX2, Level.AVX512, Level.AMX]),
    dtype=st.sampled_from(FORMATS),
    lengths=st.lists(st.integers(1, 80) | st.integers(1, 600), min_size=1, max_size=4),
    filling=st.integers(0, 20),
    heads=st.sampled_from([1, 3, 5]),
    width=st.integers(2, 8).map(lambda parts: 16 * parts),
    heads_first=st.booleans(),
    size=st.sampled_from([0.1, 1.0, 10.0]),
)
@settings(max_examples=100, deadline=None)
def test_attention_of_each_text_is_the_softmax_of_its_products(
    at_level, level, dtype, lengths, filling, heads, width, heads_first, size
):
    tokens = sum(lengths)
    query, key, value = states_of(tokens + filling, heads, width, heads_first, size, dtype)
    with at_level(level):
        if not kernels.can_attend(query):
            assert (level, dtype) == (Level.AMX, torch.bfloat16) and width not in (32, 64)
            return
        attended = kernels.attend(query, key, value, starts_of(lengths), None)
    expected = exact_attention(query[:tokens], key[:tokens], value[:tokens], lengths)
    assert attended.dtype is dtype
    # Weights and results of bfloat16 have 8 significant bits. Scores of float32 have 24, and grow with the square.
    precision = 2**-7 if dtype is torch.bfloat16 else 2e-6 * max(1, size**2)
    torch.testing.assert_close(attended[:tokens].double(), expected, atol=precision * value.abs().max().item(), rtol=0)
    assert not attended[tokens:].any()


@in_each_format
@pytest.mark.parametrize("length", [3, 40, 700])
def test_equal_keys_give_the_mean_of_the_values(level, dtype, length):
    query, key, value = states_of(length, heads=2, width=64, dtype=dtype)
    attended = kernels.attend(query, torch.ones_like(key), value, starts_of([length]), None)
    mean = value.double().mean(0).expand_as(value)
    precision = 2**-8 if dtype is torch.bfloat16 else 1e-6
    torch.testing.assert_close(attended.double(), mean, atol=precision, rtol=precision)


@in_each_format
@pytest.mark.parametrize("length", [5, 100, 1500])
def test_scores_far_from_zero_neither_overflow_nor_vanish(level, dtype, length):
    query, key, value = states_of(length, heads=1, width=32, dtype=dtype)
    key[:, :, 0] = -300
    query[:, :, 0] = 60
    key[length // 2, :, 0] = 300  # the largest score, in whichever block of keys
    attended = kernels.attend(query, key, value, starts_of([length]), 1.0)
    expected = value[length // 2].expand_as(value)
    torch.testing.assert_close(attended, expected, atol=0, rtol=0 if dtype is torch.bfloat16 else 1e-6)


@in_each_format
def test_a_scaling_that_is_given_is_used(level, dtype):
    query, key, value = states_of(30, heads=2, width=32, dtype=dtype)
    doubled = kernels.attend(2 * query, key, value, starts_of([30]), None)
    torch.testing.assert_close(kernels.attend(query, key, value, starts_of([30]), 2 * 32**-0.5), doubled)


@in_each_format
def test_rows_after_a_text_do_not_change_its_attention(level, dtype):
    states = states_of(60, heads=3, width=32, dtype=dtype)
    others = [torch.cat([part[:21], torch.full_like(part[21:], torch.nan)]) for part in states]
    first, second = (kernels.attend(*parts, starts_of([21, 39]), None) for parts in (states, others))
    assert torch.equal(first[:21], second[:21])


@in_each_format
def test_a_value_that_is_not_a_number_shows_in_the_result(level, dtype):
    query, key, value = states_of(20, heads=1, width=32, dtype=dtype)
    value[7, 0, 3] = torch.nan
    assert kernels.attend(query, key, value, starts_of([20]), None)[:, 0, 3].isnan().all()
    query[4] = torch.nan
    assert kernels.attend(query, key, value, starts_of([20]), None)[4].isnan().all()


@in_each_format
def test_the_number_of_threads_changes_nothing(level, dtype):
    states, starts = states_of(900, heads=12, width=32, dtype=dtype), starts_of([600, 200, 100])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = kernels.attend(*states, starts, None)
        torch.set_num_threads(3)
        assert torch.equal(kernels.attend(*states, starts, None), alone)
    finally:
        torch.set_num_threads(threads)


@in_each_format
@pytest.mark.parametrize("lengths", [[0], [0, 0, 0], [0, 5, 0, 40, 0]])
def test_texts_without_a_token_leave_the_others_as_they_are(level, dtype, lengths):
    query, key, value = states_of(sum(lengths) + 3, heads=2, width=32, dtype=dtype)
    attended = kernels.attend(query, key, value, starts_of(lengths), None)
    assert not attended[sum(lengths) :].any()
    if whole := [length for length in lengths if length]:
        assert torch.equal(attended, kernels.attend(query, key, value, starts_of(whole), None))


BEYOND = {
    "float64": lambda states, starts: (states.double(), starts),
    "heads of 40 numbers": lambda states, starts: (states.new_zeros(8, 2, 40), starts),
    "heads of 144 numbers": lambda states, starts: (states.new_zeros(8, 2, 144), starts),
    "strided heads": lambda states, starts: (states[..., ::2], starts),
    "texts that end after the last row": lambda states, starts: (states[:7], starts),
    "starts in int64": lambda states, starts: (states, starts.long()),
    "strided starts": lambda states, starts: (states, torch.stack([starts, starts], 1)[:, 0]),
}


@pytest.mark.parametrize("case", BEYOND)
def test_what_attention_cannot_read_is_refused(level, case):
    states, starts = BEYOND[case](states_of(8, heads=2, width=64)[0], starts_of([5, 3]))
    with pytest.raises(ValueError, match="a tensor that the kernel cannot read; it takes"):
        kernels.attend(states, states, states, starts, None)


def test_queries_and_keys_of_two_shapes_or_formats_are_refused(level):
    query, key, value = states_of(8, heads=2, width=64)
    with pytest.raises(ValueError, match="query, key and value of one dtype"):
        kernels.attend(query, key.float(), value, starts_of([5, 3]), None)
    with pytest.raises(ValueError, match="query, key and value of one shape"):
        kernels.attend(query, key[:5], value, starts_of([5, 3]), None)


@needs_bfloat16
def test_terms_that_the_norm_cannot_read_are_refused():
    states, norm = torch.zeros(1, 4, 32, dtype=torch.bfloat16), norm_of(32)
    for fresh in (states[:, :3], states.float(), states[..., ::2]):
        with pytest.raises(ValueError, match="a tensor that the kernel cannot read"):
            kernels.normalise_sum(fresh, states, norm)


@pytest.mark.parametrize("states", [torch.zeros(1, 8, 64).double(), torch.zeros(1, 8, 32)])
def test_states_that_the_layers_cannot_read_are_refused(level, states):
    table = kernels.LayerTable(torch.zeros(0, 12, dtype=torch.int64), 64, 64, 2, 64, torch.float32, epsilon=1e-5)
    with pytest.raises(ValueError, match=r"contiguous states in torch\.float32, 64 wide"):
        kernels.run_layers(table, states, starts_of([5, 3]))


@needs_amx
def test_guards_hold_under_python_without_asserts(run_python):
    code = """
import torch
from flagvec.engine import kernels
states = torch.zeros(8, 2, 40)
try:
    kernels.attend(states, states, states, torch.tensor([0, 8], dtype=torch.int32), None)
except ValueError as error:
    print(error)
"""
    assert "cannot read" in run_python(code, "-O")


@needs_amx
def test_other_heads_and_formats_are_left_to_torch():
    assert not kernels.can_attend(states_of(4, heads=2, width=48)[0]), "torch uses AMX for other widths"
    assert not kernels.can_attend(states_of(4, heads=2, width=32)[0].double())
    assert not kernels.can_attend(states_of(4, heads=2, width=32)[0].transpose(1, 2))


def norm_of(width):
    norm = nn.LayerNorm(width)
    norm.weight.data = torch.linspace(-2, 2, width)
    norm.bias.data = torch.linspace(1, -3, width)
    return norm.to(torch.bfloat16).requires_grad_(False)


@needs_bfloat16
@given(rows=st.integers(1, 200), width=st.sampled_from([16, 32, 384, 1024, 4096]), offset=st.sampled_from([0.0, 30.0]))
@settings(max_examples=40, deadline=None)
def test_the_norm_of_a_sum_equals_the_formula(rows, width, offset):
    random = torch.Generator().manual_seed(rows)
    fresh, states = (offset + torch.randn(1, rows, width, generator=random) for _ in range(2))
    fresh, states, norm = fresh.to(torch.bfloat16), states.to(torch.bfloat16), norm_of(width)
    weight, bias = norm.weight.double(), norm.bias.double()
    expected = layer_norm(fresh.double() + states.double(), (width,), weight, bias, norm.eps)
    result = kernels.normalise_sum(fresh, states, norm)
    torch.testing.assert_close(result.double(), expected, atol=1e-4, rtol=2**-8)
    assert result is fresh


@needs_bfloat16
def test_sums_of_other_widths_and_formats_are_left_to_torch():
    states = torch.zeros(1, 4, 32, dtype=torch.bfloat16)
    assert not kernels.can_normalise_sum(states[..., :24], norm_of(24))
    assert not kernels.can_normalise_sum(states[..., ::2], norm_of(16))
    assert not kernels.can_normalise_sum(states.float(), norm_of(32))
    assert not kernels.can_normalise_sum(states, norm_of(32).float())


@needs_amx
@needs_packing
@pytest.mark.parametrize("lengths", [(60, 31, 17, 3), (150, 60, 31, 17, 3)], ids=["few rows", "more rows"])
@pytest.mark.parametrize("architecture", ["bert", "xlm-roberta", "gte"])
def test_hidden_states_are_as_close_to_exact_ones_as_with_torchs_kernels(
    architecture, lengths, tmp_path, build_checkpoint, torchs_own
):
    directory = build_checkpoint(tmp_path / architecture, architecture, seed=3, width=128)
    random = np.random.default_rng(0)
    texts = [random.integers(5, 1000, length) for length in lengths]

    def hidden(dtype):
        backbone = AutoModel.from_pretrained(directory, dtype=dtype).eval().requires_grad_(False)
        encoder = HiddenStateEncoder(backbone, CPU, padding_id=1)
        batches = encoder.run([encoder.window(texts, 256)], lambda batch: batch)
        return torch.cat([batch.states for _, batch in batches]).double()

    exact = hidden(torch.float32)
    ours, torchs = hidden(torch.bfloat16), torchs_own(lambda: hidden(torch.bfloat16))
    assert not torch.equal(ours, torchs), "both ran on the same kernels"
    assert (ours - exact).norm() < 1.1 * (torchs - exact).norm()


DOCUMENTS_OF_BITS = given(
    vectors=st.integers(0, 35),
    width=st.integers(1, 1_200),
    lengths=st.lists(st.integers(1, 140), max_size=5),
    further=st.integers(0, 9),
    seed=st.integers(0, 9),
)


def rows_of_bits(bits, factors):
    """Return rows of bits, the first number in the lowest one, and behind them their factors in float16."""
    packed = np.packbits(bits, axis=1, bitorder="little")
    return np.concatenate([packed, factors.astype("<f2")[:, None].view(np.uint8)], axis=1)


def check_products_with_bits(vectors, width, lengths, further, seed, error):
    generator = np.random.default_rng(seed)
    numbers = generator.standard_normal((vectors, width), dtype=np.float32)
    numbers /= np.linalg.norm(numbers, axis=1, keepdims=True)
    bits = generator.integers(0, 2, (sum(lengths), width + 8 * further), dtype=np.uint8)
    factors = generator.random(sum(lengths)).astype(np.float16)
    found = bit_vectors.BitVectors(numbers).best_products(
        rows_of_bits(bits, factors), np.array(lengths, dtype=np.int64)
    )
    products = (factors[:, None] * (bits[:, :width] - 0.5)) @ numbers.astype(np.float64).T
    ends = np.cumsum(lengths, dtype=int)
    expected = [products[end - length : end].max(axis=0) for length, end in zip(lengths, ends, strict=True)]
    np.testing.assert_allclose(found, np.reshape(expected, (len(lengths), vectors)), atol=error)


LEVELS_OF_BITS = pytest.mark.parametrize("level", [Level.AVX512, Level.AVX512_VBMI, Level.AMX], ids=str)


@LEVELS_OF_BITS
@settings(deadline=None)
@DOCUMENTS_OF_BITS
def test_best_products_with_bits_are_those_of_the_numbers_that_bits_stand_for(at_level, level, **sizes):
    with at_level(level):
        # Above AVX512, sums or numbers are rounded.
        check_products_with_bits(**sizes, error=2e-5 if level is Level.AVX512 else 2e-4)


@LEVELS_OF_BITS
def test_products_with_bits_are_right_for_one_number_and_for_equal_ones(at_level, level):
    numbers = np.array([[1e6] + [0.0] * 1_023, [0.125] * 1_024, [-0.125] * 1_024, [0.0] * 1_024], dtype=np.float32)
    rows = rows_of_bits(np.ones((1, 1_024), dtype=np.uint8), np.array([2.0]))
    with at_level(level):
        found = bit_vectors.BitVectors(numbers).best_products(rows, np.array([1]))
    np.testing.assert_allclose(found, [[1e6, 128, -128, 0]], rtol=2e-5)


@LEVELS_OF_BITS
@pytest.mark.parametrize("width", [65_536, 65_537])
def test_integers_add_up_in_the_widest_vectors(at_level, level, width):
    rows = rows_of_bits(np.ones((1, width), dtype=np.uint8), np.array([1.0]))
    with at_level(level):
        found = bit_vectors.BitVectors(np.ones((1, width), dtype=np.float32)).best_products(rows, np.array([1]))
    assert found == pytest.approx(width / 2, rel=5e-5)


@needs_avx512
def test_rows_of_too_few_bits_are_refused():
    ready = bit_vectors.BitVectors(np.ones((1, 32), dtype=np.float32))
    with pytest.raises(ValueError, match="uint8 in rows of 5; 32 numbers and a factor take uint8 in rows of 6 or more"):
        ready.best_products(np.zeros((5, 5), dtype=np.uint8), np.array([5]))
    with pytest.raises(ValueError, match="rows holds int64 in rows of 6; 32 numbers and a factor take uint8"):
        ready.best_products(np.zeros((5, 6), dtype=np.int64), np.array([5]))


@needs_avx512
@pytest.mark.parametrize("lengths", [[4], [6], [5, 0], [6, -1], []])
def test_lengths_that_are_not_those_of_the_rows_are_refused(lengths):
    ready = bit_vectors.BitVectors(np.ones((1, 32), dtype=np.float32))
    with pytest.raises(ValueError, match="expected lengths of 1 or more whose sum is 5, the number of rows"):
        ready.best_products(np.zeros((5, 6), dtype=np.uint8), np.array(lengths, dtype=np.int64))


def path_of(count, width, seed):
    """Return unit rows, each of which is near the one before, as vectors of tokens are."""
    steps = np.random.default_rng(seed).normal(size=(count, width)) * np.linspace(0.2, 1, width)
    rows = steps.copy()
    for place in range(1, count):
        rows[place] += 0.5 * rows[place - 1]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@needs_avx2
@settings(deadline=None)
@given(count=st.integers(2, 300), width=st.integers(3, 70), share=st.integers(1, 4), seed=st.integers(0, 99))
def test_clusters_are_those_that_scipy_finds(count, width, share, seed):
    rows, wanted = path_of(count, width, seed), max(count // share, 1)
    sums, labels = clusters.cluster_sums(rows, wanted)
    np.testing.assert_array_equal(labels, pooling._labels(rows.astype(np.float64), wanted))
    expected = [rows[labels == label].sum(axis=0, dtype=np.float64) for label in range(wanted)]
    np.testing.assert_allclose(sums, expected, atol=1e-5)


@needs_avx2
@pytest.mark.parametrize("rows", [np.zeros((9, 4)), np.eye(9), np.ones((1_024, 3)), np.tile(np.eye(3), (50, 1))])
def test_rows_that_are_equally_far_apart_make_as_many_clusters_as_asked_for(rows):
    for wanted in (1, 2, len(rows) // 2, len(rows)):
        _, labels = clusters.cluster_sums(rows.astype(np.float32), wanted)
        assert [*dict.fromkeys(labels.tolist())] == [*range(wanted)]


@needs_avx2
@pytest.mark.parametrize("number", [np.nan, np.inf, 3e38])
def test_rows_that_are_not_finite_end_too(number):
    rows = path_of(40, 8, seed=0)
    rows[[3, 17]] = number
    _, labels = clusters.cluster_sums(rows, 20)
    assert sorted(set(labels.tolist())) == [*range(20)]


@needs_avx2
def test_rows_that_the_kernel_does_not_take_are_refused():
    assert not clusters.can_cluster(1)
    assert not clusters.can_cluster(1_025)
    with pytest.raises(ValueError, match="1 rows cannot be clustered: ask can_cluster first"):
        clusters.cluster_sums(np.ones((1, 4), dtype=np.float32), 1)
    with pytest.raises(ValueError, match="clusters=5: choose 1 to 4, the number of rows"):
        clusters.cluster_sums(np.ones((4, 4), dtype=np.float32), 5)
