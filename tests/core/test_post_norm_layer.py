"""Our layers give the same as transformers', packed and padded."""

import numpy as np
import pytest
import torch
from transformers import AutoModel

from flagvec.engine.packed import PackedBatch
from flagvec.engine.post_norm_layer import PostNormLayer, plain_product, replace_layers
from flagvec.engine.prepacked import PrepackedLinear, can_prepack

needs_onednn = pytest.mark.skipif(
    not can_prepack(torch.device("cpu"), torch.float32), reason="no oneDNN for float32 on this CPU"
)


@pytest.fixture(params=[plain_product, pytest.param(PrepackedLinear, marks=needs_onednn)])
def product(request):
    return request.param


@pytest.fixture(params=["bert", "xlm-roberta"])
def backbone(request, tmp_path, build_checkpoint):
    directory = build_checkpoint(tmp_path / request.param, request.param, seed=7)
    return AutoModel.from_pretrained(directory).eval().requires_grad_(False)


def layer_and_ours(backbone, product):
    layer = backbone.encoder.layer[0]
    return layer, PostNormLayer(layer, backbone.config.num_attention_heads, product)


def states_of(output):
    """Return the hidden states that a layer gives; one of transformers 4 gives a tuple that begins with them."""
    return output[0] if isinstance(output, tuple) else output


def test_a_padded_batch_gives_the_same_as_transformers_layer(backbone, product):
    layer, ours = layer_and_ours(backbone, product)
    states = torch.randn(3, 9, backbone.config.hidden_size)
    attended = (torch.arange(9) < torch.tensor([9, 4, 1])[:, None])[:, None, None].expand(3, 1, 9, 9)
    torch.testing.assert_close(ours(states, attended), states_of(layer(states, attended)), atol=1e-5, rtol=0)


def test_a_packed_text_gives_the_same_as_alone(backbone, product):
    layer, ours = layer_and_ours(backbone, product)
    first, second = (torch.randn(1, tokens, backbone.config.hidden_size) for tokens in (5, 8))
    batch = PackedBatch.of([np.zeros(5, dtype=np.int64), np.zeros(8, dtype=np.int64)], torch.device("cpu"))
    packed = ours(torch.cat([first, second], dim=1), packed=batch)
    alone = torch.cat([states_of(layer(first)), states_of(layer(second))], dim=1)
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=0)


def test_the_input_is_not_changed(backbone, product):
    _, ours = layer_and_ours(backbone, product)
    states = torch.randn(1, 4, backbone.config.hidden_size)
    before = states.clone()
    ours(states)
    assert torch.equal(states, before)


def test_a_backbone_with_another_activation_keeps_its_layers(backbone):
    backbone.config.hidden_act = "relu"
    layers = list(backbone.encoder.layer)
    replace_layers(backbone, plain_product)
    assert list(backbone.encoder.layer) == layers
