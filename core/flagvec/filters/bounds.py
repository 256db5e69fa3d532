"""How large a filter may be: every database checks each of its conditions against many documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flagvec.filters.portable import (
    MAX_FILTER_DEPTH,
    All,
    Any_,
    Condition,
    Filter,
    FilterLike,
    NativeFilter,
    Not,
    parse_filter,
)

MAX_FILTER_CONDITIONS = 1_000  # every Elasticsearch takes 1,024 clauses in a query
MAX_FILTER_VALUES = 10_000
MAX_FILTER_BYTES = 4 * 2**20

# A level of a dict becomes two at most, such as {"and": [{"a": 1, "b": 2}]}; a negated operator is one more.
_MAX_LEVELS = 2 * MAX_FILTER_DEPTH + 1
_REMEDY = "say {'in': [...]} for several values of one field, ask in parts, or pass a NativeFilter"


def bounded_filter(value: FilterLike, is_native: Callable[[Any], bool] = lambda value: False) -> Filter | NativeFilter:
    """Return a filter as `parse_filter` does, if it is small enough for every database.

    Raises:
        TypeError: As in `parse_filter`.
        ValueError: As in `parse_filter`; or over 1,000 conditions, over 10,000 values of conditions, over 4 MiB of text
            in fields and values, or nesting of over 33 levels. A `NativeFilter` may have more.
    """
    filter = parse_filter(value, is_native)
    if not isinstance(filter, NativeFilter):
        _check_size(filter)
    return filter


def _check_size(filter: Filter) -> None:
    parts = values = text_bytes = 0
    for part, level in _parts(filter):
        if level > _MAX_LEVELS:
            raise ValueError(f"filter is nested more than {_MAX_LEVELS} levels deep: put alternatives side by side")
        parts += 1
        if isinstance(part, Condition):
            compared = part.value if part.operator == "in" else (part.value,)
            values += len(compared)
            text_bytes += sum(_text_bytes(one) for one in (part.field, *compared))
    for what, found, most in (
        ("conditions", parts, MAX_FILTER_CONDITIONS),
        ("values", values, MAX_FILTER_VALUES),
        ("bytes of text", text_bytes, MAX_FILTER_BYTES),
    ):
        if found > most:
            raise ValueError(f"filter has {found:,} {what}, and a store takes {most:,}: {_REMEDY}")


def _parts(filter: Filter) -> Iterator[tuple[Filter, int]]:
    """Yield every part of a filter, the filter itself among them, with its level, which counts from 1."""
    waiting = [(filter, 1)]
    while waiting:
        part, level = waiting.pop()
        yield part, level
        match part:
            case All(parts) | Any_(parts):
                waiting += [(one, level + 1) for one in parts]
            case Not(one):
                waiting.append((one, level + 1))


def _text_bytes(value: Any) -> int:
    return len(value.encode()) if isinstance(value, str) else 0
