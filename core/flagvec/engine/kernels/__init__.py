"""Our own kernels for bfloat16 on a CPU: what torch's spend most of their time on, done in one pass.

They are written in C and compiled with the distribution, on Linux on x86-64 where a compiler is at hand. Where they
are missing, or the processor has not what they need, torch's kernels do the same.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

try:
    from flagvec.engine.kernels import _compiled
except ImportError:  # not built
    _compiled = None  # type: ignore[assignment]

TILE_SIDE = 32  # inputs and outputs of weights that lie together

_HEAD_WIDTHS = (32, 64)
_VECTOR = 16
_WIDEST_ROW = 4_096  # as in normalised_sum.h


def can_attend(states: Tensor) -> bool:
    """Return whether `attend` takes such queries, keys and values: bfloat16, heads 32 or 64 wide, a CPU with AMX."""
    return _is_bfloat16_on_cpu(states) and states.shape[-1] in _HEAD_WIDTHS and states.stride(-1) == 1 and _has_amx()


def attend(query: Tensor, key: Tensor, value: Tensor, starts: Tensor, scaling: float | None) -> Tensor:
    """Attend within each text of a packed batch.

    Args:
        query: (tokens, heads, head width) bfloat16, the numbers of a head side by side, and `key` and `value` alike.
        key: See `query`.
        value: See `query`.
        starts: (texts + 1,) int32, where each text begins, and the end of the last.
        scaling: What the products are multiplied with; one over the root of the head width if None.

    Returns:
        (tokens, heads, head width) bfloat16, zeros behind the last text.
    """
    assert _has_amx(), "without Linux' leave, which that asks for, the process would end"
    rows, heads, width = query.shape
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
        _openmp("GOMP_parallel"),
        torch.get_num_threads(),
    )
    return attended


def can_normalise_sum(states: Tensor, norm: nn.LayerNorm) -> bool:
    """Return whether `normalise_sum` takes such states: bfloat16, contiguous, a CPU with AVX512-BF16."""
    width = states.shape[-1]
    return (
        _is_bfloat16_on_cpu(states)
        and norm.weight.dtype is torch.bfloat16
        and width % _VECTOR == 0
        and width <= _WIDEST_ROW
        and states.is_contiguous()
        and _has_avx512()
    )


def normalise_sum(fresh: Tensor, states: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Put the layer norm of `fresh` + `states`, both (..., width), in the place of `fresh`, and return it.

    The sum and all that follows are computed in float32.
    """
    assert fresh.is_contiguous(), "products are"
    width = fresh.shape[-1]
    _compiled.normalise_sum(
        fresh.data_ptr(),
        states.data_ptr(),
        norm.weight.data_ptr(),
        norm.bias.data_ptr(),
        fresh.numel() // width,
        width,
        norm.eps,
        _openmp("GOMP_parallel"),
        torch.get_num_threads(),
    )
    return fresh


@dataclass(frozen=True)
class LayerTable:
    """Where the weights of a model's layers lie, all of them bfloat16.

    Args:
        addresses: (layers, 12) int64, a weight and a bias each: of the linear layers that make query, key and value
            side by side, that follow attention, that widen and that narrow, and of the norms behind the second and the
            last. Weights of linear layers are in the order of `in_tiles`.
        width: Of hidden states.
        inner_width: Of what is widened.
        heads: The number of attention heads.
        epsilon: Of the norms.
    """

    addresses: Tensor
    width: int
    inner_width: int
    heads: int
    epsilon: float


def can_run_layers(width: int, inner_width: int, heads: int) -> bool:
    """Return whether `run_layers` takes a model of these sizes: heads 32 or 64 wide, a CPU with AMX."""
    return (
        _has_amx()
        and bool(_openmp("GOMP_barrier"))
        and width // heads in _HEAD_WIDTHS
        and inner_width % TILE_SIDE == 0
        and width <= _WIDEST_ROW
    )


def in_tiles(weights: Tensor) -> Tensor:
    """Return (outputs, inputs) in the order (outputs / 32, inputs / 32, 16, 32, 2): pairs of inputs for 32 outputs."""
    outputs, inputs = weights.shape
    blocks = weights.view(outputs // TILE_SIDE, TILE_SIDE, inputs // TILE_SIDE, TILE_SIDE // 2, 2)
    return blocks.permute(0, 2, 3, 1, 4).contiguous()


def run_layers(table: LayerTable, states: Tensor, starts: Tensor) -> Tensor:
    """Put the last layer's states in the place of the first one's input, and return them.

    Args:
        table: The layers.
        states: (1, tokens, width) bfloat16, contiguous.
        starts: (texts + 1,) int32, where each text begins, and the end.
    """
    assert _is_bfloat16_on_cpu(states) and states.is_contiguous() and _has_amx()
    _compiled.run_layers(
        table.addresses.data_ptr(),
        len(table.addresses),
        table.width,
        table.inner_width,
        table.heads,
        table.epsilon,
        states.data_ptr(),
        starts.data_ptr(),
        len(starts) - 1,
        _openmp("GOMP_parallel"),
        _openmp("GOMP_barrier"),
        torch.get_num_threads(),
    )
    return states


def _is_bfloat16_on_cpu(states: Tensor) -> bool:
    return states.dtype is torch.bfloat16 and states.is_cpu


def _strided(states: Tensor) -> tuple[int, int, int]:
    row_stride, head_stride, number_stride = states.stride()
    assert number_stride == 1, "the numbers of a head lie side by side"
    return states.data_ptr(), row_stride, head_stride


@cache
def _has_avx512() -> bool:
    return _compiled is not None and bool(_openmp("GOMP_parallel")) and _compiled.has_avx512()


@cache
def _has_amx() -> bool:
    return _has_avx512() and _compiled.has_amx()


@cache
def _openmp(name: str) -> int:
    """Return the address of a function of torch's own OpenMP library, 0 where that has no such name.

    A second OpenMP library would bring threads of its own, and each would wait for work in the other's way.
    """
    function = getattr(ctypes.CDLL(None), name, None)
    return ctypes.cast(function, ctypes.c_void_p).value or 0 if function else 0
