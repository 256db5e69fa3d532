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
        products = [product for layer in layers for product in _products(layer)]
        self._dtype = kernels.layers_dtype(products[0].columns, backbone.dtype)
        # Biases and norms are small. Copies in `self._dtype` also stay when a user casts the model.
        others = [[weights.to(self._dtype, copy=True) for weights in _other_weights(layer)] for layer in layers]
        self._kept = products, others  # the table holds bare addresses, which keep no tensor alive
        self._embeddings = backbone.embeddings
        self._table = kernels.LayerTable(
            addresses=torch.tensor([_addresses(*of_layer) for of_layer in zip(layers, others, strict=True)]),
            width=config.hidden_size,
            inner_width=config.intermediate_size,
            heads=config.num_attention_heads,
            columns=products[0].columns,
            dtype=backbone.dtype,
            epsilon=config.layer_norm_eps,
        )
        self._backbone_dtype = backbone.dtype

    def run(self, batch: PackedBatch) -> Tensor:
        """Return the last hidden states, (1, tokens, width), in the backbone's number format."""
        states = self._embeddings(input_ids=batch.token_ids[None], position_ids=batch.positions[None])
        return kernels.run_layers(self._table, states.to(self._dtype), batch.starts).to(self._backbone_dtype)


def can_run_few_rows(backbone: Any) -> bool:
    """Return whether a kernel can run here, and can read the backbone's weights in their present order."""
    config, layers = backbone.config, list(backbone.encoder.layer)
    return (
        kernels.can_run_layers(config.hidden_size, config.num_attention_heads, backbone.dtype)
        and all(isinstance(layer, PostNormLayer) and _is_readable(layer, backbone) for layer in layers)
        and len({product.columns for layer in layers for product in _products(layer)} | {0}) == 2
    )


def _is_readable(layer: PostNormLayer, backbone: Any) -> bool:
    are_prepacked = all(
        isinstance(product, PrepackedLinear) and product.bias is not None and product.dtype is backbone.dtype
        for product in _products(layer)
    )
    epsilons = {layer.attention_norm.eps, layer.feed_forward_norm.eps, backbone.config.layer_norm_eps}
    return are_prepacked and len(epsilons) == 1


def _products(layer: PostNormLayer) -> tuple[Any, Any, Any, Any]:
    return layer.query_key_value, layer.attention_out, layer.widen, layer.narrow


def _other_weights(layer: PostNormLayer) -> list[Tensor]:
    """Return the biases of the four products, then weight and bias of both norms."""
    norms = (layer.attention_norm, layer.feed_forward_norm)
    return [
        *(product.bias for product in _products(layer)),
        *(weights.detach() for norm in norms for weights in (norm.weight, norm.bias)),
    ]


def _addresses(layer: PostNormLayer, others: list[Tensor]) -> list[int]:
    """Return the twelve addresses of a layer in the order of `LayerTable`."""
    biases, norms = others[:4], others[4:]
    linear = [
        address
        for product, bias in zip(_products(layer), biases, strict=True)
        for address in (product.weight_address, bias.data_ptr())
    ]
    return [*linear, *(weights.data_ptr() for weights in norms)]
