"""A document's metadata by type, for databases that index each type in a field of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flagvec.filters.dates import epoch_microseconds, read_moment
from flagvec.filters.portable import is_segment


@dataclass(frozen=True, slots=True)
class TypedFields:
    """The values of a document's metadata that filters can find: lists of one type, by the path of the field.

    Args:
        strings: The strings, including dates.
        numbers: The numbers, int or float.
        booleans: The booleans.
        moments: The strings that `flagvec.filters.dates.read_moment` reads, in microseconds since 1970.
        present: The fields for which ``exists`` holds. An object has no values but is in this list.
    """

    strings: dict[str, list[str]] = field(default_factory=dict)
    numbers: dict[str, list[int | float]] = field(default_factory=dict)
    booleans: dict[str, list[bool]] = field(default_factory=dict)
    moments: dict[str, list[int]] = field(default_factory=dict)
    present: list[str] = field(default_factory=list)


def typed_fields(metadata: Mapping[str, Any]) -> TypedFields:
    """Return the values that filters can find, in the order of the metadata.

    A list has the values of its elements; lists and objects in it are ignored. A key that filters cannot name is left
    out with everything below it.

    Example:
        >>> typed_fields({"lang": "en", "size": {"pages": [12, 1.5]}}).numbers
        {'size.pages': [12, 1.5]}
    """
    fields = TypedFields()
    _collect(metadata, "", fields)
    return fields


def _collect(metadata: Mapping[str, Any], prefix: str, fields: TypedFields) -> None:
    for key, value in metadata.items():
        if value is None or value == [] or not is_segment(key):
            continue
        path = prefix + key
        fields.present.append(path)
        if isinstance(value, Mapping):
            _collect(value, f"{path}.", fields)
        else:
            for one in value if isinstance(value, list) else [value]:
                _add(one, path, fields)


def _add(value: Any, path: str, fields: TypedFields) -> None:
    match value:
        case bool():
            fields.booleans.setdefault(path, []).append(value)
        case int() | float():
            fields.numbers.setdefault(path, []).append(value)
        case str():
            fields.strings.setdefault(path, []).append(value)
            if (moment := read_moment(value)) is not None:
                fields.moments.setdefault(path, []).append(epoch_microseconds(moment))
