"""Numbers and moments as unsigned 64-bit keys that order as they do, for databases that compare terms of text."""

from __future__ import annotations

import numpy as np

_SIGN = 1 << 63
_ALL_BITS = (1 << 64) - 1


def number_key(number: float) -> int:
    """Return an unsigned 64-bit integer that orders as the number does as float64; -0.0 equals 0.0.

    Example:
        >>> number_key(-1) < number_key(0) < number_key(0.5) < number_key(10)
        True
    """
    # Adding 0.0 turns -0.0 into 0.0.
    bits = int(np.float64(float(number) + 0.0).view(np.uint64))
    return bits ^ _ALL_BITS if bits & _SIGN else bits | _SIGN


def moment_key(microseconds: int) -> int:
    """Return an unsigned 64-bit integer that orders as moments do, given in microseconds since 1970."""
    return microseconds + _SIGN
