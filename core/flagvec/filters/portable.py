"""The portable filter: which documents a verb is about, in one form for every store.

A filter is a dict. Each key is a field of the metadata, and all keys must hold:

    {"lang": "en", "year": {"gte": 2020, "lt": 2024}, "tag": {"in": ["a", "b"]}, "draft": {"exists": False}}

A field takes a value, which it must equal, or operators: ``eq``, ``ne``, ``in``, ``not in``, ``gt``, ``gte``, ``lt``,
``lte`` and ``exists``. The keys ``and`` and ``or`` take a list of filters, ``not`` takes one filter. A ``$`` before an
operator changes nothing, so that ``{"year": {"$gte": 2020}}`` and ``{"$and": [...]}`` mean the same. `matches` says
what each operator means, and `parse_filter` what it takes.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, TypeAlias

import numpy as np

from flagvec.arguments import shown
from flagvec.engine.unicode import valid_unicode
from flagvec.filters.dates import as_moment, read_moment

Operator = Literal["eq", "in", "gt", "gte", "lt", "lte", "exists"]
Value = str | bool | int | float | datetime

# Deeper filters would exceed the nesting that protobuf, and so gRPC, allows.
MAX_FILTER_DEPTH = 16
MAX_SEGMENT_LENGTH = 64
_SEGMENT = re.compile(rf"[\w-]{{1,{MAX_SEGMENT_LENGTH}}}")
# Below this, a float64 holds each whole number exactly, and no other whole number rounds to it.
EXACT_INTEGERS = 2**53

_RANGES = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
_NEGATED = {"ne": "eq", "not in": "in"}
# Chroma's, Pinecone's and MongoDB's name for "not in".
_OTHER_NAMES = {"nin": "not in"}
_OPERATORS = ("eq", "ne", "in", "not in", *_RANGES, "exists")


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on one field.

    Args:
        field: The path of the field, its segments joined by ``"."``.
        operator: ``eq``, ``in``, ``gt``, ``gte``, ``lt``, ``lte`` or ``exists``.
        value: ``eq``: a str, bool, int, finite float or aware datetime in UTC; ``in``: a tuple of at least one of
            these, of one type or several; ``gt`` to ``lte``: an int, float or datetime; ``exists``: True.
    """

    field: str
    operator: Operator
    value: Any

    @property
    def path(self) -> tuple[str, ...]:
        """The keys that lead to the field, from the outermost in."""
        return tuple(self.field.split("."))


@dataclass(frozen=True, slots=True)
class All:
    """Holds where each part holds; of no parts, everywhere."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Any_:
    """Holds where one part or more holds; of no parts, nowhere."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Holds where the part does not."""

    part: Filter


@dataclass(frozen=True, slots=True)
class NativeFilter:
    """A filter in a database's own terms, passed to it as it is.

    Args:
        value: For Qdrant ``models.Filter`` or qdrant-edge's ``Filter``, for Milvus an expression, for Elasticsearch a
            query dict. Stores also take all of these but the dict as they are.
    """

    value: Any


Filter = Condition | All | Any_ | Not
# `object` stands for the filter classes of the databases, which core does not import.
FilterLike: TypeAlias = Mapping[str, Any] | Filter | NativeFilter | object


def parse_filter(value: FilterLike, is_native: Callable[[Any], bool] = lambda value: False) -> Filter | NativeFilter:
    """Return a filter as a tree; a parsed filter and a `NativeFilter` are returned as they are.

    ``ne``, ``not in`` and ``exists: False`` become `Not` of their opposite, several keys or operators become `All`, an
    empty ``in`` becomes `Any_` of nothing. A date is its midnight; a time without a zone is in UTC.

    Args:
        value: A dict, a parsed filter, a `NativeFilter`, or a filter of the database's own.
        is_native: Tells whether a value is a filter of the database's own.

    Raises:
        TypeError: The filter, or a value in it, is of a type that filters do not take; names the place.
        ValueError: An unknown operator, a field name that cannot be filtered by, a number that is not finite or over 64
            bits, a string that is not valid Unicode, or nesting of over 16 levels; names the place.

    Example:
        >>> parse_filter({"year": {"gte": 2020}})
        Condition(field='year', operator='gte', value=2020)
    """
    if isinstance(value, (NativeFilter, Condition, All, Any_, Not)):
        return value
    if is_native(value):
        return NativeFilter(value)
    return _parsed(value, "filter", MAX_FILTER_DEPTH)


def matches(filter: Filter, metadata: Mapping[str, Any]) -> bool:
    """Return whether a filter holds for a document's metadata. Every store must agree with this function.

    - A field that is missing or null meets no condition. Therefore ``ne`` and ``not in``, which negate, hold for it.
    - A list meets a condition if one of its elements does. Lists in lists and objects in lists are ignored.
    - Types are strict: ``"1"`` is not 1, and True is not 1. Numbers are compared as float64, so 1 equals 1.0. A whole
      number in the filter whose absolute value is 2**53 or more equals that whole number alone.
    - A range compares numbers as float64. A database may tell apart more whole numbers beyond 2**53.
    - A date or time in the filter is compared with the strings that `flagvec.filters.dates.read_moment` reads.
    - ``exists`` holds if the field is there and is neither null nor an empty list.

    Example:
        >>> matches(parse_filter({"tag": {"ne": "a"}}), {"tag": ["a", "b"]})
        False
    """
    match filter:
        case All(parts):
            return all(matches(part, metadata) for part in parts)
        case Any_(parts):
            return any(matches(part, metadata) for part in parts)
        case Not(part):
            return not matches(part, metadata)
        case Condition(_, "exists", _):
            return _found(filter.path, metadata) not in (None, [])
    found = _found(filter.path, metadata)
    return any(_holds(filter, one) for one in (found if isinstance(found, list) else [found]))


def check_field(name: Any, where: str) -> None:
    """Refuse a field name that cannot be filtered by; `where` names its place in errors.

    Raises:
        TypeError: It is not a ``str``.
        ValueError: A segment of the path is not one that `is_segment` takes.
    """
    if not isinstance(name, str):
        raise TypeError(f"{where}: a field's name is a str, not {type(name).__name__}")
    if not all(is_segment(segment) for segment in name.split(".")):
        raise ValueError(
            f"{where[:200]}: this field cannot be filtered by, because a field's name has 1 to {MAX_SEGMENT_LENGTH} "
            "letters, digits, '_' and '-', with '.' between the keys of nested objects"
        )


def is_segment(text: str) -> bool:
    """Return whether filters can name a key of the metadata: 1 to 64 letters of any script, digits, ``_`` and ``-``."""
    return _SEGMENT.fullmatch(text) is not None


def _found(path: tuple[str, ...], metadata: Any) -> Any:
    for segment in path:
        if not isinstance(metadata, Mapping) or segment not in metadata:
            return None
        metadata = metadata[segment]
    return metadata


def _holds(condition: Condition, found: Any) -> bool:
    match condition.operator:
        case "eq":
            return _equal(condition.value, found)
        case "in":
            return any(_equal(value, found) for value in condition.value)
    compare = _RANGES[condition.operator]
    if isinstance(condition.value, datetime):
        moment = read_moment(found) if isinstance(found, str) else None
        return moment is not None and bool(compare(moment, condition.value))
    return _is_number(found) and bool(compare(float(found), float(condition.value)))


def _equal(wanted: Value, found: Any) -> bool:
    if isinstance(wanted, datetime):
        return isinstance(found, str) and read_moment(found) == wanted
    if not _is_number(wanted):
        return type(found) is type(wanted) and bool(found == wanted)
    if isinstance(wanted, int) and abs(wanted) >= EXACT_INTEGERS:
        return isinstance(found, int) and found == wanted
    return _is_number(found) and float(found) == float(wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _parsed(value: Any, where: str, levels: int) -> Filter:
    if not isinstance(value, Mapping):
        raise TypeError(f"{where} takes a dict like {{'lang': 'en'}} or a NativeFilter, not {type(value).__name__}")
    if levels == 0:
        raise ValueError(f"{where[:80]}... is nested more than {MAX_FILTER_DEPTH} levels deep")
    return _all([_part(key, item, f"{where}[{key!r}]", levels - 1) for key, item in value.items()])


def _part(key: Any, item: Any, where: str, levels: int) -> Filter:
    if key in ("$and", "$or", "$not"):
        key = key[1:]
    if key == "not":
        return Not(_parsed(item, where, levels))
    if key in ("and", "or"):
        if not isinstance(item, (list, tuple)):
            raise TypeError(f"{where} takes a list of filters, not {type(item).__name__}")
        parts = [_parsed(part, f"{where}[{index}]", levels) for index, part in enumerate(item)]
        return _all(parts) if key == "and" else Any_(tuple(parts))
    check_field(key, where)
    operators = item if isinstance(item, Mapping) else {"eq": item}
    if not operators:
        raise ValueError(f"{where} names no operator: choose {', '.join(_OPERATORS)}")
    return _all([_condition(key, name, given, f"{where}[{name!r}]") for name, given in operators.items()])


def _all(parts: list[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _condition(field: str, name: Any, value: Any, where: str) -> Filter:
    if isinstance(name, str):
        name = _OTHER_NAMES.get(name.removeprefix("$"), name.removeprefix("$"))
    if name not in _OPERATORS:
        raise ValueError(f"{where} is no operator: choose {', '.join(_OPERATORS)}")
    if name in _NEGATED:
        return Not(_condition(field, _NEGATED[name], value, where))
    if name == "exists":
        if not isinstance(value, bool):
            raise TypeError(f"{where} takes True or False, not {type(value).__name__}")
        there = Condition(field, "exists", True)
        return there if value else Not(there)
    if name == "in":
        if not isinstance(value, (list, tuple, set, frozenset)):
            raise TypeError(f"{where} takes a list of values, not {type(value).__name__}")
        values = tuple(_value(item, f"{where}[{index}]") for index, item in enumerate(value))
        return Condition(field, "in", values) if values else Any_(())
    checked = _value(value, where)
    if name in _RANGES and isinstance(checked, (str, bool)):
        raise TypeError(f"{where} takes a number, date or datetime, not {type(value).__name__}")
    return Condition(field, name, checked)


def _value(value: Any, where: str) -> Value:
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[us]").item()
    elif isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (date, datetime)):
        return as_moment(value)
    if isinstance(value, str):
        if value != valid_unicode(value):
            raise ValueError(f"{where[:200]} is not valid Unicode: it holds a surrogate")
        return value
    if not isinstance(value, (bool, int, float)):
        raise TypeError(
            f"{where} takes a str, bool, number, date or datetime, not {type(value).__name__}: "
            "say {'in': [...]} for one of several values, and {'exists': False} for none"
        )
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"{where[:200]} is {shown(value)}, over 64 bits: compare a str")
    if not math.isfinite(value):
        raise ValueError(f"{where} is {value}: a number in a filter is finite")
    return value
