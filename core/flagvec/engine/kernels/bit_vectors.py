"""The kernel that compares queries with ColBERT vectors of one bit a number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flagvec.engine.kernels.availability import _compiled, can_run, why_not

_VECTOR = 16
_VECTORS_TOGETHER = 4  # as in bit_sums.c
_TILE_COLUMNS, _TILE_BYTES = 16, 64  # of a tile, as in tiles.h
_MOST_INT8 = 127
_MOST_TILE_WIDTH = 65_536  # sums of wider vectors could exceed int32


def can_sum_bits() -> bool:
    """Return whether `bit_sums` runs: a CPU with AVX512."""
    return can_run("sums of bits")


def bit_sums(vectors: NDArray[np.float32], bits: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return for each row of bits, and each vector, the sum of the vector's numbers whose bit is 1.

    With AMX, each number of a vector is rounded to a step of 1 / 32,639 of the vector's largest one.

    Args:
        vectors: (vectors, width) float32, finite.
        bits: (rows, bytes) uint8, the first number's bit is the lowest one of the first byte. A row may be longer than
            the width, and has two bytes for every 16 numbers, the last ones included.

    Returns:
        (rows, vectors) float32.

    Raises:
        ValueError: `can_sum_bits` is false, or the bits have another type or too few bytes a row.
    """
    bits = np.ascontiguousarray(bits)
    needed = 2 * -(-vectors.shape[1] // _VECTOR)
    if not can_run("sums of bits"):
        raise ValueError(f"bit_sums cannot run: {why_not('sums of bits')}; ask can_sum_bits first")
    if bits.dtype != np.uint8 or bits.shape[1] < needed:
        raise ValueError(
            f"bits holds {bits.dtype} in rows of {bits.shape[1]}; {vectors.shape[1]} numbers take uint8 in rows of "
            f"{needed} or more"
        )
    fits_tiles = can_run("sums of bits in tiles") and vectors.shape[1] <= _MOST_TILE_WIDTH
    return (_bit_sums_in_tiles if fits_tiles else _bit_sums)(vectors, bits)


def _bit_sums(vectors: NDArray[np.float32], bits: NDArray[np.uint8]) -> NDArray[np.float32]:
    padded = _padded(vectors, _VECTORS_TOGETHER, _VECTOR)
    rows, row_bytes = bits.shape
    sums = np.empty((rows, len(padded)), dtype=np.float32)
    _compiled.bit_sums(
        padded.ctypes.data, len(padded), padded.shape[1], bits.ctypes.data, rows, row_bytes, sums.ctypes.data
    )
    return sums[:, : len(vectors)]


def _bit_sums_in_tiles(vectors: NDArray[np.float32], bits: NDArray[np.uint8]) -> NDArray[np.float32]:
    padded = _padded(vectors, _TILE_COLUMNS, _TILE_BYTES)
    steps = np.abs(padded).max(axis=1, initial=0) / np.float32(_MOST_INT8 * 256 + _MOST_INT8)
    numbers = np.rint(padded / np.where(steps > 0, steps, 1)[:, None]).astype(np.int32)
    high = (numbers + 128) >> 8
    groups, blocks = len(padded) // _TILE_COLUMNS, padded.shape[1] // _TILE_BYTES
    halves = np.stack([high, numbers - 256 * high]).astype(np.int8)
    # The order of B, as bit_sums.h has it.
    halves = halves.reshape(2, groups, _TILE_COLUMNS, blocks, _TILE_BYTES // 4, 4).transpose(1, 3, 0, 4, 2, 5)
    parts = np.ascontiguousarray(halves)
    rows, row_bytes = bits.shape
    sums = np.empty((rows, len(padded)), dtype=np.float32)
    _compiled.bit_sums_in_tiles(
        parts.ctypes.data, steps.ctypes.data, groups, blocks, bits.ctypes.data, rows, row_bytes, sums.ctypes.data
    )
    return sums[:, : len(vectors)]


def _padded(vectors: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """Return vectors with zeros after them, so that both sizes are multiples."""
    count, width = vectors.shape
    padded = np.zeros((-(-count // rows) * rows, -(-width // columns) * columns), np.float32)
    padded[:count, :width] = vectors
    return padded
