"""A random rotation that is cheap to compute. It spreads a vector's length evenly over its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Rotation:
    """A rotation of vectors: random signs, then a Walsh-Hadamard transform.

    A transform takes the order of ``dimension * log(dimension)`` steps, and a matrix ``dimension ** 2``. It needs a
    power of two. At other widths there are two: of the first numbers of a vector, then of the last, which overlap.

    Args:
        signs: (transforms, dimension) float32, each 1 or -1; what a vector is multiplied by before each transform.
        span: How many numbers a transform takes, the largest power of two up to the dimension.
    """

    signs: NDArray[np.float32]
    span: int

    def apply(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (rows, dimension) float32 vectors, rotated."""
        rotated: NDArray[np.float32] = rows * self.signs[0]
        self._transform(rotated, 0)
        for transform in range(1, len(self.signs)):
            rotated *= self.signs[transform]
            self._transform(rotated, transform)
        return rotated

    def undo(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the vectors that `apply` rotated."""
        vectors = rows.copy()
        for transform in reversed(range(len(self.signs))):
            self._transform(vectors, transform)
            vectors *= self.signs[transform]
        return vectors

    def _transform(self, rows: NDArray[np.float32], transform: int) -> None:
        start = transform * (rows.shape[1] - self.span)
        _walsh_hadamard(rows[:, start : start + self.span])


@lru_cache(maxsize=16)
def random_rotation(dimension: int, seed: int) -> Rotation:
    """Return the rotation of a seed, the same on every machine and with every version of numpy."""
    span = 1 << (dimension.bit_length() - 1)
    transforms = 1 if span == dimension else 2
    # numpy keeps the raw numbers of a bit generator, and may change those of its distributions (NEP 19).
    raw = np.random.PCG64(seed).random_raw(transforms * dimension)
    signs = np.where(raw >> np.uint64(63), np.float32(1), np.float32(-1))
    return Rotation(signs.reshape(transforms, dimension), span)


def _walsh_hadamard(rows: NDArray[np.float32]) -> None:
    """Overwrite (rows, width) vectors, whose width is a power of two, with their orthonormal transform.

    The transform is its own inverse.
    """
    count, width = rows.shape
    inner = 1 << (width.bit_length() - 1) // 2
    outer = width // inner
    # The matrix of a transform is the Kronecker product of two smaller ones.
    matrices = rows.reshape(count, outer, inner)
    np.matmul(_hadamard(outer), matrices @ _hadamard(inner), out=matrices)


@cache
def _hadamard(width: int) -> NDArray[np.float32]:
    matrix = np.ones((1, 1), dtype=np.float32)
    while len(matrix) < width:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return np.asarray(matrix / np.sqrt(width), dtype=np.float32)
