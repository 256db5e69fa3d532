"""ColBERT vectors in half precision as text, for databases that keep them without comparing them."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray

_HALF = np.dtype("<f2")


def rows_to_text(rows: NDArray[np.float32]) -> str:
    """Return (tokens, dimension) vectors as base64 of little-endian float16.

    Example:
        >>> rows_to_text(np.array([[1.0, 0.0]], dtype=np.float32))
        'ADwAAA=='
    """
    return base64.b64encode(rows.astype(_HALF).tobytes()).decode("ascii")


def rows_from_text(text: str, dimension: int) -> NDArray[np.float32]:
    """Return the (tokens, dimension) float32 vectors that `rows_to_text` encoded; an empty text has no rows."""
    return np.frombuffer(base64.b64decode(text), dtype=_HALF).reshape(-1, dimension).astype(np.float32)


def text_size(rows: int, dimension: int) -> int:
    """Return the length of the text that `rows_to_text` makes of (rows, dimension) vectors."""
    return base64_size(rows * dimension * _HALF.itemsize)


def base64_size(size: int) -> int:
    """Return the length of the base64 text of `size` bytes."""
    return -(-size // 3) * 4
