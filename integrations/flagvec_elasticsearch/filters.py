"""Metadata as typed terms, and the portable filter as queries on these terms: pure functions.

Each type of value has one keyword field, and a value is a term that begins with the path of its field: ``lang=en``. So
there may be any number of names, a value is compared with values of its own type alone, and a list is several terms.
The terms of numbers sort as the numbers do, because ranges are ranges of terms.

No field type of Elasticsearch does this. Dynamic mapping gives a field the type of the first document, refuses the next
of another type, stops at 1,000 names, and cannot have both ``a`` and ``a.b``. ``flattened`` compares numbers as text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any

from elasticsearch.dsl.query import Query as DslQuery
from more_itertools import chunked, map_reduce

from flagvec.filters.dates import epoch_microseconds
from flagvec.filters.portable import EXACT_INTEGERS, All, Any_, Condition, Filter, NativeFilter, Not, Value
from flagvec.filters.sortable import moment_key, number_key
from flagvec.filters.typed_values import TypedFields
from flagvec_elasticsearch.schema import TYPED

Query = dict[str, Any]

# `index.max_terms_count` allows no more in one terms query.
_TERMS_PER_QUERY = 65_536
# Elasticsearch refuses a term of over 32,766 bytes. A hash of a long string is enough to compare it.
_LONGEST_STRING = 256


def typed_terms(fields: TypedFields) -> dict[str, list[str]]:
    """Return the terms of a document's metadata by typed field, without the fields that have none.

    ``numbers`` holds float64. ``integers`` repeats the whole numbers that float64 cannot tell from their neighbours.

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
        "integers": [f"{path}={value}" for path, value in numbers if _is_beyond_float(value)],
        "moments": [_sortable(path, moment_key(one)) for path, values in fields.moments.items() for one in values],
    }
    return {name: values for name, values in terms.items() if values}


def string_term(path: str, value: str) -> str:
    """Return the term of a string, or of its SHA-256 if it is long.

    No path has ``=`` or ``#`` in it, so that no term stands for two values.
    """
    encoded = value.encode()
    return f"{path}={value}" if len(encoded) <= _LONGEST_STRING else f"{path}#{hashlib.sha256(encoded).hexdigest()}"


def boolean_term(path: str, value: bool) -> str:
    """Return the term of a truth value, like ``draft=true``."""
    return f"{path}={'true' if value else 'false'}"


def number_term(path: str, value: int | float) -> str:
    """Return the term of a number as float64; terms sort as the numbers do."""
    return _sortable(path, number_key(value))


def moment_term(path: str, value: datetime) -> str:
    """Return the term of an aware datetime, to the microsecond; terms sort as the moments do."""
    return _sortable(path, moment_key(epoch_microseconds(value)))


def is_native(value: Any) -> bool:
    """Return whether a value is a query of ``elasticsearch.dsl``."""
    return isinstance(value, DslQuery)


def to_query(filter: Filter | NativeFilter) -> Query:
    """Return the query that finds the documents for which a filter holds; its scores mean nothing.

    Raises:
        TypeError: A `NativeFilter` holds neither a query dict nor a query of ``elasticsearch.dsl``.

    Example:
        >>> to_query(Condition("lang", "eq", "en"))
        {'term': {'typed.strings': 'lang=en'}}
    """
    match filter:
        case NativeFilter(value):
            return _native(value)
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


def _native(value: Any) -> Query:
    if is_native(value):
        return dict(value.to_dict())
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(
        f"NativeFilter({value!r:.80}) holds a {type(value).__name__}: Elasticsearch takes a query dict like "
        "{'term': {'typed.strings': 'lang=en'}} or a query of elasticsearch.dsl"
    )


def _all(parts: Sequence[Filter]) -> Query:
    """Return the query for all parts, in one bool query if it can be, because 30 levels of nesting are the limit."""
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
    # Without the minimum, a bool query that also has a filter matches if no clause does.
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
            # ">" is the character after "=", and no path has it: between them lie the terms of this path alone.
            other_end = {"lt": f"{path}>"} if operator in ("gt", "gte") else {"gte": f"{path}="}
            field, term = _range_field_and_term(path, condition.value)
            return {"range": {f"{TYPED}.{field}": {operator: term, **other_end}}}


def _range_field_and_term(path: str, value: int | float | datetime) -> tuple[str, str]:
    if isinstance(value, datetime):
        return "moments", moment_term(path, value)
    return "numbers", number_term(path, value)


def _field_and_term(path: str, value: Value) -> tuple[str, str]:
    if isinstance(value, bool):
        return "booleans", boolean_term(path, value)
    if isinstance(value, str):
        return "strings", string_term(path, value)
    if isinstance(value, int) and _is_beyond_float(value):
        return "integers", f"{path}={value}"
    return _range_field_and_term(path, value)


def _term(field: str, term: str) -> Query:
    return {"term": {f"{TYPED}.{field}": term}}


def _one_of(pairs: Sequence[tuple[str, str]]) -> Query:
    queries = [
        {"terms": {f"{TYPED}.{field}": part}}
        for field, terms in map_reduce(pairs, itemgetter(0), itemgetter(1)).items()
        for part in chunked(terms, _TERMS_PER_QUERY)
    ]
    return queries[0] if len(queries) == 1 else {"bool": {"should": queries, "minimum_should_match": 1}}


def _sortable(path: str, key: int) -> str:
    return f"{path}={key:016x}"


def _is_beyond_float(value: int | float) -> bool:
    return isinstance(value, int) and abs(value) >= EXACT_INTEGERS
