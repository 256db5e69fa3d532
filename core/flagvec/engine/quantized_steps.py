"""What runs between two products of int8: by a kernel, or in torch if no kernel takes the rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm

from flagvec.engine.kernels import quantized as kernels
from flagvec.engine.kernels.quantized import ByteRows, Product


def to_bytes(numbers: Tensor, largest: int) -> ByteRows:
    """Round each row of (rows, width) to bytes of at most `largest`."""
    if kernels.can_run(numbers.shape[-1]):
        return kernels.to_bytes(numbers.contiguous(), largest)
    numbers = numbers.float()
    minima, maxima = numbers.amin(1), numbers.amax(1)
    scales = (maxima - minima) / largest
    bytes_per_one = torch.where(scales > 0, 1 / scales, 0)
    rounded = ((numbers - minima[:, None]) * bytes_per_one[:, None] + 0.5).to(torch.uint8)
    return ByteRows(rounded, scales, minima)


def to_numbers(product: Product, dtype: torch.dtype) -> Tensor:
    """Return the linear layer's results, (rows, width), in the format `dtype`."""
    if kernels.can_run(product.sums.shape[-1]):
        return kernels.to_numbers(product, dtype)
    return _results(product).to(dtype)


def gelu_to_bytes(product: Product, largest: int) -> ByteRows:
    """Return GELU of the results, as bytes of at most `largest`."""
    if kernels.can_run(product.sums.shape[-1]):
        return kernels.gelu_to_bytes(product, largest)
    return to_bytes(gelu(_results(product)), largest)


def normalise_sum(product: Product, states: Tensor, norm: nn.LayerNorm) -> None:
    """Overwrite `states`, (rows, width), with the layer norm of the results + `states`."""
    if kernels.can_run(states.shape[-1]):
        kernels.normalise_sum(product, states, norm)
    else:
        states.copy_(_normalised_sum(product, states, norm))


def normalise_sum_to_bytes(product: Product, states: Tensor, norm: nn.LayerNorm, largest: int) -> ByteRows:
    """Do as `normalise_sum`, and return the norm as bytes of at most `largest` as well."""
    if kernels.can_run(states.shape[-1]):
        return kernels.normalise_sum_to_bytes(product, states, norm, largest)
    result = _normalised_sum(product, states, norm)
    states.copy_(result)
    return to_bytes(result, largest)


def _results(product: Product) -> Tensor:
    offsets = product.minima[:, None] * product.weight_sums + product.bias
    return product.sums * product.scales[:, None] + offsets


def _normalised_sum(product: Product, states: Tensor, norm: nn.LayerNorm) -> Tensor:
    weight, bias = norm.weight.float(), norm.bias.float()
    return layer_norm(_results(product) + states.float(), norm.normalized_shape, weight, bias, norm.eps)
