"""`ColbertStorage`: how a store keeps ColBERT vectors as codes, and the argument ``colbert`` that chooses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from flagvec.late_interaction.codec import NUMBERS_AT_ONCE, Bits, Codes, ColbertCodec
from flagvec.late_interaction.pooling import pooled_rows

if TYPE_CHECKING:
    from typing_extensions import Self

MOST_POOL = 4
# The error of a dot product falls with the width of the vectors, so that one bit a number is enough from here on.
_WIDE = 768


@dataclass(frozen=True)
class ColbertStorage:
    """How ColBERT vectors become the codes that every store keeps and compares alike.

    Args:
        bits: Bits a number: 1, 2, 4, 8 or 16. None takes 1 for vectors of 768 numbers or more and 4 for others.
            Wide vectors need fewer bits for scores of the same accuracy.
        pool: 1 keeps every vector. 2, 3 or 4 keeps about so many times fewer, the means of clusters of similar ones.
        seed: Chooses the rotation before a vector is packed. Codes of different seeds do not go together.

    Raises:
        TypeError: An argument is not a whole number.
        ValueError: A number that is not possible.

    Example:
        >>> storage = ColbertStorage(pool=2)
        >>> storage.encode(np.eye(200, 1024, dtype=np.float32)).shape
        (100, 130)
    """

    bits: Bits | None = None
    pool: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if (name, value) != ("bits", None) and (not isinstance(value, int) or isinstance(value, bool)):
                raise TypeError(f"{name}={value!r}: ColbertStorage takes a whole number, not {type(value).__name__}")
        if self.bits not in (None, *get_args(Bits)):
            raise ValueError(f"bits={self.bits!r}: choose 1, 2, 4, 8 or 16, or None for what suits the vectors")
        if not 1 <= self.pool <= MOST_POOL:
            raise ValueError(f"pool={self.pool!r}: choose 1 to keep every vector, or up to {MOST_POOL} for fewer")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed!r}: give a whole number of zero or more")

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return what `to_json` wrote.

        Raises:
            TypeError: It has other names or types.
            ValueError: It has other numbers.
        """
        return cls(**values)

    def to_json(self) -> dict[str, int | None]:
        """Return ``bits``, ``pool`` and ``seed``."""
        return asdict(self)

    def resolved(self, dimension: int) -> Self:
        """Return this with `bits` chosen for vectors of the width `dimension`."""
        return replace(self, bits=self.bits or (1 if dimension >= _WIDE else 4))

    def codec(self, dimension: int) -> ColbertCodec:
        """Return what packs and compares vectors of the width `dimension`."""
        bits = self.resolved(dimension).bits
        assert bits is not None
        return ColbertCodec(dimension, bits, self.seed)

    def encode(self, rows: NDArray[np.float32]) -> Codes:
        """Return the codes, (vectors, `ColbertCodec.row_bytes`) uint8, of one document's (vectors, dimension) vectors.

        Raises:
            ValueError: Vectors that are not finite, or not a matrix.
        """
        if rows.ndim != 2:
            raise ValueError(f"rows has the shape {rows.shape}; give the vectors of one document, (vectors, dimension)")
        return self.codec(rows.shape[1]).encode(pooled_rows(rows, self.pool))

    def encode_all(self, documents: Sequence[NDArray[np.float32]]) -> list[Codes]:
        """Return what `encode` returns for each document, all of one width. Short ones take less time together."""
        from more_itertools import constrained_batches  # `import flagvec` loads numpy alone

        found: list[Codes] = []
        # Copies of this size stay in the processor's cache.
        for batch in constrained_batches(documents, NUMBERS_AT_ONCE, get_len=np.size, strict=False):
            pooled = [pooled_rows(rows, self.pool) for rows in batch]
            codes = self.codec(pooled[0].shape[1]).encode(np.concatenate(pooled) if len(pooled) > 1 else pooled[0])
            found += np.split(codes, np.cumsum([len(rows) for rows in pooled[:-1]]))
        return found


# The argument "compact" means this.
COMPACT = ColbertStorage()

ColbertChoice: TypeAlias = bool | Literal["native", "compact"] | ColbertStorage


def checked_colbert(choice: Any) -> ColbertChoice:
    """Return the argument ``colbert`` of a store.

    Raises:
        TypeError: It is neither a bool, a str nor a `ColbertStorage`.
        ValueError: It is a str that is not known.
    """
    if not isinstance(choice, (bool, str, ColbertStorage)):
        raise TypeError(f"colbert is {type(choice).__name__}: give True, False, 'native', 'compact' or ColbertStorage")
    if isinstance(choice, str) and choice not in ("native", "compact"):
        raise ValueError(f"colbert={choice!r}: choose True, False, 'native', 'compact' or a ColbertStorage")
    return choice  # type: ignore[return-value]
