"""The kernel that compares queries with ColBERT vectors of one bit a number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flagvec.engine.kernels.availability import _compiled, can_run, why_not

_VECTORS_TOGETHER = 4  # as in bit_sums.c
_ROWS_AT_ONCE, _WORD_BITS, _BITS_TOGETHER = 64, 32, 4  # as in bit_sums.h
_TILE_COLUMNS, _TILE_BYTES = 16, 64  # of a tile, as in tiles.h
_MOST_INT8 = 127
_MOST_TILE_WIDTH = 65_536  # sums of wider vectors could exceed int32
_FACTOR_BYTES = 2


def can_compare_bits() -> bool:
    """Return whether `BitVectors` can be made: a CPU with AVX512."""
    return can_run("sums of bits")


class BitVectors:
    """Vectors that are prepared for a comparison with rows of bits. Each row has a factor.

    A bit stands for 1/2 or -1/2. With AMX, each number of a vector is rounded to a step of 1 / 32,639 of the vector's
    largest one.

    Args:
        vectors: (vectors, width) float32, finite.

    Raises:
        ValueError: `can_compare_bits` is false.
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        if not can_compare_bits():
            raise ValueError(f"bits cannot be compared: {why_not('sums of bits')}; ask can_compare_bits first")
        self._shape = vectors.shape
        in_tiles = can_run("sums of bits in tiles") and vectors.shape[1] <= _MOST_TILE_WIDTH
        padded = _padded(vectors, *((_TILE_COLUMNS, _TILE_BYTES) if in_tiles else (_VECTORS_TOGETHER, _WORD_BITS)))
        self._offsets = padded.sum(axis=1) / 2
        self._tiles = _tiles(padded) if in_tiles else None
        self._tables = None if in_tiles else _tables(padded)

    def best_products(self, rows: NDArray[np.uint8], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return each vector's best dot product with a row of each document.

        Args:
            rows: (rows, bytes) uint8, those of the first document, then those of the next. The first number's bit is
                the lowest one of the first byte. The last two bytes are the factor, a little-endian float16. A row has
                at least two bytes for every 16 numbers.
            lengths: (documents,) how many rows each document has, 1 or more.

        Returns:
            (documents, vectors) float32.

        Raises:
            ValueError: The rows have another type, too few bytes, or another number than `lengths` says.
        """
        rows, lengths = np.ascontiguousarray(rows), np.ascontiguousarray(lengths, dtype=np.int64)
        self._check(rows, lengths)
        tables, tiles, count, words = self._tables, self._tiles, len(self._offsets), 0
        in_tables, in_tiles = (0, 0, 0), (0, 0, 0, 0)
        if tables is not None:
            words = tables.shape[1] * _BITS_TOGETHER // _WORD_BITS
            in_tables = tables.ctypes.data, len(tables), words
        if tiles is not None:
            in_tiles = tiles[0].ctypes.data, tiles[1].ctypes.data, *tiles[0].shape[:2]
        bits = np.empty((words, _ROWS_AT_ONCE), dtype=np.uint32)
        sums = np.empty((_ROWS_AT_ONCE, count), dtype=np.float32)
        best = np.empty((len(lengths), count), dtype=np.float32)
        _compiled.best_products(
            (in_tables, in_tiles, self._offsets.ctypes.data, count),
            (rows.ctypes.data, rows.shape[1], lengths.ctypes.data, len(lengths)),
            bits.ctypes.data,
            sums.ctypes.data,
            best.ctypes.data,
        )
        return best[:, : self._shape[0]]

    def _check(self, rows: NDArray[np.uint8], lengths: NDArray[np.int64]) -> None:
        width = self._shape[1]
        needed = -(-width // 8) + _FACTOR_BYTES
        if rows.dtype != np.uint8 or rows.shape[1] < needed:
            raise ValueError(
                f"rows holds {rows.dtype} in rows of {rows.shape[1]}; {width} numbers and a factor take uint8 in rows "
                f"of {needed} or more"
            )
        if lengths.min(initial=1) < 1 or lengths.sum() != len(rows):
            raise ValueError(
                f"lengths has the sum {lengths.sum()} and the minimum {lengths.min(initial=1)}: expected lengths of 1 "
                f"or more whose sum is {len(rows)}, the number of rows"
            )


def _tables(padded: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the tables of `VectorsInTables` in bit_sums.h."""
    indices, numbers = np.arange(2**_BITS_TOGETHER), np.arange(_BITS_TOGETHER)
    chosen = (indices[:, None] >> numbers & 1).astype(np.float32)
    blocks = padded.reshape(-1, _VECTORS_TOGETHER, padded.shape[1] // _BITS_TOGETHER, _BITS_TOGETHER)
    return np.ascontiguousarray((blocks @ chosen.T).transpose(0, 2, 1, 3))


def _tiles(padded: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return the parts and the steps of `VectorsInTiles` in bit_sums.h."""
    steps = np.abs(padded).max(axis=1, initial=0) / np.float32(_MOST_INT8 * 256 + _MOST_INT8)
    numbers = np.rint(padded / np.where(steps > 0, steps, 1)[:, None]).astype(np.int32)
    high = (numbers + 128) >> 8
    groups, blocks = len(padded) // _TILE_COLUMNS, padded.shape[1] // _TILE_BYTES
    halves = np.stack([high, numbers - 256 * high]).astype(np.int8)
    halves = halves.reshape(2, groups, _TILE_COLUMNS, blocks, _TILE_BYTES // 4, 4).transpose(1, 3, 0, 4, 2, 5)
    return np.ascontiguousarray(halves), steps


def _padded(vectors: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """Return vectors with zeros after them, so that both sizes are multiples."""
    count, width = vectors.shape
    padded = np.zeros((-(-count // rows) * rows, -(-width // columns) * columns), np.float32)
    padded[:count, :width] = vectors
    return padded
