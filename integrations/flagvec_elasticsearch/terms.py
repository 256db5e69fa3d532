"""Typed metadata as the terms of keyword fields: what documents are written with and filters look for.

Elasticsearch has no field type that holds any metadata and filters it exactly. Dynamic mapping fixes a field's type by
the first document and refuses the next of another type, adds a field to the mapping for every name, 1,000 at most, and
cannot have both ``a`` and ``a.b``; ``flattened`` takes numbers for strings. So each type has one keyword field, and a
value is a term of it that begins with the name: ``lang=en``. There are as many names as one likes, every value is
compared with values of its own type alone, and a list is several terms. Numbers are written so that terms are ordered
as the numbers are, for ranges are ranges of terms.
"""

from __future__ import annotations

import hashlib
import struct
from datetime import datetime

from flagvec.filters.dates import epoch_microseconds
from flagvec.filters.portable import EXACT_INTEGERS
from flagvec.filters.typed_values import TypedFields

# A document with a term of over 32,766 bytes is refused. Equality needs no more of a long string than a hash.
_LONGEST_STRING = 256
_SIGN = 1 << 63
_ALL_BITS = (1 << 64) - 1


def typed_terms(fields: TypedFields) -> dict[str, list[str]]:
    """Return the terms of a document's metadata for each typed field that has any.

    ``integers`` repeats those whole numbers that ``numbers``, which are float64, cannot tell from their neighbours.

    Example:
        >>> typed_terms(TypedFields(strings={"lang": ["en"]}, present=["lang"]))
        {'present': ['lang'], 'strings': ['lang=en']}
    """
    numbers = [(path, value) for path, values in fields.numbers.items() for value in values]
    terms = {
        "present": list(fields.present),
        "strings": [string_term(path, value) for path, values in fields.strings.items() for value in values],
        "booleans": [boolean_term(path, value) for path, values in fields.booleans.items() for value in values],
        "numbers": [number_term(path, value) for path, value in numbers],
        "integers": [integer_term(path, value) for path, value in numbers if is_beyond_float(value)],
        "moments": [_moment_term(path, value) for path, values in fields.moments.items() for value in values],
    }
    return {name: values for name, values in terms.items() if values}


def string_term(path: str, value: str) -> str:
    """Return the term of a string: the string itself, or its SHA-256 if it is long.

    No path has ``=`` or ``#`` in it, so that no term stands for two values.

    Example:
        >>> string_term("lang", "en")
        'lang=en'
    """
    encoded = value.encode()
    if len(encoded) <= _LONGEST_STRING:
        return f"{path}={value}"
    return f"{path}#{hashlib.sha256(encoded).hexdigest()}"


def boolean_term(path: str, value: bool) -> str:
    """Return the term of a truth value, like ``draft=true``."""
    return f"{path}={'true' if value else 'false'}"


def number_term(path: str, value: int | float) -> str:
    """Return the term of a number as float64: 16 hexadecimal digits that are ordered as the numbers are.

    Example:
        >>> number_term("n", -1) < number_term("n", 0) < number_term("n", 0.5) < number_term("n", 10)
        True
    """
    # Adding 0.0 makes -0.0 the 0.0 that it equals.
    (bits,) = struct.unpack(">Q", struct.pack(">d", float(value) + 0.0))
    return _ordered(path, ~bits & _ALL_BITS if bits & _SIGN else bits | _SIGN)


def integer_term(path: str, value: int | float) -> str:
    """Return the term of a whole number, exact to the last digit, like ``serial=9007199254740993``."""
    return f"{path}={value}"


def moment_term(path: str, value: datetime) -> str:
    """Return the term of an aware datetime, to the microsecond; terms are ordered as the moments are."""
    return _moment_term(path, epoch_microseconds(value))


def is_beyond_float(value: int | float) -> bool:
    """Return whether a number is a whole one that float64 does not tell from its neighbours."""
    return isinstance(value, int) and abs(value) >= EXACT_INTEGERS


def span(path: str) -> tuple[str, str]:
    """Return the bounds of all ordered terms of a path: the first included, the second not."""
    # ">" is the character after "=", and in no path.
    return f"{path}=", f"{path}>"


def _moment_term(path: str, microseconds: int) -> str:
    return _ordered(path, microseconds + _SIGN)


def _ordered(path: str, value: int) -> str:
    return f"{path}={value:016x}"
