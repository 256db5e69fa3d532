"""`ColbertCodec`: ColBERT vectors in a few bits a number, and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from flagvec.late_interaction.rotation import Rotation, random_rotation

Bits = Literal[1, 2, 4, 8, 16]
Codes = NDArray[np.uint8]

# The distance between the levels of the best uniform quantizer for numbers of a normal distribution with standard
# deviation 1: J. Max, "Quantizing for minimum distortion" (1960), table II. Rotated vectors come close to that.
_STEPS = {1: 1.596, 2: 0.9957, 4: 0.3352, 8: 0.0308}
_HALF = np.dtype("<f2")
# Numbers that are packed at once, 256 kB, so that they stay in the processor's cache.
NUMBERS_AT_ONCE = 65_536
# A number and its level have one sign, and no level is nearer to zero than 1/2. So the dot product of a vector of
# length 1 with its levels is at least half the sum of its absolute numbers, so at least 1/2. The rest is for rounding.
_MOST_UNIT_FACTOR, _MOST_UNIT_NUMBER, _INFINITE = np.array([2.01, 1.01, np.inf], _HALF).view("<u2").tolist()


@dataclass(frozen=True)
class ColbertCodec:
    """Packs ColBERT vectors into codes, as RaBitQ does: arXiv 2405.12497, and 2409.09913 for several bits.

    A vector is rotated at random, and each of its numbers becomes the nearest of ``2 ** bits`` levels. A factor makes
    the dot product with the code an unbiased estimate of the dot product with the vector. With 16 bits, the code is
    the vector in float16.

    A code is a row of bytes: the level of each number, the first number in the lowest bits; then the factor, a
    little-endian float16.

    Args:
        dimension: The width of the vectors.
        bits: Bits a number: 1, 2, 4, 8 or 16.
        seed: Chooses the rotation. Codes of different seeds do not go together.

    Raises:
        ValueError: An argument has a value that is not possible.

    Example:
        >>> codec = ColbertCodec(dimension=1024)
        >>> codec.encode(np.eye(3, 1024, dtype=np.float32)).shape
        (3, 130)
    """

    dimension: int
    bits: Bits = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.dimension, int) or self.dimension < 1:
            raise ValueError(f"dimension={self.dimension!r}: give the width of the vectors, 1 or more")
        if self.bits not in get_args(Bits):
            raise ValueError(f"bits={self.bits!r}: choose 1, 2, 4, 8 or 16")
        if not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"seed={self.seed!r}: give a whole number of zero or more")

    @property
    def row_bytes(self) -> int:
        """Bytes of one vector's code."""
        return -(-self.dimension * self.bits // 8) + (0 if self.bits == 16 else _HALF.itemsize)

    @property
    def middle(self) -> float:
        """The mean of all levels of fewer than 16 bits, which are counted from 0."""
        return ((1 << self.bits) - 1) / 2

    @cached_property
    def rotation(self) -> Rotation | None:
        """What rotates vectors before they are packed, and queries before they are compared; None for 16 bits."""
        return None if self.bits == 16 else random_rotation(self.dimension, self.seed)

    def encode(self, rows: NDArray[np.float32]) -> Codes:
        """Return the codes, (vectors, `row_bytes`) uint8, of (vectors, dimension) vectors.

        Raises:
            ValueError: Vectors of another width, not finite, or too long for the factor in float16.
        """
        rows = np.asarray(rows, dtype=np.float32, order="C")
        if rows.ndim != 2 or rows.shape[1] != self.dimension:
            raise ValueError(f"rows has the shape {rows.shape}; this codec takes (vectors, {self.dimension})")
        with np.errstate(over="ignore", invalid="ignore"):
            codes = rows.astype(_HALF).view(np.uint8) if self.rotation is None else self._quantized(rows, self.rotation)
        return self.checked(codes, "rows")

    def _quantized(self, rows: NDArray[np.float32], rotation: Rotation) -> Codes:
        codes = np.empty((len(rows), self.row_bytes), dtype=np.uint8)
        together = max(NUMBERS_AT_ONCE // self.dimension, 1)
        for start in range(0, len(rows), together):
            part = slice(start, start + together)
            levels, factors = _levels_and_factors(rotation.apply(rows[part]), self.bits, self.middle)
            codes[part, : -_HALF.itemsize] = _packed(levels, self.bits)
            codes[part, -_HALF.itemsize :] = factors.astype(_HALF)[:, None].view(np.uint8)
        return codes

    def decode(self, codes: Codes) -> NDArray[np.float32]:
        """Return the (vectors, dimension) float32 vectors that codes stand for.

        Raises:
            ValueError: Codes of another width, or damaged ones.
        """
        codes = self.checked(codes, "codes")
        rotated = self.numbers(codes) * self.factors(codes)[:, None]
        return rotated if self.rotation is None else self.rotation.undo(rotated)

    def from_bytes(self, data: bytes) -> Codes:
        """Return the codes of a document that was kept as bytes, row after row.

        Raises:
            ValueError: The bytes are not codes of this codec.
        """
        return self.checked(self.rows_of(data), "data")

    def rows_of(self, data: bytes) -> Codes:
        """Return bytes as the rows of codes, whose values are not checked.

        Raises:
            ValueError: The last row is not whole.
        """
        if len(data) % self.row_bytes:
            raise ValueError(f"{len(data)} bytes are no codes of {self.row_bytes} bytes a vector")
        return np.frombuffer(data, dtype=np.uint8).reshape(-1, self.row_bytes)

    def numbers(self, codes: Codes) -> NDArray[np.float32]:
        """Return (vectors, dimension) float32: the vectors, still rotated and each divided by its factor."""
        if self.bits == 16:
            return codes.view(_HALF).astype(np.float32)
        each = 8 // self.bits
        numbers = np.empty((len(codes), (self.row_bytes - _HALF.itemsize) * each), dtype=np.float32)
        for place, levels in enumerate(self.levels(codes)):
            np.subtract(levels, np.float32(self.middle), out=numbers[:, place::each])
        return numbers[:, : self.dimension]

    def levels(self, codes: Codes) -> Iterator[NDArray[np.uint8]]:
        """Yield for each place in a byte, of fewer than 16 bits, the level there: (vectors, bytes) uint8.

        The first place has the levels of the numbers 0, n, 2 n and so on, if a byte has n levels.
        """
        packed = codes[:, : -_HALF.itemsize]
        for shift in range(0, 8, self.bits):
            yield (packed >> np.uint8(shift)) & np.uint8(2**self.bits - 1)

    def factors(self, codes: Codes) -> NDArray[np.float32]:
        """Return the factor of each vector, (vectors,) float32."""
        if self.bits == 16:
            return np.ones(len(codes), dtype=np.float32)
        return np.ascontiguousarray(codes[:, -_HALF.itemsize :]).view(_HALF)[:, 0].astype(np.float32)

    def may_be_of_unit_vectors(self, codes: Codes) -> bool:
        """Return whether vectors of length 1 or less can have these codes. Most damaged codes show that they cannot."""
        return bool(self._largest_half(codes) <= (_MOST_UNIT_NUMBER if self.bits == 16 else _MOST_UNIT_FACTOR))

    def checked(self, codes: Codes, argument: str) -> Codes:
        """Return `codes` in one piece of memory, after checks.

        Raises:
            ValueError: They have another width or type, or hold a factor that is not finite or below zero.
        """
        if codes.dtype != np.uint8 or codes.ndim != 2 or codes.shape[1] != self.row_bytes:
            raise ValueError(
                f"{argument} holds {codes.dtype} of the shape {codes.shape}; codes of {self.bits} bits are uint8 of "
                f"the shape (vectors, {self.row_bytes})"
            )
        codes = np.ascontiguousarray(codes)
        if self._largest_half(codes) >= _INFINITE:
            raise ValueError(f"{argument} holds vectors that are not finite, or too long for float16")
        return codes

    def _largest_half(self, codes: Codes) -> int:
        """Return the bits of the largest factor, or of the largest absolute number if it has 16 bits.

        As integers, the bits of float16 have the order of the numbers, and infinity, NaN and negative numbers follow.
        """
        if self.bits == 16:
            return int((codes.view("<u2") & np.uint16(0x7FFF)).max(initial=0))
        return int(np.ascontiguousarray(codes[:, -_HALF.itemsize :]).view("<u2").max(initial=0))


def _levels_and_factors(
    rows: NDArray[np.float32], bits: int, middle: float
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the level of each number, counted from 0, and the factor of each row."""
    squares = np.einsum("ij,ij->i", rows, rows)
    if bits == 1:
        levels = (rows >= 0).view(np.uint8)
        products = np.einsum("ij->i", np.abs(rows)) / 2
    else:
        steps = _STEPS[bits] * np.sqrt(squares / rows.shape[1])
        # In place, because memory that is fresh for each step takes longer than the step itself.
        numbers = rows * (1 / np.where(steps > 0, steps, 1))[:, None]
        numbers += np.float32(middle + 0.5)
        np.clip(numbers, 0, 2 * middle, out=numbers)
        levels = numbers.astype(np.uint8)
        products = np.einsum("ij,ij->i", rows, np.subtract(levels, np.float32(middle), out=numbers))
    # A row of zeros has the factor 0, whatever its levels.
    return levels, squares / np.where(products > 0, products, 1)


def _packed(levels: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    if bits == 1:
        return np.packbits(levels, axis=1, bitorder="little")
    each = 8 // bits
    packed = np.zeros((len(levels), -(-levels.shape[1] // each)), dtype=np.uint8)
    for place in range(each):
        part = levels[:, place::each]
        packed[:, : part.shape[1]] |= part << np.uint8(place * bits)
    return packed
