"""What filters ask of Milvus: the terms by which a document is found, and expressions over them.

Each fact that a filter can ask for is a term: a value that a field has. Of numbers and moments a filter may ask for the
first digits as well, so that a range is a handful of terms (the prefix terms of Schindler and Diepenbroek, "Generic
XML-based framework for metadata portals", 2008, as in Lucene's numeric range queries).

Servers have the terms and all of these prefixes in an array field with an index, and a condition is
``array_contains_any``. Milvus Lite has no such index, goes through an array in Python and reads every field of whatever
a search finds; there the terms alone are one string, and a condition is ``like``, which finds prefixes by itself and
takes a fifth of the time for a range, a hundredth for a value. Both are true or false for every document, where a path
into a JSON field is neither for one that lacks it, and versions of Milvus differ in what ``not`` and ``or`` make of
that (milvus#46972, #47116, #51806).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any

from flagvec.filters.dates import epoch_microseconds
from flagvec.filters.portable import EXACT_INTEGERS, All, Any_, Condition, Filter, NativeFilter, Not
from flagvec.filters.typed_values import typed_fields

ID, TERMS = "id", "terms"

EVERYTHING = f'{ID} != ""'
NOTHING = f'{ID} == ""'

# The engines of Milvus read these escapes alike; all other characters stand for themselves.
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})
# Stands for ``_``, which ``like`` takes for any character, and is in no term; nor are the other characters that mean
# something to it.
_NO_WILDCARD = "~"
# What terms say with a key: numbers and moments.
_WITH_KEYS = ("n:", "t:")
_DIGITS = "0123456789abcdef"
_SIGN = 1 << 63
_ALL_BITS = (1 << 64) - 1


def terms(metadata: Mapping[str, Any]) -> list[str]:
    """Return the terms by which filters find a document, each once, none the beginning of another.

    A term is the path of a field, which has no ``:``, and what is true of it: ``p`` it is there, ``s`` it has the
    string of this digest, ``b`` this truth value, ``n`` and ``t`` the number or moment of this key (see `exactly`),
    ``i`` this whole number.

    Example:
        >>> terms({"draft": True, "pages": 2})
        ['draft:p', 'pages:p', 'draft:b:1', 'pages:n:c.']
    """
    fields = typed_fields(metadata)
    found = [f"{path}:p" for path in fields.present]
    found += [_string(path, value) for path, values in fields.strings.items() for value in values]
    found += [f"{path}:b:{value:d}" for path, values in fields.booleans.items() for value in values]
    for path, numbers in fields.numbers.items():
        found += [f"{path}:n:{exactly(number_key(number))}" for number in numbers]
        found += [_whole(path, number) for number in numbers if _is_large(number)]
    for path, moments in fields.moments.items():
        found += [f"{path}:t:{exactly(moment_key(moment))}" for moment in moments]
    return list(dict.fromkeys(found))


def listed(found: Sequence[str]) -> list[str]:
    """Return terms as servers have them: those of keys with all first digits of the keys, each once.

    Example:
        >>> listed(["draft:p", "pages:n:c."])
        ['draft:p', 'pages:n:c', 'pages:n:c.']
    """
    return list(dict.fromkeys(chain.from_iterable(map(_beginnings, found))))


def packed(found: Sequence[str]) -> str:
    """Return terms as Milvus Lite has them: in one string, which has no wildcards of ``like``.

    Example:
        >>> packed(["in_print:p", "pages:n:c."])
        '|in~print:p|pages:n:c.'
    """
    return f"|{'|'.join(found)}".replace("_", _NO_WILDCARD)


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression of Milvus; an empty one holds everywhere.

    Args:
        text: What Milvus parses.
        values: What its placeholders stand for, by name. They travel beside the text and are not parsed.
    """

    text: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of a client's call that choose what the expression holds for."""
        return {"filter": self.text, **({"filter_params": dict(self.values)} if self.values else {})}

    def __and__(self, other: Expression) -> Expression:
        """Return the expression that holds where both do; no name stands for values of both."""
        texts = [part.text for part in (self, other) if part.text]
        text = " and ".join(f"({text})" for text in texts) if len(texts) > 1 else "".join(texts)
        return Expression(text, {**self.values, **other.values})


def expression(filter: Filter | NativeFilter | None, lite: bool) -> Expression:
    """Return the expression that holds where a filter does; for None an empty one, which holds everywhere.

    Args:
        filter: What `parse_filter` made.
        lite: Whether Milvus Lite is asked, which has the terms `packed` and takes no values beside an expression; they
            are quoted in it. Servers take them, and have the terms `listed`.

    Raises:
        TypeError: A native filter that is no str.

    Example:
        >>> expression(Condition("draft", "eq", True), lite=False)
        Expression(text='array_contains_any(terms, {terms0})', values={'terms0': ['draft:b:1']})
        >>> expression(Condition("draft", "eq", True), lite=True).text
        'terms like "%|draft:b:1%"'
    """
    values: dict[str, Any] = {}

    def has_any(wanted: Sequence[str]) -> str:
        if lite:
            return _joined([f"{TERMS} like {quoted(f'%{packed([term])}%')}" for term in wanted], "or")
        name = f"{TERMS}{len(values)}"
        values[name] = list(wanted)
        return f"array_contains_any({TERMS}, {{{name}}})"

    return Expression(_text(filter, has_any), values)


def _text(filter: Filter | NativeFilter | None, has_any: Callable[[Sequence[str]], str]) -> str:
    """Return what Milvus parses of a filter; `has_any` says that a document has one of some terms."""
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


def one_of(ids: Sequence[str], lite: bool) -> Expression:
    """Return the expression that chooses the documents of these ids; `lite` is as in `expression`."""
    if lite:
        return Expression(f"{ID} in [{', '.join(map(quoted, ids))}]")
    return Expression(f"{ID} in {{ids}}", {"ids": list(ids)})


def after(last: str, lite: bool) -> Expression:
    """Return the expression that chooses the documents whose ids follow `last`; `lite` is as in `expression`."""
    if lite:
        return Expression(f"{ID} > {quoted(last)}")
    return Expression(f"{ID} > {{last}}", {"last": last})


def quoted(text: str) -> str:
    """Return a string as a literal of a Milvus expression.

    Example:
        >>> quoted("rice")
        '"rice"'
    """
    return f'"{text.translate(_ESCAPES)}"'


def number_key(number: float) -> int:
    """Return an unsigned 64-bit integer that orders as the number does as float64; -0.0 is 0."""
    bits = int.from_bytes(struct.pack(">d", float(number) + 0.0), "big")
    return bits | _SIGN if bits < _SIGN else bits ^ _ALL_BITS


def moment_key(microseconds: int) -> int:
    """Return an unsigned 64-bit integer that orders as the moments do, given in microseconds since 1970."""
    return microseconds + _SIGN


def exactly(key: int) -> str:
    """Return what says a key in a term: its digits, in hexadecimal, up to the last that is not 0, and an end."""
    return _digits(key).rstrip("0") + "."


def above(key: int) -> Iterator[str]:
    """Yield beginnings of which what says a key above `key` has one, and what says another none."""
    digits = _digits(key)
    for length, digit in enumerate(digits):
        yield from (digits[:length] + other for other in _DIGITS if other > digit)


def below(key: int) -> Iterator[str]:
    """Yield beginnings of which what says a key below `key` has one, and what says another none."""
    digits = _digits(key)
    for length, digit in enumerate(digits):
        yield from (digits[:length] + other for other in _DIGITS if other < digit)
        if digit > "0":
            yield digits[:length].rstrip("0") + "."


def _wanted(condition: Condition) -> list[str]:
    path, value = condition.field, condition.value
    match condition.operator:
        case "exists":
            return [f"{path}:p"]
        case "eq":
            return [_equal(path, value)]
        case "in":
            return [_equal(path, one) for one in value]
    kind, key = _key(value)
    # "At least" is "above the key before", which takes fewer terms for round numbers than "above, or equal".
    covers = {"gt": above(key), "gte": above(key - 1), "lt": below(key), "lte": chain(below(key), [exactly(key)])}
    return [f"{path}:{kind}:{term}" for term in covers[condition.operator]]


def _equal(path: str, value: Any) -> str:
    if isinstance(value, str):
        return _string(path, value)
    if isinstance(value, bool):
        return f"{path}:b:{value:d}"
    if _is_large(value):
        return _whole(path, value)
    kind, key = _key(value)
    return f"{path}:{kind}:{exactly(key)}"


def _key(value: float | datetime) -> tuple[str, int]:
    if isinstance(value, datetime):
        return "t", moment_key(epoch_microseconds(value))
    return "n", number_key(value)


def _string(path: str, value: str) -> str:
    return f"{path}:s:{hashlib.blake2b(value.encode(), digest_size=16).hexdigest()}"


def _whole(path: str, value: float) -> str:
    return f"{path}:i:{value}."


def _is_large(value: Any) -> bool:
    """Return whether a number is a whole one that equals itself alone, not all that round to the same float64."""
    return isinstance(value, int) and abs(value) >= EXACT_INTEGERS


def _beginnings(term: str) -> list[str]:
    """Return a term and, of one with a key, all beginnings that `above` and `below` may ask for."""
    path, _, fact = term.partition(":")
    if not fact.startswith(_WITH_KEYS):
        return [term]
    kind, _, said = fact.partition(":")
    return [f"{path}:{kind}:{said[:length]}" for length in range(1, len(said) + 1)]


def _digits(key: int) -> str:
    return f"{key:016x}"


def _joined(parts: Sequence[str], word: str) -> str:
    """Return the parts with a word between them, in a balanced tree: servers bound how deep an expression is."""
    if len(parts) < 2:
        return "".join(parts)
    middle = len(parts) // 2
    return f"({_joined(parts[:middle], word)} {word} {_joined(parts[middle:], word)})"
