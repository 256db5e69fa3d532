"""The portable filter as Elasticsearch queries on the typed terms of metadata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from flagvec.filters.portable import All, Any_, Condition, Filter, NativeFilter, Not, Value
from flagvec.ingest.batches import batches
from flagvec_elasticsearch import terms
from flagvec_elasticsearch.layout import TYPED

Query = dict[str, Any]

# What `index.max_terms_count` allows in one terms query.
_TERMS_PER_QUERY = 65_536


def to_query(filter: Filter | NativeFilter) -> Query:
    """Return the query that finds the documents for which a filter holds; its scores mean nothing.

    Raises:
        TypeError: A `NativeFilter` that does not hold a query dict.

    Example:
        >>> to_query(Condition("lang", "eq", "en"))
        {'term': {'typed.strings': 'lang=en'}}
    """
    match filter:
        case NativeFilter(value):
            if not isinstance(value, Mapping):
                raise TypeError(f"a NativeFilter for Elasticsearch holds a query dict, not {type(value).__name__}")
            return dict(value)
        case All(parts):
            return _all(parts)
        case Any_(()):
            return {"match_none": {}}
        case Any_(parts):
            return {"bool": _any(parts)}
        case Not(part):
            return {"bool": {"must_not": [to_query(part)]}}
        case Condition():
            return _condition(filter)


def _all(parts: Sequence[Filter]) -> Query:
    """Return the query for all parts, in one bool query where it can be: nesting over 30 levels is refused."""
    negated = [part.part for part in parts if isinstance(part, Not)]
    choices = [part for part in parts if isinstance(part, Any_) and part.parts]
    inlined = choices[0] if len(choices) == 1 else None
    required = [part for part in parts if not isinstance(part, Not) and part is not inlined]
    clauses: Query = {"filter": [to_query(part) for part in required]}
    if negated:
        clauses["must_not"] = [to_query(part) for part in negated]
    if inlined is not None:
        clauses |= _any(inlined.parts)
    return {"bool": clauses}


def _any(parts: Sequence[Filter]) -> Query:
    # Beside a filter Elasticsearch asks for none of them to match, unless it is told.
    return {"should": [to_query(part) for part in parts], "minimum_should_match": 1}


def _condition(condition: Condition) -> Query:
    path = condition.field
    match condition.operator:
        case "exists":
            return _term("present", path)
        case "eq":
            return _term(*_field_and_term(path, condition.value))
        case "in":
            return _one_of([_field_and_term(path, value) for value in condition.value])
        case operator:
            return _range(path, operator, condition.value)


def _range(path: str, operator: str, value: int | float | datetime) -> Query:
    first, last = terms.span(path)
    other_end = {"lt": last} if operator in ("gt", "gte") else {"gte": first}
    if isinstance(value, datetime):
        return {"range": {f"{TYPED}.moments": {operator: terms.moment_term(path, value), **other_end}}}
    return {"range": {f"{TYPED}.numbers": {operator: terms.number_term(path, value), **other_end}}}


def _field_and_term(path: str, value: Value) -> tuple[str, str]:
    if isinstance(value, datetime):
        return "moments", terms.moment_term(path, value)
    if isinstance(value, bool):
        return "booleans", terms.boolean_term(path, value)
    if isinstance(value, str):
        return "strings", terms.string_term(path, value)
    if terms.is_beyond_float(value):
        return "integers", terms.integer_term(path, value)
    return "numbers", terms.number_term(path, value)


def _term(field: str, term: str) -> Query:
    return {"term": {f"{TYPED}.{field}": term}}


def _one_of(pairs: Sequence[tuple[str, str]]) -> Query:
    queries = list(_terms_queries(pairs))
    if len(queries) == 1:
        return queries[0]
    return {"bool": {"should": queries, "minimum_should_match": 1}}


def _terms_queries(pairs: Sequence[tuple[str, str]]) -> Iterator[Query]:
    by_field: dict[str, list[str]] = {}
    for field, term in pairs:
        by_field.setdefault(field, []).append(term)
    for field, wanted in by_field.items():
        for part in batches(wanted, _TERMS_PER_QUERY):
            yield {"terms": {f"{TYPED}.{field}": part}}
