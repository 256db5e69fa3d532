"""The kernels that run between two products of int8. `flagvec.engine.quantized_steps` does the same in torch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flagvec.engine.kernels import availability
from flagvec.engine.kernels.availability import Level, _compiled, openmp_function

_WIDEST_ROW = 1 << 14  # as in quantized.h
_VECTOR = 16


@dataclass(frozen=True)
class ByteRows:
    """Rows of numbers that are rounded to bytes: a number is about ``minimum + scale * byte``.

    Args:
        bytes: (rows, width) uint8.
        scales: (rows,) float32.
        minima: (rows,) float32; NaN for a row with a number that is not finite.
    """

    bytes: Tensor
    scales: Tensor
    minima: Tensor

    @classmethod
    def empty(cls, rows: int, width: int) -> ByteRows:
        """Return rows whose content is undefined."""
        return cls(torch.empty((rows, width), dtype=torch.uint8), torch.empty(rows), torch.empty(rows))


@dataclass(frozen=True)
class Product:
    """What a product of bytes gives, and what turns it into a linear layer's results.

    A result is ``sum * scale + minimum * weight_sum + bias``.

    Args:
        sums: (rows, width) float32, the bytes times the weights.
        scales: (rows,) float32, of the bytes.
        minima: (rows,) float32, of the bytes.
        weight_sums: (width,) float32, the sum of each output's weights.
        bias: (width,) float32.
    """

    sums: Tensor
    scales: Tensor
    minima: Tensor
    weight_sums: Tensor
    bias: Tensor


def can_run(width: int) -> bool:
    """Return whether the kernels take rows of so many numbers: a CPU with AVX2, a multiple of 16, at most 16,384."""
    return width % _VECTOR == 0 and width <= _WIDEST_ROW and availability.can_run("rows of int8")


def to_bytes(numbers: Tensor, largest: int) -> ByteRows:
    """Round each row of (rows, width) float32 or bfloat16 to bytes of at most `largest`."""
    rows, width = numbers.shape
    to = ByteRows.empty(rows, width)
    _compiled.numbers_to_bytes(_rows(rows, width), _numbers(numbers), _bytes(to, largest))
    return to


def to_numbers(product: Product, dtype: torch.dtype) -> Tensor:
    """Return the results, (rows, width), in float32 or bfloat16."""
    rows, width = product.sums.shape
    to = torch.empty((rows, width), dtype=dtype)
    _compiled.product_to_numbers(_rows(rows, width), _product(product), _numbers(to))
    return to


def gelu_to_bytes(product: Product, largest: int) -> ByteRows:
    """Return GELU of the results, as bytes of at most `largest`."""
    rows, width = product.sums.shape
    to = ByteRows.empty(rows, width)
    _compiled.gelu_to_bytes(_rows(rows, width), _product(product), _bytes(to, largest))
    return to


def normalise_sum(product: Product, states: Tensor, norm: nn.LayerNorm) -> None:
    """Overwrite `states`, (rows, width) float32 or bfloat16, with the layer norm of the results + `states`."""
    _normalise(product, states, norm, (0, 0, 0, 1))


def normalise_sum_to_bytes(product: Product, states: Tensor, norm: nn.LayerNorm, largest: int) -> ByteRows:
    """Do as `normalise_sum`, and return the norm as bytes of at most `largest` as well."""
    to = ByteRows.empty(*states.shape)
    _normalise(product, states, norm, _bytes(to, largest))
    return to


def _normalise(product: Product, states: Tensor, norm: nn.LayerNorm, to: tuple[int, int, int, float]) -> None:
    weight, bias = norm.weight.detach().float(), norm.bias.detach().float()
    layer_norm = weight.data_ptr(), bias.data_ptr(), norm.eps
    _compiled.norm_to_bytes(_rows(*states.shape), _product(product), _numbers(states), layer_norm, to)


def _rows(rows: int, width: int) -> tuple[int, int, bool, int, int]:
    return rows, width, availability.level() >= Level.AVX512, openmp_function("GOMP_parallel"), torch.get_num_threads()


def _numbers(numbers: Tensor) -> tuple[int, bool]:
    return numbers.data_ptr(), numbers.dtype is torch.bfloat16


def _bytes(rows: ByteRows, largest: int) -> tuple[int, int, int, float]:
    return rows.bytes.data_ptr(), rows.scales.data_ptr(), rows.minima.data_ptr(), largest


def _product(product: Product) -> tuple[int, int, int, int, int]:
    tensors = product.sums, product.scales, product.minima, product.weight_sums, product.bias
    return tuple(tensor.data_ptr() for tensor in tensors)
