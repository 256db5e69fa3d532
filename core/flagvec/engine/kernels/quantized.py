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
    """Round each row of (rows, width) float32 or bfloat16, contiguous, to bytes of at most `largest`.

    This and the functions below raise ValueError if `can_run` refuses the width, or a tensor is not as described.
    """
    to = ByteRows.empty(*numbers.shape)
    _compiled.numbers_to_bytes(_rows(*numbers.shape), _numbers(numbers, numbers.shape), _bytes(to, largest))
    return to


def to_numbers(product: Product, dtype: torch.dtype) -> Tensor:
    """Return the results, (rows, width), in float32 or bfloat16."""
    shape = product.sums.shape
    to = torch.empty(shape, dtype=dtype)
    _compiled.product_to_numbers(_rows(*shape), _product(product), _numbers(to, shape))
    return to


def gelu_to_bytes(product: Product, largest: int) -> ByteRows:
    """Return GELU of the results, as bytes of at most `largest`."""
    shape = product.sums.shape
    to = ByteRows.empty(*shape)
    _compiled.gelu_to_bytes(_rows(*shape), _product(product), _bytes(to, largest))
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
    shape = product.sums.shape
    weight, bias = norm.weight.detach().float(), norm.bias.detach().float()  # copies live until the call is over
    layer_norm = _address(weight, torch.float32, shape[1:]), _address(bias, torch.float32, shape[1:]), norm.eps
    _compiled.norm_to_bytes(_rows(*shape), _product(product), _numbers(states, shape), layer_norm, to)


def _rows(rows: int, width: int) -> tuple[int, int, bool, int, int]:
    if not can_run(width):
        raise ValueError(f"rows of {width} numbers; the kernels take those for which can_run is true")
    has_avx512 = availability.level() >= Level.AVX512
    return rows, width, has_avx512, openmp_function("GOMP_parallel"), torch.get_num_threads()


def _numbers(numbers: Tensor, shape: torch.Size) -> tuple[int, bool]:
    is_bfloat16 = numbers.dtype is torch.bfloat16
    return _address(numbers, torch.bfloat16 if is_bfloat16 else torch.float32, shape), is_bfloat16


def _bytes(rows: ByteRows, largest: int) -> tuple[int, int, int, float]:
    return rows.bytes.data_ptr(), rows.scales.data_ptr(), rows.minima.data_ptr(), largest


def _product(product: Product) -> tuple[int, int, int, int, int]:
    shape, float32 = product.sums.shape, torch.float32
    return (
        _address(product.sums, float32, shape),
        _address(product.scales, float32, shape[:1]),
        _address(product.minima, float32, shape[:1]),
        _address(product.weight_sums, float32, shape[1:]),
        _address(product.bias, float32, shape[1:]),
    )


def _address(tensor: Tensor, dtype: torch.dtype, shape: torch.Size) -> int:
    """Return the address of a tensor, after a check, because a kernel reads memory without one."""
    if tensor.dtype is not dtype or tensor.shape != shape or not tensor.is_contiguous() or not tensor.is_cpu:
        raise ValueError(
            f"{tensor.dtype} of {tuple(tensor.shape)} on {tensor.device}; the kernel takes {dtype} of {tuple(shape)}, "
            "contiguous, on a CPU"
        )
    return tensor.data_ptr()
