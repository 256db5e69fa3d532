"""The linear layers that sentence-transformers and PyLate put after a transformer or its pooling."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import linear

from flagvec.errors import CheckpointError

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "Identity": nn.Identity,
    "Tanh": nn.Tanh,
    "GELU": nn.GELU,
    "ReLU": nn.ReLU,
    "SiLU": nn.SiLU,
}


class DenseLayer(nn.Module):
    """A linear layer, its activation, and what PyLate adds to it.

    Args:
        weight: (outputs, inputs).
        bias: (outputs,), or None.
        activation: Applied to the product.
        adds_input: Whether the input is added, or its product with `residual` if there is one.
        residual: (outputs, inputs), or None.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        activation: nn.Module | None = None,
        adds_input: bool = False,
        residual: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.activation = activation or nn.Identity()
        self.adds_input = adds_input
        self.residual = None if residual is None else nn.Parameter(residual, requires_grad=False)

    def forward(self, rows: Tensor) -> Tensor:
        """Return (rows, outputs) of (rows, inputs), in the format of the rows."""
        # Texts that run again in a wider format need the weights in it.
        bias = None if self.bias is None else self.bias.to(rows.dtype)
        projected: Tensor = self.activation(linear(rows, self.weight.to(rows.dtype), bias))
        if not self.adds_input:
            return projected
        return projected + (rows if self.residual is None else linear(rows, self.residual.to(rows.dtype)))


class DenseLayers(nn.Sequential):
    """Layers in a row.

    Args:
        layers: At least one.
    """

    def __init__(self, layers: Sequence[DenseLayer]) -> None:
        super().__init__(*layers)
        self.inputs = int(layers[0].weight.shape[1])
        self.outputs = int(layers[-1].weight.shape[0])


def load_dense_layers(
    folders: Sequence[Path], width: int, device: torch.device, dtype: torch.dtype = torch.float32
) -> DenseLayers | None:
    """Load the layers of these folders; None if there are none.

    Args:
        folders: One for each layer, as ``modules.json`` names them.
        width: The length of what the first layer takes.
        device: Where the layers run.
        dtype: The format of their weights.

    Raises:
        CheckpointError: A file is missing or damaged, two layers do not fit, or an activation is not known.
    """
    if not folders:
        return None
    return checked_layers([(_load_layer(folder), str(folder)) for folder in folders], width).to(device, dtype)


def checked_layers(layers: Sequence[tuple[DenseLayer, str]], width: int) -> DenseLayers:
    """Return layers in a row, each with what messages call it.

    Raises:
        CheckpointError: A layer takes vectors of another length than the one before gives, or has a weight that is
            not finite.
    """
    for layer, name in layers:
        outputs, inputs = layer.weight.shape
        if inputs != width:
            raise CheckpointError(f"{name} takes vectors of length {inputs}, and gets {width}; get the files again")
        if not all(weights.isfinite().all() for weights in layer.parameters()):
            raise CheckpointError(f"{name} holds NaN or infinite weights; get the files again")
        width = outputs
    return DenseLayers([layer for layer, _ in layers])


def _load_layer(folder: Path) -> DenseLayer:
    try:
        config = json.loads((folder / "config.json").read_bytes())
        tensors = _tensors(folder)
        weight, bias, residual = (tensors.get(name) for name in ("linear.weight", "linear.bias", "residual.weight"))
    except Exception as error:  # for a damaged file json, safetensors and torch raise many types
        raise CheckpointError(
            f"{folder} cannot be read: {type(error).__name__}: {error}; get the files again"
        ) from error
    if weight is None or weight.ndim != 2:
        raise CheckpointError(f"{folder} has no matrix 'linear.weight'; get the files again")
    return DenseLayer(weight, bias, _activation(folder, config), bool(config.get("use_residual")), residual)


def _tensors(folder: Path) -> dict[str, Tensor]:
    path = folder / "model.safetensors"
    older = folder / "pytorch_model.bin"
    state = load_file(path) if path.is_file() else torch.load(older, map_location="cpu", weights_only=True)
    return {name: tensor.float() for name, tensor in state.items()}


def _activation(folder: Path, config: Mapping[str, Any]) -> nn.Module:
    name = str(config.get("activation_function", "Tanh")).rsplit(".", 1)[-1]
    if name not in _ACTIVATIONS:
        raise CheckpointError(
            f"{folder / 'config.json'} has the activation {name!r}; flagvec has {', '.join(_ACTIVATIONS)}: use "
            "sentence-transformers for this model"
        )
    return _ACTIVATIONS[name]()
