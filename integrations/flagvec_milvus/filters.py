"""Filters as expressions of Milvus, and the terms of a document that these expressions look for.

A term states one fact of the metadata: a field exists, or has a string, a truth value, a number or a moment. Numbers
and moments are the hexadecimal digits of a sort key, so that a range is a few prefixes of terms (Schindler and
Diepenbroek, "Generic XML-based framework for metadata portals", 2008; Lucene's numeric range queries do the same).

Servers have the terms and their prefixes in an array with an index, and a condition is ``array_contains_any``. Milvus
Lite has no such index and reads each array in Python, so there the terms are one string, and a condition is ``like``,
which finds prefixes by itself.

A path into the JSON field would need no terms. But it is neither true nor false for a document that lacks the field,
and versions of Milvus differ in what ``not`` and ``or`` make of that (milvus#46972, #47116, #51806).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any

from flagvec.filters.dates import epoch_microseconds
from flagvec.filters.portable import EXACT_INTEGERS, All, Any_, Condition, Filter, NativeFilter, Not
from flagvec.filters.sortable import moment_key, number_key
from flagvec.filters.typed_values import typed_fields
from flagvec_milvus.schema import ID, TERMS

# Milvus Lite compares each value of a filter with each document, and no timeout ends that.
MOST_COMPARISONS_ON_LITE = 1_000
# A bound takes up to 240 comparisons. It counts less, so that a filter may have twenty.
_COMPARISONS_OF_A_BOUND = 50

EVERYTHING = f'{ID} != ""'
NOTHING = f'{ID} == ""'

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})
# ``like`` takes ``_`` for any character. This one is in no term.
_INSTEAD_OF_WILDCARD = "~"
_WITH_KEYS = ("n:", "t:")
_DIGITS = "0123456789abcdef"


def terms(metadata: Mapping[str, Any]) -> list[str]:
    """Return the terms of a document, each once; none is a prefix of another.

    A term is the path of a field, a letter and, except for ``p``, a value: ``p`` the field is present, ``s`` the digest
    of a string, ``b`` a truth value, ``n`` a number and ``t`` a moment as `exactly` writes it, ``i`` a whole number
    that float64 does not hold exactly.

    Example:
        >>> terms({"draft": True, "pages": 2})
        ['draft:p', 'pages:p', 'draft:b:1', 'pages:n:c.']
    """
    fields = typed_fields(metadata)
    found = [f"{path}:p" for path in fields.present]
    for by_path in (fields.strings, fields.booleans, fields.numbers):
        found += [_equal(path, value) for path, values in by_path.items() for value in values]
    # A large whole number has the term of its float64 as well, by which ranges find it.
    found += [_number(path, value) for path, values in fields.numbers.items() for value in values]
    found += [_moment(path, value) for path, values in fields.moments.items() for value in values]
    return list(dict.fromkeys(found))


def with_prefixes(found: Sequence[str]) -> list[str]:
    """Return terms as a server's array holds them: with all prefixes of their keys, each once.

    Example:
        >>> with_prefixes(["draft:p", "pages:n:c."])
        ['draft:p', 'pages:n:c', 'pages:n:c.']
    """
    return list(dict.fromkeys(chain.from_iterable(map(_prefixes, found))))


def packed(found: Sequence[str]) -> str:
    """Return terms as Milvus Lite holds them: in one string without wildcards of ``like``.

    Example:
        >>> packed(["in_print:p", "pages:n:c."])
        '|in~print:p|pages:n:c.'
    """
    return f"|{'|'.join(found)}".replace("_", _INSTEAD_OF_WILDCARD)


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression of Milvus; an empty one holds for every document.

    Args:
        text: What Milvus parses.
        values: The values of its placeholders by name. They are sent beside the text and are not parsed.
    """

    text: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that pass it to a method of ``MilvusClient``."""
        return {"filter": self.text, **({"filter_params": dict(self.values)} if self.values else {})}

    def __and__(self, other: Expression) -> Expression:
        """Return the expression that holds where both do; their placeholders must have different names."""
        texts = [part.text for part in (self, other) if part.text]
        text = " and ".join(f"({text})" for text in texts) if len(texts) > 1 else "".join(texts)
        return Expression(text, {**self.values, **other.values})


def expression(filter: Filter | NativeFilter | None, lite: bool) -> Expression:
    """Return the expression that holds where a filter does.

    Args:
        filter: What `parse_filter` returned, or None for every document.
        lite: Whether it is for Milvus Lite, which has `packed` terms and takes no values beside an expression.

    Raises:
        TypeError: A native filter that is not a ``str``.
        ValueError: The filter takes over 1,000 comparisons of Milvus Lite.

    Example:
        >>> expression(Condition("draft", "eq", True), lite=False)
        Expression(text='array_contains_any(terms, {terms0})', values={'terms0': ['draft:b:1']})
        >>> expression(Condition("draft", "eq", True), lite=True).text
        'terms like "%|draft:b:1%"'
    """
    if lite and (number := _comparisons(filter)) > MOST_COMPARISONS_ON_LITE:
        raise ValueError(
            f"filter takes {number:,} comparisons, and Milvus Lite makes up to {MOST_COMPARISONS_ON_LITE:,} with each "
            f"document, one for a value and {_COMPARISONS_OF_A_BOUND} for a bound of a range: ask in parts, or use a "
            "Milvus server"
        )
    values: dict[str, Any] = {}

    def has_any(wanted: Sequence[str]) -> str:
        if lite:
            return _joined([f"{TERMS} like {quoted(f'%{packed([term])}%')}" for term in wanted], "or")
        name = f"{TERMS}{len(values)}"
        values[name] = list(wanted)
        return f"array_contains_any({TERMS}, {{{name}}})"

    return Expression(_text(filter, has_any), values)


def one_of(ids: Sequence[str], lite: bool) -> Expression:
    """Return the expression that holds for the documents of these ids."""
    if lite:
        return Expression(f"{ID} in [{', '.join(map(quoted, ids))}]")
    return Expression(f"{ID} in {{ids}}", {"ids": list(ids)})


def after(last: str, lite: bool) -> Expression:
    """Return the expression that holds for the documents with ids greater than `last`."""
    if lite:
        return Expression(f"{ID} > {quoted(last)}")
    return Expression(f"{ID} > {{last}}", {"last": last})


def quoted(text: str) -> str:
    """Return a string as a literal of an expression, in double quotes."""
    return f'"{text.translate(_ESCAPES)}"'


def exactly(key: int) -> str:
    """Return a sort key as its hexadecimal digits without trailing zeros, and a dot, so that no prefix equals it."""
    return _digits(key).rstrip("0") + "."


def above(key: int) -> Iterator[str]:
    """Yield the prefixes that match exactly the keys greater than `key`, as `exactly` writes them."""
    digits = _digits(key)
    for length, digit in enumerate(digits):
        yield from (digits[:length] + other for other in _DIGITS if other > digit)


def below(key: int) -> Iterator[str]:
    """Yield the prefixes that match exactly the keys less than `key`, as `exactly` writes them."""
    digits = _digits(key)
    for length, digit in enumerate(digits):
        yield from (digits[:length] + other for other in _DIGITS if other < digit)
        if digit > "0":
            yield digits[:length].rstrip("0") + "."


def _text(filter: Filter | NativeFilter | None, has_any: Callable[[Sequence[str]], str]) -> str:
    """Return the text of a filter's expression; `has_any` says that a document has one of several terms."""
    match filter:
        case None:
            return ""
        case NativeFilter(value):
            if not isinstance(value, str):
                raise TypeError(f"a native filter for Milvus is an expression, a str, not {type(value).__name__}")
            return value
        case All(parts):
            return _joined([_text(part, has_any) for part in parts], "and") or EVERYTHING
        case Any_(parts):
            return _joined([_text(part, has_any) for part in parts], "or") or NOTHING
        case Not(part):
            return f"not ({_text(part, has_any)})"
        case Condition():
            return has_any(_wanted(filter))


def _comparisons(filter: Filter | NativeFilter | None) -> int:
    """Return how many comparisons a filter takes in Milvus Lite; a native filter is not counted."""
    match filter:
        case All(parts) | Any_(parts):
            return sum(map(_comparisons, parts))
        case Not(part):
            return _comparisons(part)
        case Condition(_, "gt" | "gte" | "lt" | "lte"):
            return _COMPARISONS_OF_A_BOUND
        case Condition(_, "in", values):
            return len(values)
    return 1


def _wanted(condition: Condition) -> list[str]:
    path, value = condition.field, condition.value
    match condition.operator:
        case "exists":
            return [f"{path}:p"]
        case "eq":
            return [_equal(path, value)]
        case "in":
            return [_equal(path, one) for one in value]
    is_moment = isinstance(value, datetime)
    kind, key = ("t", moment_key(epoch_microseconds(value))) if is_moment else ("n", number_key(value))
    # "At least" is "above the key before", which takes fewer terms for round numbers than "above or equal".
    covers = {"gt": above(key), "gte": above(key - 1), "lt": below(key), "lte": chain(below(key), [exactly(key)])}
    return [f"{path}:{kind}:{prefix}" for prefix in covers[condition.operator]]


def _equal(path: str, value: Any) -> str:
    match value:
        case str():
            return f"{path}:s:{hashlib.blake2b(value.encode(), digest_size=16).hexdigest()}"
        case bool():
            return f"{path}:b:{value:d}"
        case datetime():
            return _moment(path, epoch_microseconds(value))
        case int() if abs(value) >= EXACT_INTEGERS:
            return f"{path}:i:{value}."
    return _number(path, value)


def _number(path: str, value: float) -> str:
    return f"{path}:n:{exactly(number_key(value))}"


def _moment(path: str, microseconds: int) -> str:
    return f"{path}:t:{exactly(moment_key(microseconds))}"


def _prefixes(term: str) -> list[str]:
    """Return a term and, if it has a key, the prefixes that `above` and `below` may ask for."""
    path, _, fact = term.partition(":")
    if not fact.startswith(_WITH_KEYS):
        return [term]
    kind, _, key = fact.partition(":")
    return [f"{path}:{kind}:{key[:length]}" for length in range(1, len(key) + 1)]


def _digits(key: int) -> str:
    return f"{key:016x}"


def _joined(parts: Sequence[str], word: str) -> str:
    """Return the parts with a word between them, in a balanced tree, because servers limit an expression's depth."""
    if len(parts) < 2:
        return "".join(parts)
    middle = len(parts) // 2
    return f"({_joined(parts[:middle], word)} {word} {_joined(parts[middle:], word)})"
