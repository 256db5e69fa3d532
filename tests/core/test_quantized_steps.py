"""What runs between two products of int8: the kernels give the same as torch, at each level, within the rounding."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import gelu, layer_norm

from flagvec.engine import quantized_steps as steps
from flagvec.engine.kernels import availability
from flagvec.engine.kernels import quantized as kernels
from flagvec.engine.kernels.availability import Level
from flagvec.engine.kernels.quantized import Product

has_kernels = availability._compiled is not None and availability.can_run("rows of int8")
pytestmark = pytest.mark.skipif(not has_kernels, reason="no compiled kernels, or a CPU without AVX2")

LARGEST = st.sampled_from([255, 127])
DTYPES = st.sampled_from([torch.float32, torch.bfloat16])
ROWS = st.integers(1, 600)
WIDTHS = st.integers(1, 24).map(lambda vectors: 16 * vectors)
# The step between two bytes is at most this part of a row's range. A half of it is the rounding.
HALF_STEP = {255: 0.5 / 255, 127: 0.5 / 127}


@pytest.fixture(params=[Level.AVX2, Level.AVX512], ids=str, autouse=True, scope="module")
def level(request):
    """The level that the kernels use."""
    if availability.level() < request.param:
        pytest.skip(f"this CPU has no {request.param}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(availability, "level", lambda: request.param)
        yield request.param


def in_torch(call, *arguments):
    """Return what a step gives without kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "can_run", lambda width: False)
        return call(*arguments)


def numbers_of(rows, width, seed=0, scale=2.0):
    return scale * torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def product_of(rows, width):
    return Product(
        sums=numbers_of(rows, width, 1, 40),
        scales=torch.rand(rows, generator=torch.Generator().manual_seed(2)) / 20,
        minima=numbers_of(1, rows, 3)[0],
        weight_sums=numbers_of(1, width, 4)[0],
        bias=numbers_of(1, width, 5)[0],
    )


def norm_of(width):
    norm = nn.LayerNorm(width).requires_grad_(False)
    norm.weight += numbers_of(1, width, 6, 0.1)[0]
    norm.bias += numbers_of(1, width, 7, 0.1)[0]
    return norm


def results_of(product):
    product = Product(*(tensor.double() for tensor in vars(product).values()))
    return product.sums * product.scales[:, None] + product.minima[:, None] * product.weight_sums + product.bias


def restored(rows):
    return rows.minima[:, None].double() + rows.scales[:, None].double() * rows.bytes.double()


def assert_rounded(rows, exact, largest, more=0.0):
    """Check that rows of bytes are the exact numbers, rounded to the nearest step; `more` is a further error."""
    allowed = (exact.amax(1) - exact.amin(1)) * HALF_STEP[largest] * 1.01 + more + 1e-5
    assert ((restored(rows) - exact).abs().amax(1) <= allowed).all()


@settings(max_examples=25)
@given(ROWS, WIDTHS, DTYPES, LARGEST)
def test_bytes_are_the_numbers_rounded_to_the_nearest_step(rows, width, dtype, largest):
    numbers = numbers_of(rows, width).to(dtype)
    for found in (steps.to_bytes(numbers, largest), in_torch(steps.to_bytes, numbers, largest)):
        assert found.bytes.max() <= largest
        assert_rounded(found, numbers.double(), largest)


@settings(max_examples=25)
@given(ROWS, WIDTHS, DTYPES)
def test_results_are_those_of_the_formula(rows, width, dtype):
    product = product_of(rows, width)
    exact = results_of(product)
    for found in (steps.to_numbers(product, dtype), in_torch(steps.to_numbers, product, dtype)):
        assert found.dtype is dtype
        torch.testing.assert_close(found.double(), exact, atol=1e-4, rtol=torch.finfo(dtype).eps)


@settings(max_examples=25)
@given(ROWS, WIDTHS, LARGEST)
def test_gelu_is_exact_to_a_step(rows, width, largest):
    product = product_of(rows, width)
    exact = gelu(results_of(product))
    assert_rounded(steps.gelu_to_bytes(product, largest), exact, largest, more=2e-4)
    assert_rounded(in_torch(steps.gelu_to_bytes, product, largest), exact, largest)


@settings(max_examples=25)
@given(ROWS, WIDTHS, DTYPES, LARGEST)
def test_the_norm_of_a_sum_is_written_as_numbers_and_as_bytes(rows, width, dtype, largest):
    product, norm, states = product_of(rows, width), norm_of(width), numbers_of(rows, width, 8).to(dtype)
    exact = layer_norm(
        results_of(product) + states.double(), (width,), norm.weight.double(), norm.bias.double(), norm.eps
    )
    for call in (lambda step, *given: step(*given), in_torch):
        written, only_numbers = states.clone(), states.clone()
        found = call(steps.normalise_sum_to_bytes, product, written, norm, largest)
        assert_rounded(found, exact, largest, more=1e-4)
        torch.testing.assert_close(written.double(), exact, atol=1e-4, rtol=torch.finfo(dtype).eps)
        call(steps.normalise_sum, product, only_numbers, norm)
        assert torch.equal(only_numbers, written)


def test_a_row_of_equal_numbers_is_kept_exactly():
    found = steps.to_bytes(torch.full((3, 32), -1.5), 255)
    assert torch.equal(restored(found), torch.full((3, 32), -1.5, dtype=torch.float64))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_row_with_a_number_that_is_not_finite_does_not_look_finite(number):
    numbers = torch.ones(2, 32)
    numbers[1, 7] = number
    found = restored(steps.to_bytes(numbers, 255))
    assert found[0].isfinite().all()
    assert not found[1].isfinite().any()


@pytest.mark.parametrize("width", [1, 15, 24, 100])
def test_torch_computes_rows_of_widths_that_no_kernel_takes(width):
    assert not kernels.can_run(width)
    product = product_of(5, width)
    assert_rounded(steps.gelu_to_bytes(product, 255), gelu(results_of(product)), 255)


def test_a_tensor_that_the_kernel_cannot_read_is_refused():
    product = product_of(4, 32)
    short = Product(product.sums, product.scales[:3], product.minima, product.weight_sums, product.bias)
    with pytest.raises(ValueError, match=r"float32 of \(3,\).* takes .*\(4,\)"):
        kernels.to_numbers(short, torch.float32)
    with pytest.raises(ValueError, match="rows of 30 numbers"):
        kernels.to_bytes(torch.zeros(2, 30), 255)
    with pytest.raises(ValueError, match="contiguous"):
        kernels.to_bytes(torch.zeros(32, 32).T, 255)
