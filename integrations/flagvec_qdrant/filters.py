"""The portable filter as an engine's own; `Terms` says how an engine writes conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from flagvec.filters.portable import EXACT_INTEGERS, All, Any_, Condition, Filter, NativeFilter, Not
from flagvec_qdrant.convert import field_key


class Terms(Protocol):
    """The conditions of one engine. A filter is itself a condition."""

    def combined(self, must: Sequence[Any] = (), should: Sequence[Any] = (), must_not: Sequence[Any] = ()) -> Any:
        """Return the filter of these conditions; without any, it holds for every point."""

    def one_of(self, key: str, values: list[Any]) -> Any:
        """Return the condition that a field equals one of several strings, or one of several whole numbers."""

    def boolean(self, key: str, value: bool) -> Any:
        """Return the condition that a field is True, or that it is False."""

    def numbers(self, key: str, bounds: Mapping[str, float]) -> Any:
        """Return the condition that a number lies within bounds named ``gt``, ``gte``, ``lt`` and ``lte``."""

    def moments(self, key: str, bounds: Mapping[str, datetime]) -> Any:
        """Return the condition that a date or time lies within bounds."""

    def empty(self, key: str) -> Any:
        """Return the condition that a field is missing, null or an empty list."""

    def nowhere(self) -> Any:
        """Return a condition that no point meets."""


def native_filter(filter: Filter | NativeFilter | None, terms: Terms) -> Any:
    """Return an engine's filter; None for None, and a native filter as it is."""
    if filter is None:
        return None
    return filter.value if isinstance(filter, NativeFilter) else _filter(filter, terms)


def refuse_empty(filter: Filter | NativeFilter) -> None:
    """Raise a `ValueError` for a native filter without conditions, which would delete every document."""
    if not isinstance(filter, NativeFilter):
        return
    value = filter.value
    if not (value.must or value.should or value.must_not or value.min_should):
        raise ValueError("filter=Filter(): an empty filter holds for every document: to delete all, call drop()")


def _filter(filter: Filter, terms: Terms) -> Any:
    match filter:
        case All(parts):
            must = [_condition(part, terms) for part in parts if not isinstance(part, Not)]
            must_not = [_condition(part.part, terms) for part in parts if isinstance(part, Not)]
            return terms.combined(must=must, must_not=must_not)
        case Any_(()):
            return terms.combined(must=[terms.nowhere()])
        case Any_(parts):
            return terms.combined(should=[_condition(part, terms) for part in parts])
        case Not(part):
            return terms.combined(must_not=[_condition(part, terms)])
        case Condition():
            return terms.combined(must=[_condition(filter, terms)])


def _condition(filter: Filter, terms: Terms) -> Any:
    if not isinstance(filter, Condition):
        return _filter(filter, terms)
    key, value = field_key(filter.path), filter.value
    match filter.operator:
        case "exists":
            return terms.combined(must_not=[terms.empty(key)])
        case "eq":
            return _one_of(key, [value], terms)
        case "in":
            return _one_of(key, value, terms)
    if isinstance(value, datetime):
        return terms.moments(key, {filter.operator: value})
    return terms.numbers(key, {filter.operator: float(value)})


def _one_of(key: str, values: Sequence[Any], terms: Terms) -> Any:
    """Return the condition that a field equals one of `values`, each compared as its own type."""
    strings = [value for value in values if isinstance(value, str)]
    # A match finds whole numbers only. Therefore numbers are matched by a range, which finds 1 and 1.0; but only a
    # match tells apart whole numbers that a float64 does not hold exactly.
    exact = [value for value in values if type(value) is int and abs(value) >= EXACT_INTEGERS]
    conditions = [terms.one_of(key, group) for group in (strings, exact) if group]
    for value in values:
        if isinstance(value, bool):
            conditions.append(terms.boolean(key, value))
        elif isinstance(value, datetime):
            conditions.append(terms.moments(key, {"gte": value, "lte": value}))
        elif not isinstance(value, str) and value not in exact:
            conditions.append(terms.numbers(key, {"gte": float(value), "lte": float(value)}))
    return conditions[0] if len(conditions) == 1 else terms.combined(should=conditions)
