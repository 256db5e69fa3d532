"""Runs a packed batch of few tokens, such as a short query, through all layers in one call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flagvec.engine import kernels
from flagvec.engine.packed import PackedBatch
from flagvec.engine.post_norm_layer import PostNormLayer
from flagvec.engine.prepacked import PrepackedLinear

# With 256 rows oneDNN's products were as fast: benchmarks/RESULTS.md, "in one call".
MOST_ROWS = 128


class FewRows:
    """Runs a backbone over at most `MOST_ROWS` tokens.

    Args:
        backbone: A backbone for which `can_run_few_rows` is true. The kernel reads its weights at their present
            addresses, also after the backbone gets other weights.

    Raises:
        ValueError: `can_run_few_rows` is false.
    """

    def __init__(self, backbone: Any) -> None:
        if not can_run_few_rows(backbone):
            raise ValueError("a backbone whose weights the kernel cannot read; it takes what can_run_few_rows allows")
        config, layers = backbone.config, list(backbone.encoder.layer)
        norms = [_norm_weights(layer) for layer in layers]
        addresses = [
            [*_linear_addresses(layer), *(weights.data_ptr() for weights in own_norms)]
            for layer, own_norms in zip(layers, norms, strict=True)
        ]
        self._embeddings = backbone.embeddings
        self._kept = layers, norms  # the table holds bare addresses, which keep no tensor alive
        self._table = kernels.LayerTable(
            addresses=torch.tensor(addresses),
            width=config.hidden_size,
            inner_width=config.intermediate_size,
            heads=config.num_attention_heads,
            epsilon=config.layer_norm_eps,
        )

    def run(self, batch: PackedBatch) -> Tensor:
        """Return the last hidden states, (1, tokens, width) bfloat16."""
        states = self._embeddings(input_ids=batch.token_ids[None], position_ids=batch.positions[None])
        return kernels.run_layers(self._table, states, batch.starts)


def can_run_few_rows(backbone: Any) -> bool:
    """Return whether the kernel can run here, and can read the backbone's weights in their present order."""
    config = backbone.config
    return kernels.can_run_layers(config.hidden_size, config.intermediate_size, config.num_attention_heads) and all(
        isinstance(layer, PostNormLayer)
        and all(_linear_addresses(layer))
        and all(weights.dtype is torch.bfloat16 for weights in _norm_weights(layer))
        and layer.attention_norm.eps == layer.feed_forward_norm.eps == config.layer_norm_eps
        for layer in backbone.encoder.layer
    )


def _linear_addresses(layer: PostNormLayer) -> list[int]:
    """Return the addresses of each product's weights and bias, or zeros if the kernel cannot read them."""
    products = (layer.query_key_value, layer.attention_out, layer.widen, layer.narrow)
    return [
        address
        for product in products
        for address in (product.addresses_in_tiles() if isinstance(product, PrepackedLinear) else (0, 0))
    ]


def _norm_weights(layer: PostNormLayer) -> list[Tensor]:
    norms = (layer.attention_norm, layer.feed_forward_norm)
    return [weights.detach() for norm in norms for weights in (norm.weight, norm.bias)]
