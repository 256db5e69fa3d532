"""Weights of linear layers and embeddings in int8: each output, and each embedding, has its own scale."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

LARGEST_WEIGHT = 127


class Int8Linear(nn.Module):
    """A linear layer's weights as a file holds them. `PackedInt8Linear` computes with them.

    Args:
        weight: (outputs, inputs) int8.
        scales: (outputs,) float32: a weight is the scale of its output times the int8 number.
        bias: (outputs,) float32, or None.
    """

    def __init__(self, weight: Tensor, scales: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight: Tensor
        self.scales: Tensor
        self.bias: Tensor | None
        self.register_buffer("weight", weight)
        self.register_buffer("scales", scales)
        self.register_buffer("bias", bias)

    @classmethod
    def of(cls, linear: nn.Linear) -> Int8Linear:
        """Round the weights of a linear layer."""
        bias = None if linear.bias is None else linear.bias.detach().float()
        return cls(*rounded(linear.weight.detach()), bias)


class Int8Embedding(nn.Module):
    """A table of embeddings, each a row of int8 with its own scale.

    Args:
        weight: (embeddings, width) int8.
        scales: (embeddings,) float32.
        padding_idx: As `torch.nn.Embedding` has it, which models read.
        dtype: The format of what it returns.
    """

    def __init__(self, weight: Tensor, scales: Tensor, padding_idx: int | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight: Tensor
        self.scales: Tensor
        self.register_buffer("weight", weight)
        self.register_buffer("scales", scales)
        self.padding_idx = padding_idx
        self.dtype = dtype

    @classmethod
    def of(cls, table: nn.Embedding, dtype: torch.dtype) -> Int8Embedding:
        """Round a table."""
        return cls(*rounded(table.weight.detach()), table.padding_idx, dtype)

    @property
    def num_embeddings(self) -> int:
        """The number of rows."""
        return len(self.weight)

    def forward(self, ids: Tensor) -> Tensor:
        """Return (..., width) of (...) int64."""
        return (embedding(ids, self.weight) * self.scales[ids][..., None]).to(self.dtype)


def quantize_weights(backbone: nn.Module, dtype: torch.dtype) -> None:
    """Replace each linear layer and each table of embeddings by its weights in int8, and cast the rest to `dtype`.

    Other modules keep their weights, such as norms. A module of a subclass of torch's linear layer is one of them.
    """
    for module in list(backbone.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Linear:
                setattr(module, name, Int8Linear.of(child))
            elif isinstance(child, nn.Embedding):
                setattr(module, name, Int8Embedding.of(child, dtype))
    cast_parameters(backbone, dtype)


def cast_parameters(model: nn.Module, dtype: torch.dtype) -> None:
    """Cast the parameters of a model, but not its buffers, which scales of int8 weights are as well."""
    for weights in model.parameters():
        weights.data = weights.data.to(dtype)


def side_by_side(layers: list[Int8Linear]) -> Int8Linear:
    """Return one layer that gives the results of several, which have the same input and a bias."""
    return Int8Linear(*(torch.cat([getattr(layer, name) for layer in layers]) for name in ("weight", "scales", "bias")))


def rounded(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return (rows, columns) as int8 of at most 127, and each row's scale, (rows,) float32."""
    weights = weights.float()
    scales = weights.abs().amax(1) / LARGEST_WEIGHT
    # A row of zeros has the scale 0.
    return (weights / torch.where(scales > 0, scales, 1)[:, None]).round().to(torch.int8), scales
