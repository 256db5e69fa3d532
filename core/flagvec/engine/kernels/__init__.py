"""Compiled kernels for CPUs; torch's own do the same, slower, where these cannot run.

The build compiles them on Linux on x86-64 if it finds a C compiler. ``availability.py`` says which of them a CPU can
run. docs/kernels.md explains them to whoever maintains them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flagvec.engine.kernels import availability
from flagvec.engine.kernels.availability import Level, _compiled, can_run, openmp_function

TILE_COLUMNS = 32  # outputs in a column of weights that are multiplied by tiles
_HEAD_WIDTHS_IN_TILES = (32, 64)
_HEAD_STEP, _WIDEST_HEAD = 16, 128  # as in attention_vectors.h
_WIDEST_ROW = 4_096  # as in normalised_sum.h
_VECTOR = 16


def can_attend(states: Tensor) -> bool:
    """Return whether `attend` takes such queries, keys and values: on a CPU that has a kernel, contiguous in a head."""
    is_readable = states.is_cpu and states.stride(-1) == 1
    return is_readable and takes_heads(states.shape[-1], states.dtype) and can_run("attention")


def takes_heads(width: int, dtype: torch.dtype) -> bool:
    """Return whether `attend` takes heads of this width, in float32 or bfloat16.

    Vectors take multiples of 16, at most 128. Tiles take 32 and 64. On a CPU with AMX, other widths in bfloat16 are
    left to torch, which uses AMX as well.
    """
    if dtype is torch.bfloat16 and can_run("attention in tiles"):
        return width in _HEAD_WIDTHS_IN_TILES
    return dtype in (torch.float32, torch.bfloat16) and width % _HEAD_STEP == 0 and 0 < width <= _WIDEST_HEAD


def attend(query: Tensor, key: Tensor, value: Tensor, starts: Tensor, scaling: float | None) -> Tensor:
    """Attend within each text of a packed batch.

    Args:
        query: (tokens, heads, head width), contiguous within a head; `key` and `value` have the same shape and dtype.
        key: See `query`.
        value: See `query`.
        starts: (texts + 1,) int32, the first token of each text, then the end of the last text.
        scaling: The factor for the scores; one over the root of the head width if None.

    Returns:
        (tokens, heads, head width) in the same dtype, zeros for rows after the last text.

    Raises:
        ValueError: `can_attend` refuses an argument, or the shapes do not fit together.
    """
    rows, heads, width = query.shape
    # The kernel reads addresses, and Linux kills a process that uses AMX without asking first (arch_prctl).
    _require(all(map(can_attend, (query, key, value))), "query, key and value as can_attend takes them")
    _require(query.shape == key.shape == value.shape, "query, key and value of one shape")
    _require(query.dtype == key.dtype == value.dtype, "query, key and value of one dtype")
    _check_starts(starts, rows)
    is_float32 = query.dtype is torch.float32
    attended = query.new_empty((rows, heads, width))
    _compiled.attend(
        _strided(query),
        _strided(key),
        _strided(value),
        attended.data_ptr(),
        rows,
        starts.data_ptr(),
        len(starts) - 1,
        heads,
        width,
        width**-0.5 if scaling is None else scaling,
        is_float32,
        min(availability.level(), Level.AVX512) if is_float32 else availability.level(),
        openmp_function("GOMP_parallel"),
        torch.get_num_threads(),
    )
    return attended


def can_normalise_sum(states: Tensor, norm: nn.LayerNorm) -> bool:
    """Return whether `normalise_sum` takes such states: bfloat16, contiguous, a CPU with AVX512-BF16."""
    return (
        _is_bfloat16_on_cpu(states)
        and norm.weight.dtype is torch.bfloat16
        and can_normalise_rows(states.shape[-1])
        and states.is_contiguous()
        and can_run("norms")
    )


def can_normalise_rows(width: int) -> bool:
    """Return whether `normalise_sum` takes rows of so many numbers: a multiple of 16, at most 4,096."""
    return width % _VECTOR == 0 and width <= _WIDEST_ROW


def normalise_sum(fresh: Tensor, states: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Overwrite `fresh` with the layer norm of `fresh` + `states`, both (..., width), and return it.

    The sum and the norm are computed in float32.

    Raises:
        ValueError: `can_normalise_sum` refuses an argument, or the two have different shapes.
    """
    _require(can_normalise_sum(fresh, norm) and can_normalise_sum(states, norm), "states as can_normalise_sum takes")
    _require(fresh.shape == states.shape, "two terms of one shape")
    width = fresh.shape[-1]
    _compiled.normalise_sum(
        fresh.data_ptr(),
        states.data_ptr(),
        norm.weight.data_ptr(),
        norm.bias.data_ptr(),
        fresh.numel() // width,
        width,
        norm.eps,
        openmp_function("GOMP_parallel"),
        torch.get_num_threads(),
    )
    return fresh


@dataclass(frozen=True)
class LayerTable:
    """The addresses and sizes of a model's layers.

    Args:
        addresses: (layers, 12) int64: the address of a weight and of its bias, six times. First the four linear layers:
            query, key and value side by side; after attention; widening; narrowing. Then the norm after attention and
            the norm after the feed-forward network. Weights of linear layers are in the order of `in_columns`. All else
            is in `layers_dtype`.
        width: Of hidden states.
        inner_width: Of the feed-forward network.
        heads: The number of attention heads.
        columns: Outputs in a column of weights.
        dtype: Of the weights: float32 or bfloat16.
        epsilon: Of the norms.
    """

    addresses: Tensor
    width: int
    inner_width: int
    heads: int
    columns: int
    dtype: torch.dtype
    epsilon: float


def can_run_layers(width: int, heads: int, dtype: torch.dtype) -> bool:
    """Return whether `run_layers` takes a model of these sizes, with weights in this dtype, on this CPU."""
    return (
        can_run("few rows")
        and bool(openmp_function("GOMP_barrier"))
        and width % heads == 0
        and takes_heads(width // heads, dtype)
        and can_normalise_rows(width)
    )


def in_columns(weights: Tensor, columns: int) -> Tensor:
    """Return weights, (outputs, inputs), in the order in which the kernels for few rows read them.

    That is (outputs / columns, inputs, columns) for float32. For bfloat16 it is (outputs / columns, inputs / 2,
    columns, 2), because pairs of inputs are side by side.
    """
    outputs, inputs = weights.shape
    pair = 1 if weights.dtype is torch.float32 else 2
    return weights.view(outputs // columns, columns, inputs // pair, pair).transpose(1, 2).contiguous()


def layers_dtype(columns: int, dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which `run_layers` computes, and takes states, biases and norms.

    Args:
        columns: Outputs in a column of weights.
        dtype: Of the weights.
    """
    fits_tiles = dtype is torch.bfloat16 and columns == TILE_COLUMNS and can_run("few rows in tiles")
    return torch.bfloat16 if fits_tiles else torch.float32


def run_layers(table: LayerTable, states: Tensor, starts: Tensor) -> Tensor:
    """Overwrite the first layer's input with the last layer's states, and return it.

    Args:
        table: The layers.
        states: (1, tokens, width) in `layers_dtype`, contiguous.
        starts: (texts + 1,) int32, the first token of each text, then the end of the last text.

    Raises:
        ValueError: The states are not as described, or no kernel runs on this CPU.
    """
    dtype = layers_dtype(table.columns, table.dtype)
    is_readable = states.is_cpu and states.dtype is dtype and states.is_contiguous()
    _require(
        can_run("few rows") and is_readable and states.shape[-1] == table.width,
        f"contiguous states in {dtype}, {table.width} wide, on a CPU with a kernel for them",
    )
    _check_starts(starts, states.shape[1])
    _compiled.run_layers(
        table.addresses.data_ptr(),
        len(table.addresses),
        table.width,
        table.inner_width,
        table.heads,
        table.columns,
        table.dtype is torch.float32,
        min(availability.level(), Level.AVX512) if dtype is torch.float32 else availability.level(),
        table.epsilon,
        states.data_ptr(),
        starts.data_ptr(),
        len(starts) - 1,
        openmp_function("GOMP_parallel"),
        openmp_function("GOMP_barrier"),
        torch.get_num_threads(),
    )
    return states


def _is_bfloat16_on_cpu(states: Tensor) -> bool:
    return states.dtype is torch.bfloat16 and states.is_cpu


def _check_starts(starts: Tensor, rows: int) -> None:
    is_readable = starts.dtype is torch.int32 and starts.is_cpu and starts.is_contiguous()
    _require(is_readable and 0 <= starts.numpy()[-1] <= rows, f"starts in int32 on a CPU, which end within {rows} rows")


def _require(holds: bool, expected: str) -> None:
    """Refuse arguments with which a kernel would read or write beyond its tensors."""
    if not holds:
        raise ValueError(f"a tensor that the kernel cannot read; it takes {expected}")


def _strided(states: Tensor) -> tuple[int, int, int]:
    row_stride, head_stride, _ = states.stride()
    return states.data_ptr(), row_stride, head_stride
