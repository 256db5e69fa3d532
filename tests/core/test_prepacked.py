"""Prepacked linear layers give the same as torch's."""

import pytest
import torch
import transformers
from torch import nn

from flagvec.engine.packed import even_number
from flagvec.engine.prepacked import PrepackedLinear, can_prepack, prepack_linear_layers

CPU = torch.device("cpu")
needs_onednn = pytest.mark.skipif(not can_prepack(CPU, torch.float32), reason="no oneDNN for float32 on this CPU")
needs_packing = pytest.mark.skipif(
    int(transformers.__version__.split(".")[0]) < 5, reason="with transformers 4 batches are padded, not packed"
)


def linear_of(inputs, outputs, bias=True, dtype=torch.float32):
    torch.manual_seed(3)
    return nn.Linear(inputs, outputs, bias).to(dtype).requires_grad_(False)


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 48), (7, 48), (2, 5, 48), (1, 300, 48)])
def test_the_product_equals_that_of_the_replaced_layer(shape, bias):
    linear = linear_of(48, 96, bias)
    states = torch.randn(shape)
    torch.testing.assert_close(PrepackedLinear(linear)(states), linear(states), atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(not can_prepack(CPU, torch.bfloat16), reason="no bfloat16 products on this CPU")
def test_the_product_in_bfloat16_is_within_its_precision():
    linear = linear_of(64, 32, dtype=torch.bfloat16)
    states = torch.randn(9, 64, dtype=torch.bfloat16)
    torch.testing.assert_close(PrepackedLinear(linear)(states), linear(states), atol=2e-2, rtol=2e-2)


@needs_onednn
def test_a_product_of_columns_that_are_not_contiguous_is_right():
    linear = linear_of(6, 4)
    states = torch.randn(6, 10).T
    torch.testing.assert_close(PrepackedLinear(linear)(states), linear(states))


@needs_onednn
def test_every_linear_layer_is_replaced_however_deep_and_nothing_else():
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 2))).eval().requires_grad_(False)
    states = torch.randn(3, 4)
    before = model(states)
    prepack_linear_layers(model)
    assert [type(part).__name__ for part in (model[0], model[1][0], model[1][1])] == [
        "PrepackedLinear",
        "LayerNorm",
        "PrepackedLinear",
    ]
    torch.testing.assert_close(model(states), before)


def test_only_cpus_and_the_formats_that_models_run_in_are_prepacked():
    assert not can_prepack(torch.device("cuda"), torch.float32)
    assert not can_prepack(CPU, torch.float16)


@needs_onednn
@needs_packing
def test_every_product_of_a_model_and_its_head_has_an_even_number_of_rows(tiny_m3):
    rows = set()

    def note(module, inputs):
        rows.add(inputs[0].numel() // inputs[0].shape[-1])

    products = [part for part in tiny_m3.model.modules() if isinstance(part, PrepackedLinear)]
    hooks = [part.register_forward_pre_hook(note) for part in (*products, tiny_m3.model.colbert_linear)]
    for words in range(1, 40):
        tiny_m3.encode("word " * words)
    for hook in hooks:
        hook.remove()
    assert rows == {even_number(count) for count in rows}
