"""The kernel that compares queries with ColBERT vectors of one bit a number."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flagvec.engine.kernels.availability import _compiled, can_run, why_not

_ROWS_AT_ONCE, _WORD_BITS, _BITS_TOGETHER, _ZERO_SUM = 64, 32, 4, 1 << 15  # as in bit_sums.h
_VECTORS_BY_TABLES, _VECTORS_BY_BYTES = 4, 2  # of a block, as in bit_sums.c and bit_bytes.c
_VECTORS_BY_TILES = 16  # as in tiles.h
_TILE_BYTES = 64  # in a row of a tile, as in tiles.h
_MOST_INT8 = 127
_MOST_INTEGER_WIDTH = 65_536  # sums of wider vectors could exceed int32
_FACTOR_BYTES = 2


class _Kind(IntEnum):
    """`Kind` in bit_sums.h."""

    BY_TABLES = 0
    BY_BYTES = 1
    BY_TILES = 2


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """Vectors in the form for a kernel, and what `Vectors` in bit_sums.h needs else.

    Args:
        kind: The form of the tables.
        shape: That of the vectors, with the zeros after them.
        offsets: What is subtracted from the sums.
        tables: What a kernel reads.
        steps: What its integers are multiplied by; empty if there are none.
    """

    kind: _Kind
    shape: tuple[int, int]
    offsets: NDArray[np.float32]
    tables: NDArray[Any]
    steps: NDArray[np.float32]


def can_compare_bits() -> bool:
    """Return whether `BitVectors` can be made: a CPU with AVX512."""
    return can_run("sums of bits")


class BitVectors:
    """Vectors that are prepared for a comparison with rows of bits. Each row has a factor.

    A bit stands for 1/2 or -1/2. With AMX, each number of a vector is rounded to a step of 1 / 32,639 of the vector's
    largest one. With VBMI, each sum of four halves is rounded to a step of 1 / 32,767 of the largest one.

    Args:
        vectors: (vectors, width) float32, finite.

    Raises:
        ValueError: `can_compare_bits` is false.
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        if not can_compare_bits():
            raise ValueError(f"bits cannot be compared: {why_not('sums of bits')}; ask can_compare_bits first")
        self._shape = vectors.shape
        self._prepared = _prepared(vectors)

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
        prepared, (count, width) = self._prepared, self._prepared.shape
        words = width // _WORD_BITS
        indices = np.empty((2 * words, _ROWS_AT_ONCE), dtype=np.uint32)
        sums = np.empty((_ROWS_AT_ONCE, count), dtype=np.float32)
        best = np.empty((len(lengths), count), dtype=np.float32)
        tables, steps, offsets = (each.ctypes.data for each in (prepared.tables, prepared.steps, prepared.offsets))
        _compiled.best_products(
            (prepared.kind, tables, steps, len(prepared.tables), words, offsets, count),
            (rows.ctypes.data, rows.shape[1], lengths.ctypes.data, len(lengths)),
            indices.ctypes.data,
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


def _prepared(vectors: NDArray[np.float32]) -> _Prepared:
    """Return vectors in the form for the fastest kernel that can run."""
    takes_integers = vectors.shape[1] <= _MOST_INTEGER_WIDTH
    if takes_integers and can_run("sums of bits in tiles"):
        padded = _padded(vectors, _VECTORS_BY_TILES, _TILE_BYTES)
        return _Prepared(_Kind.BY_TILES, padded.shape, _half(padded), *_tiles(padded))
    if takes_integers and can_run("sums of bits in bytes"):
        padded = _padded(vectors, _VECTORS_BY_BYTES, _WORD_BITS)
        return _Prepared(_Kind.BY_BYTES, padded.shape, np.zeros(len(padded), np.float32), *_bytes(padded))
    padded = _padded(vectors, _VECTORS_BY_TABLES, _WORD_BITS)
    sums = _sums(padded)
    tables = sums.reshape(len(padded) // _VECTORS_BY_TABLES, _VECTORS_BY_TABLES, *sums.shape[1:])
    tables = np.ascontiguousarray(tables.transpose(0, 2, 1, 3))
    return _Prepared(_Kind.BY_TABLES, padded.shape, _half(padded), tables, np.empty(0, np.float32))


def _half(padded: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what is subtracted from sums of chosen numbers, so that a bit stands for 1/2 or -1/2."""
    half: NDArray[np.float32] = padded.sum(axis=1) / 2
    return half


def _sums(padded: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sums that the bits of an index choose of four numbers: (vectors, numbers / 4, 16)."""
    indices, numbers = np.arange(2**_BITS_TOGETHER), np.arange(_BITS_TOGETHER)
    chosen = (indices[:, None] >> numbers & 1).astype(np.float32)
    return padded.reshape(len(padded), padded.shape[1] // _BITS_TOGETHER, _BITS_TOGETHER) @ chosen.T


def _bytes(padded: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the tables and the steps of `bit_sums_in_bytes` in bit_sums.h, for bits that stand for 1/2 or -1/2."""
    sums = _sums(padded)
    # Sums around zero are half as large, and so are the steps.
    sums -= sums[..., -1:] / 2
    steps = np.abs(sums).max(axis=(1, 2), initial=0) / np.float32(_ZERO_SUM - 1)
    # In place, because memory that is fresh for each step takes longer than the step itself.
    sums /= np.where(steps > 0, steps, 1)[:, None, None]
    sums += np.float32(_ZERO_SUM + 0.5)
    # Steps of the smallest numbers are not exact.
    np.clip(sums, 0, 2 * _ZERO_SUM - 1, out=sums)
    parts = sums.astype("<u2")[..., None].view(np.uint8)
    blocks, words = len(padded) // _VECTORS_BY_BYTES, padded.shape[1] // _WORD_BITS
    parts = parts.reshape(blocks, _VECTORS_BY_BYTES, words, 4, 2, 2**_BITS_TOGETHER, 2)
    # From (block, vector, word, byte, half, index, part) to (block, word, half, vector, part, byte, index).
    tables = parts.transpose(0, 2, 4, 1, 6, 3, 5)
    return np.ascontiguousarray(tables), steps


def _tiles(padded: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return the tables and the steps of `bit_sums_in_tiles` in bit_sums.h."""
    steps = np.abs(padded).max(axis=1, initial=0) / np.float32(_MOST_INT8 * 256 + _MOST_INT8)
    numbers = np.rint(padded / np.where(steps > 0, steps, 1)[:, None]).astype(np.int32)
    high = (numbers + 128) >> 8
    groups, blocks = len(padded) // _VECTORS_BY_TILES, padded.shape[1] // _TILE_BYTES
    halves = np.stack([high, numbers - 256 * high]).astype(np.int8)
    halves = halves.reshape(2, groups, _VECTORS_BY_TILES, blocks, _TILE_BYTES // 4, 4).transpose(1, 3, 0, 4, 2, 5)
    return np.ascontiguousarray(halves), steps


def _padded(vectors: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """Return vectors with zeros after them, so that both sizes are multiples."""
    count, width = vectors.shape
    padded = np.zeros((-(-count // rows) * rows, -(-width // columns) * columns), np.float32)
    padded[:count, :width] = vectors
    return padded
