"""Metadata as JSON has it: what a document may carry, copied into JSON's own types."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

import numpy as np

from flagvec.arguments import shown
from flagvec.engine.unicode import valid_unicode

# Deeper metadata would exceed the nesting that protobuf, and so gRPC, allows. Some engines write it and then cannot
# read it back: qdrant-edge 0.9 accepts 200 levels and never opens that store again.
MAX_METADATA_DEPTH = 30

_LEAST_INTEGER, _GREATEST_INTEGER = -(2**63), 2**63 - 1
_TAKEN = "metadata takes None, bool, int, float, str, list, dict, and dates, UUIDs, paths, Enums and numpy scalars"


def plain_metadata(metadata: Any, document: str) -> dict[str, Any]:
    """Return a copy of a document's metadata in JSON's own types.

    Args:
        metadata: A mapping with keys that are ``str``.
        document: What messages call the document.

    Raises:
        TypeError: It is not a mapping, or holds a value that JSON cannot hold; names the place.
        ValueError: A number that is not finite or over 64 bits, a string that is not valid Unicode, or more than 30
            levels; names the place.
    """
    if not isinstance(metadata, Mapping):
        raise TypeError(f"{document}: metadata is {type(metadata).__name__}, not a dict")
    return {_plain_key(key, document, ()): _plain_value(value, document, (key,)) for key, value in metadata.items()}


def _plain_value(value: Any, document: str, path: tuple[Any, ...]) -> Any:
    # Most values are strings, and `match` would first ask two other questions.
    if type(value) is str:
        return _valid_text(value, document, path)
    match value:
        # Enum and np.generic come first, because some of their values are also a str, an int or a float.
        case Enum():
            return _plain_value(value.value, document, path)
        case np.generic():
            return _plain_scalar(value, document, path)
        case str():
            return _valid_text(value, document, path)
        case None | bool():
            return value
        case int():
            if not _LEAST_INTEGER <= value <= _GREATEST_INTEGER:
                place = _place(document, path)
                raise ValueError(f"{place} is {shown(value)}, which is over 64 bits: store it as a str")
            return int(value)
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{_place(document, path)} is {value}, which JSON cannot hold: store None or a str")
            return float(value)
        case date():
            return _iso_8601(value, document, path)
        case UUID() | PurePath():
            return str(value)
        case Mapping() | list() | tuple():
            return _plain_container(value, document, path)
        case Decimal():
            raise TypeError(
                f"{_place(document, path)} is Decimal('{value}'), which JSON cannot hold exactly: store str(...) to "
                "keep its digits, or float(...) to filter by ranges"
            )
    raise TypeError(f"{_place(document, path)} is {type(value).__name__}; {_TAKEN}")


def _plain_container(value: Any, document: str, path: tuple[Any, ...]) -> Any:
    if len(path) >= MAX_METADATA_DEPTH:
        raise ValueError(f"{_place(document, path)[:80]}... is nested more than {MAX_METADATA_DEPTH} levels deep")
    if isinstance(value, Mapping):
        return {
            _plain_key(key, document, path): _plain_value(one, document, (*path, key)) for key, one in value.items()
        }
    return [_plain_value(one, document, (*path, index)) for index, one in enumerate(value)]


def _plain_scalar(value: np.generic, document: str, path: tuple[Any, ...]) -> Any:
    if isinstance(value, np.datetime64):
        # datetime holds microseconds. Finer units, and years after 9999, would become an int.
        moment = value.astype("datetime64[us]").item()
        if not isinstance(moment, datetime):
            raise ValueError(f"{_place(document, path)} is {value!r}, which ISO 8601 cannot write: store None or a str")
        return moment.isoformat()
    plain = float(value) if isinstance(value, np.floating) else value.item()
    if isinstance(value, np.timedelta64) or isinstance(plain, np.generic):
        raise TypeError(f"{_place(document, path)} is {type(value).__name__}; {_TAKEN}")
    return _plain_value(plain, document, path)


def _iso_8601(value: date, document: str, path: tuple[Any, ...]) -> str:
    # pandas' Timestamp may hold nanoseconds, which ISO 8601 readers and our filters do not read.
    if isinstance(value, datetime) and type(value) is not datetime:
        if value != value:
            raise ValueError(f"{_place(document, path)} is {value}, which is no time: store None")
        value = datetime.combine(value.date(), value.timetz())
    return value.isoformat()


def _plain_key(key: Any, document: str, path: tuple[Any, ...]) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{_place(document, path)} has the key {key!r:.80}; keys of metadata are str")
    return _valid_text(key, document, path)


def _valid_text(text: str, document: str, path: tuple[Any, ...]) -> str:
    if not text.isascii() and text != valid_unicode(text):
        raise ValueError(f"{_place(document, path)} holds a lone surrogate, which is not valid Unicode: {text!r:.80}")
    # Not str(text), which an Enum of strings overrides.
    return str.__str__(text)


def _place(document: str, path: tuple[Any, ...]) -> str:
    return f"{document}: metadata" + "".join(f"[{key!r}]" for key in path)
