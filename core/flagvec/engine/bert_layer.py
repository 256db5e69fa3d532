"""BERT's encoder layer for bfloat16 on CPU: weights in oneDNN's own order, one product for query, key and value."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from flagvec.engine.packed import attend


class PrepackedLinear(nn.Module):
    """A linear layer whose weights were put once into the order that oneDNN multiplies in.

    Args:
        linears: One or more layers of the same input; their outputs are put side by side.
    """

    def __init__(self, *linears: nn.Linear) -> None:
        super().__init__()
        weight = torch.cat([linear.weight for linear in linears])
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, None)
        self._bias = torch.cat([linear.bias for linear in linears])

    def forward(self, states: Tensor) -> Tensor:
        """Return (..., outputs) of (..., inputs)."""
        return torch.ops.mkldnn._linear_pointwise(states, self._weight, self._bias, "none", [], "")  # type: ignore[no-any-return]


class PrepackedBertLayer(nn.Module):
    """A drop-in for the encoder layer of transformers' BERT and RoBERTa family."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        attention = layer.attention.self
        self.scaling = attention.scaling
        self.is_causal = False
        self.heads = attention.num_attention_heads
        self.query_key_value = PrepackedLinear(attention.query, attention.key, attention.value)
        self.attention_output = PrepackedLinear(layer.attention.output.dense)
        self.attention_norm = layer.attention.output.LayerNorm
        self.widen = PrepackedLinear(layer.intermediate.dense)
        self.narrow = PrepackedLinear(layer.output.dense)
        self.output_norm = layer.output.LayerNorm

    def forward(self, states: Tensor, attention_mask: Tensor | None = None, *unused: Any, **options: Any) -> Tensor:
        """Return the next hidden states, (texts, tokens, width) as `states`."""
        query, key, value = self.query_key_value(states).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        attended, _ = attend(
            self, query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), attention_mask, self.scaling, **options
        )
        states = self.attention_norm(self.attention_output(attended.flatten(-2)).add_(states))
        widened = torch.ops.aten.gelu_(self.widen(states))
        return self.output_norm(self.narrow(widened).add_(states))  # type: ignore[no-any-return]


def prepack_bert_layers(backbone: Any) -> None:
    """Put `PrepackedBertLayer` in the place of each layer of a BERT-like backbone, which keeps its interface."""
    layers = backbone.encoder.layer
    for position in range(len(layers)):
        layers[position] = PrepackedBertLayer(layers[position])
