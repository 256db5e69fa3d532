"""A packed batch of few tokens, such as a short query, through all layers in one call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flagvec.engine import kernels
from flagvec.engine.packed import PackedBatch
from flagvec.engine.post_norm_layer import PostNormLayer
from flagvec.engine.prepacked import PrepackedLinear

# With more, oneDNN's products are as fast, and there is little else to save.
MOST_ROWS = 128


class FewRows:
    """Runs a backbone over `MOST_ROWS` tokens at most.

    Args:
        backbone: One of which `can_run_few_rows` is true. Its weights are read where they lie now.
    """

    def __init__(self, backbone: Any) -> None:
        assert can_run_few_rows(backbone), "addresses would be read that hold something else"
        config, layers = backbone.config, list(backbone.encoder.layer)
        norms = [_norm_weights(layer) for layer in layers]
        addresses = [
            [*_linear_addresses(layer), *(weights.data_ptr() for weights in own_norms)]
            for layer, own_norms in zip(layers, norms, strict=True)
        ]
        self._embeddings = backbone.embeddings
        self._kept = layers, norms  # so that what the addresses name is
        self._table = kernels.LayerTable(
            addresses=torch.tensor(addresses),
            width=config.hidden_size,
            inner_width=config.intermediate_size,
            heads=config.num_attention_heads,
            epsilon=config.layer_norm_eps,
        )

    def run(self, batch: PackedBatch) -> Tensor:
        """Do as `run_layers` does."""
        states = self._embeddings(input_ids=batch.token_ids[None], position_ids=batch.positions[None])
        return kernels.run_layers(self._table, states, batch.starts)


def can_run_few_rows(backbone: Any) -> bool:
    """Return whether the kernel for it is here and reads the order in which the backbone's weights are."""
    config = backbone.config
    return kernels.can_run_layers(config.hidden_size, config.intermediate_size, config.num_attention_heads) and all(
        isinstance(layer, PostNormLayer)
        and all(_linear_addresses(layer))
        and all(weights.dtype is torch.bfloat16 for weights in _norm_weights(layer))
        and layer.attention_norm.eps == layer.feed_forward_norm.eps == config.layer_norm_eps
        for layer in backbone.encoder.layer
    )


def _linear_addresses(layer: PostNormLayer) -> list[int]:
    """Return where weights and bias of each product lie, zeros where they are not what the kernel reads."""
    products = (layer.query_key_value, layer.attention_out, layer.widen, layer.narrow)
    return [
        address
        for product in products
        for address in (product.addresses_in_tiles() if isinstance(product, PrepackedLinear) else (0, 0))
    ]


def _norm_weights(layer: PostNormLayer) -> list[Tensor]:
    norms = (layer.attention_norm, layer.feed_forward_norm)
    return [weights.detach() for norm in norms for weights in (norm.weight, norm.bias)]
