"""Linear layers for CPUs, whose weights are stored in the order that oneDNN multiplies in."""

from __future__ import annotations

import ctypes
import platform
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn

from flagvec.engine.kernels import in_columns

Activation = Literal["none", "gelu"]

# Outputs side by side in oneDNN's weights: 64 for AVX2 and AVX512, 32 for AMX.
_COLUMNS = (64, 32)


class PrepackedLinear(nn.Module):
    """A linear layer whose weights were reordered for oneDNN once, instead of at every product.

    Args:
        linear: The layer to replace.
        activation: Applied to the product by oneDNN: ``"none"``, or ``"gelu"`` (the exact one, by the error function).
    """

    def __init__(self, linear: nn.Linear, activation: Activation = "none") -> None:
        super().__init__()
        self.activation: Activation = activation
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)
        self._bias = None if linear.bias is None else linear.bias.detach()
        self.eval()

    @property
    def columns(self) -> int:
        """Outputs in a column of the weights, if they are in the order of `kernels.in_columns`; 0 if they are not."""
        return _columns_of(*self._weight.shape, self._weight.dtype, torch.get_num_threads())

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the weights."""
        dtype: torch.dtype = self._weight.dtype
        return dtype

    @property
    def weight_address(self) -> int:
        """The address of the weights, in the order that oneDNN chose."""
        address: int = torch.ops.mkldnn.data_ptr(self._weight)
        return address

    @property
    def bias(self) -> Tensor | None:
        """The bias, (outputs,)."""
        return self._bias

    def linear(self, dtype: torch.dtype) -> nn.Linear:
        """Return torch's own linear layer, without the activation, with a copy of the weights in the format `dtype`."""
        weight = self._weight.to_dense()
        outputs, inputs = weight.shape
        linear = nn.Linear(inputs, outputs, device="meta")
        linear.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
        linear.bias = None if self._bias is None else nn.Parameter(self._bias.to(dtype), requires_grad=False)
        return linear

    def forward(self, states: Tensor) -> Tensor:
        """Return (..., outputs) of (..., inputs)."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            states, self._weight, self._bias, self.activation, [], "none"
        )
        return product


def can_prepack(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether oneDNN has fast products for `dtype` here: on x86, float32, and bfloat16 with AVX512 or AMX."""
    is_x86 = platform.machine() in ("x86_64", "AMD64")
    if device.type != "cpu" or not is_x86 or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if dtype is torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype is torch.float32


def prepack_linear_layers(model: nn.Module) -> None:
    """Replace every linear layer in `model` by a `PrepackedLinear`."""
    for name, child in model.named_children():
        if type(child) is nn.Linear:
            setattr(model, name, PrepackedLinear(child))
        else:
            prepack_linear_layers(child)


@cache
def _columns_of(outputs: int, inputs: int, dtype: torch.dtype, threads: int) -> int:
    # oneDNN chooses an order for each processor and shape, and some versions for each number of threads. It documents
    # none of them, so we compare bytes.
    if inputs % 2:
        return 0
    # The values repeat with a prime period, so that another order gives other bytes. bfloat16 represents each exactly.
    weights = (torch.arange(outputs * inputs) % 251).to(dtype).view(outputs, inputs)
    kept = torch.ops.mkldnn._reorder_linear_weight(weights, None)
    size = torch.ops.mkldnn._nbytes(kept)
    memory = (ctypes.c_char * size).from_address(torch.ops.mkldnn.data_ptr(kept))
    numbers = torch.frombuffer(memory, dtype=dtype)
    fitting = (
        columns
        for columns in _COLUMNS
        if outputs % columns == 0 and torch.equal(numbers, in_columns(weights, columns).flatten())
    )
    return next(fitting, 0)
