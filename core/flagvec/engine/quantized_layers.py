"""Layers whose products oneDNN computes in int8, on a CPU."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from flagvec.engine import quantized_steps as steps
from flagvec.engine.kernels.quantized import ByteRows, Product
from flagvec.engine.post_norm_layer import PostNormLayer
from flagvec.engine.prepacked import Activation
from flagvec.engine.quantized_weights import LARGEST_WEIGHT, Int8Linear


class PackedInt8Linear(nn.Module):
    """A linear layer that oneDNN multiplies in int8. It rounds each row of its input to bytes.

    Args:
        linear: The weights.
        activation: Applied to the result: ``"none"`` or ``"gelu"``.
    """

    def __init__(self, linear: Int8Linear, activation: Activation = "none") -> None:
        super().__init__()
        self.activation: Activation = activation
        self._weight = torch.ops.onednn.qlinear_prepack(linear.weight, None)
        self._scales = linear.scales
        self._zeros = torch.zeros(len(linear.scales), dtype=torch.int64)
        self._sums = linear.weight.sum(1, dtype=torch.float32) * linear.scales
        self._bias = torch.zeros_like(linear.scales) if linear.bias is None else linear.bias
        self.eval()

    def multiplied(self, rows: ByteRows) -> Product:
        """Return the product of (rows, inputs) with the weights, (rows, outputs)."""
        sums = torch.ops.onednn.qlinear_pointwise(
            rows.bytes, 1.0, 0, self._weight, self._scales, self._zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return Product(sums, rows.scales, rows.minima, self._sums, self._bias)

    def forward(self, states: Tensor) -> Tensor:
        """Return (..., outputs) of (..., inputs), in the format of the states."""
        results = steps.to_numbers(self.multiplied(_as_bytes(states)), states.dtype).view(*states.shape[:-1], -1)
        return gelu(results) if self.activation == "gelu" else results


def has_int8_layers(backbone: nn.Module) -> bool:
    """Return whether the weights of a backbone are int8, packed or not."""
    return any(isinstance(module, (Int8Linear, PackedInt8Linear)) for module in backbone.modules())


def pack_int8_layers(model: nn.Module) -> None:
    """Replace every `Int8Linear` in `model` by a `PackedInt8Linear`, and let layers of the BERT family use them."""
    for name, child in model.named_children():
        if isinstance(child, Int8Linear):
            setattr(model, name, PackedInt8Linear(child))
        elif isinstance(child, PostNormLayer):
            child.after_attention = after_attention
            # The kernels read float32, and so does torch's norm of other formats.
            child.attention_norm.float()
            child.feed_forward_norm.float()
        else:
            pack_int8_layers(child)


def after_attention(layer: PostNormLayer, attended: Tensor, states: Tensor) -> Tensor:
    """Do as `post_norm_layer.after_attention`, with products of int8. `states` is overwritten."""
    largest, rows = largest_byte(), states.flatten(0, -2)
    product = layer.attention_out.multiplied(_as_bytes(attended))
    middle = steps.normalise_sum_to_bytes(product, rows, layer.attention_norm, largest)
    widened = steps.gelu_to_bytes(layer.widen.multiplied(middle), largest)
    steps.normalise_sum(layer.narrow.multiplied(widened), rows, layer.feed_forward_norm)
    return states


@cache
def largest_byte() -> int:
    """Return the largest byte whose products with weights oneDNN adds up exactly here: 255, or 127 without VNNI.

    Without VNNI it adds pairs of products in 16 bits, which saturate.
    """
    inputs = 64
    linear = Int8Linear(torch.full((64, inputs), LARGEST_WEIGHT, dtype=torch.int8), torch.ones(64), None)
    rows = torch.full((16, inputs), 255, dtype=torch.uint8)
    product = PackedInt8Linear(linear).multiplied(ByteRows(rows, torch.ones(16), torch.zeros(16)))
    return 255 if bool((product.sums == 255 * LARGEST_WEIGHT * inputs).all()) else 127


def _as_bytes(states: Tensor) -> ByteRows:
    return steps.to_bytes(states.flatten(0, -2), largest_byte())
