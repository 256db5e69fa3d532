"""A document's metadata sorted by type, for databases that index each type in a field of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flagvec.filters.dates import epoch_microseconds, read_moment
from flagvec.filters.portable import is_segment


@dataclass(frozen=True, slots=True)
class TypedFields:
    """What a filter can find in a document's metadata: for each field, by path, its values of one type.

    Args:
        strings: The strings, dates among them.
        numbers: The numbers as they were, int or float.
        booleans: The truth values.
        moments: What `flagvec.filters.dates.read_moment` reads of the strings, in whole microseconds since 1970.
        present: The fields for which ``exists`` holds; one may have no values, as an object has none.
    """

    strings: dict[str, list[str]] = field(default_factory=dict)
    numbers: dict[str, list[int | float]] = field(default_factory=dict)
    booleans: dict[str, list[bool]] = field(default_factory=dict)
    moments: dict[str, list[int]] = field(default_factory=dict)
    present: list[str] = field(default_factory=list)


def typed_fields(metadata: Mapping[str, Any]) -> TypedFields:
    """Return the values that filters can find, in the order of the metadata.

    The values of a list are those of its elements; lists within lists and objects in lists have none. Keys that no
    filter can name, and what is below them, are left out.

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
