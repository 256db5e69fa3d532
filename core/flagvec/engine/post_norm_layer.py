"""A layer of the BERT family that passes over memory less often than transformers' own.

transformers' layers compute query, key and value in three products, apply GELU in a pass of its own, and write sums to
new memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from flagvec.engine import kernels
from flagvec.engine.packed import PackedBatch, attend_packed
from flagvec.engine.prepacked import Activation
from flagvec.engine.quantized_weights import Int8Linear, side_by_side

# Their layers have the same form and names: attention, then a feed-forward network, each followed by a norm.
_FAMILY = frozenset({"bert", "roberta", "xlm-roberta", "camembert"})

# Takes a layer, what its attention gave, and the hidden states before it. Returns the hidden states after it.
AfterAttention = Callable[["PostNormLayer", Tensor, Tensor], Tensor]
# Turns a linear layer into the module that computes it, followed by the activation.
Product = Callable[[Any, Activation], nn.Module]


class PostNormLayer(nn.Module):
    """Replaces one of transformers' layers, and takes over its weights.

    Args:
        layer: A ``BertLayer``, or the layer of another model of the family.
        heads: The number of attention heads.
        product: Called to make each linear layer.

    Attributes:
        after_attention: Does the rest of a forward pass. It may be replaced by a function that does the same faster.
    """

    is_causal = False  # transformers' attention reads it

    def __init__(self, layer: Any, heads: int, product: Product) -> None:
        super().__init__()
        attention, feed_forward = layer.attention, layer.intermediate
        self.heads = heads
        self.query_key_value = product(
            _side_by_side([attention.self.query, attention.self.key, attention.self.value]), "none"
        )
        self.attention_out = product(attention.output.dense, "none")
        self.attention_norm = attention.output.LayerNorm
        self.widen = product(feed_forward.dense, "gelu")
        self.narrow = product(layer.output.dense, "none")
        self.feed_forward_norm = layer.output.LayerNorm
        self.after_attention: AfterAttention = after_attention
        self.eval()

    def forward(
        self,
        states: Tensor,
        attention_mask: Tensor | None = None,
        *unused: Any,
        packed: PackedBatch | None = None,
        **options: Any,
    ) -> Tensor:
        """Return the next hidden states: (1, tokens, width) of a packed batch, (texts, tokens, width) of a padded one.

        Args:
            states: Hidden states of the same shape.
            attention_mask: The mask of a padded batch, as transformers makes it.
            packed: The packed batch; None for a padded one.
            unused: transformers' arguments for layers of decoders.
            options: Further arguments from transformers.
        """
        attended = self.attended(states, packed, attention_mask)
        return self.after_attention(self, attended, states)

    def attended(self, states: Tensor, packed: PackedBatch | None, attention_mask: Tensor | None = None) -> Tensor:
        """Return what the layer's attention makes of hidden states, in their shape. Arguments are as in `forward`."""
        query, key, value = self.query_key_value(states).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        if packed is None:
            query, key, value = (part.transpose(1, 2) for part in (query, key, value))
            result, _ = sdpa_attention_forward(self, query, key, value, attention_mask)
        else:
            result = attend_packed(query[0], key[0], value[0], packed)[None]
        return result.flatten(-2)


def after_attention(layer: PostNormLayer, attended: Tensor, states: Tensor) -> Tensor:
    """Return a layer's hidden states: sum and norm after attention, and after the feed-forward network."""
    states = _normalised_sum(layer.attention_out(attended), states, layer.attention_norm)
    return _normalised_sum(layer.narrow(layer.widen(states)), states, layer.feed_forward_norm)


def replace_layers(backbone: Any, product: Product) -> bool:
    """Replace every layer of a backbone of the BERT family by a `PostNormLayer`; do nothing to other backbones.

    A layer that is one already stays.

    Returns:
        Whether the layers were replaced, so that `run_layers` takes the backbone.
    """
    config = backbone.config
    if config.model_type not in _FAMILY or config.hidden_act != "gelu":
        return False
    layers = backbone.encoder.layer
    for position, layer in enumerate(layers):
        if not isinstance(layer, PostNormLayer):
            layers[position] = PostNormLayer(layer, config.num_attention_heads, product)
    return True


def run_layers(backbone: Any, batch: PackedBatch) -> Tensor:
    """Return the last hidden states, (1, tokens, width), of a packed batch."""
    # The backbone's own forward pass gives the same. It also makes masks and output records, which took a tenth of a
    # short query's time.
    states: Tensor = backbone.embeddings(input_ids=batch.token_ids[None], position_ids=batch.positions[None])
    for layer in backbone.encoder.layer:
        states = layer(states, packed=batch)
    return states


def plain_product(linear: nn.Linear, activation: Activation) -> nn.Module:
    """Return torch's own modules for a linear layer and its activation."""
    return nn.Sequential(linear, nn.GELU()) if activation == "gelu" else linear


def _side_by_side(layers: list[Any]) -> nn.Linear | Int8Linear:
    if isinstance(layers[0], Int8Linear):
        return side_by_side(layers)
    joined = nn.Linear(layers[0].in_features, sum(layer.out_features for layer in layers), device="meta")
    joined.weight = nn.Parameter(torch.cat([layer.weight for layer in layers]), requires_grad=False)
    joined.bias = nn.Parameter(torch.cat([layer.bias for layer in layers]), requires_grad=False)
    return joined


def _normalised_sum(fresh: Tensor, states: Tensor, norm: nn.LayerNorm) -> Tensor:
    if kernels.can_normalise_sum(states, norm):
        return kernels.normalise_sum(fresh, states, norm)
    return layer_norm(fresh.add_(states), norm.normalized_shape, norm.weight, norm.bias, norm.eps)
