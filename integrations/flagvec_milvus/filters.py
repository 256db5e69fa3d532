"""What filters ask of Milvus: the terms by which a document is found, and expressions over them.

Each fact that a filter can ask for is a term in an array field: a value that a field has, or, of numbers and moments,
the first digits of one, so that a range is a handful of terms as well (the prefix terms of Schindler and Diepenbroek,
"Generic XML-based framework for metadata portals", 2008, as in Lucene's numeric range queries). So every condition is
``array_contains_any``, which is true or false for every document, where a path into a JSON field is neither for one
that lacks it, and versions of Milvus differ in what ``not`` and ``or`` make of that (milvus#46972, #47116, #51806).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate, chain
from typing import Any

from flagvec.retrieval.filters import EXACT_INTEGERS, All, Any_, Condition, Filter, NativeFilter, Not
from flagvec.retrieval.moments import epoch_microseconds
from flagvec.retrieval.typed_fields import typed_fields

ID, TERMS = "id", "terms"

EVERYTHING = f'{ID} != ""'
NOTHING = f'{ID} == ""'

# The engines of Milvus read these escapes alike; all other characters stand for themselves.
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_DIGITS = "0123456789abcdef"
_SIGN = 1 << 63
_ALL_BITS = (1 << 64) - 1


def terms(metadata: Mapping[str, Any]) -> list[str]:
    """Return the terms by which filters find a document, each once.

    A term is the path of a field, which has no ``:``, and what is true of it: ``p`` it is there, ``s`` it has the
    string of this digest, ``b`` this truth value, ``n`` and ``t`` a number or moment with a key of these first digits
    (see `key_terms`), ``i`` this whole number.

    Example:
        >>> terms({"draft": True})
        ['draft:p', 'draft:b:1']
    """
    fields = typed_fields(metadata)
    found = [f"{path}:p" for path in fields.present]
    found += [_string(path, value) for path, values in fields.strings.items() for value in values]
    found += [f"{path}:b:{value:d}" for path, values in fields.booleans.items() for value in values]
    for path, numbers in fields.numbers.items():
        found += [term for number in numbers for term in key_terms(f"{path}:n:", number_key(number))]
        found += [f"{path}:i:{number}" for number in numbers if _is_large(number)]
    for path, moments in fields.moments.items():
        found += [term for moment in moments for term in key_terms(f"{path}:t:", moment_key(moment))]
    return list(dict.fromkeys(found))


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


def expression(filter: Filter | NativeFilter | None, templates: bool) -> Expression:
    """Return the expression that holds where a filter does; for None an empty one, which holds everywhere.

    Args:
        filter: What `parse_filter` made.
        templates: Whether values travel beside the expression, which servers take and Milvus Lite does not; there they
            are quoted in it.

    Raises:
        TypeError: A native filter that is no str.

    Example:
        >>> expression(Condition("draft", "eq", True), templates=True)
        Expression(text='array_contains_any(terms, {terms0})', values={'terms0': ['draft:b:1']})
    """
    values: dict[str, Any] = {}

    def said(wanted: Sequence[str]) -> str:
        if not templates:
            return _list(wanted)
        name = f"{TERMS}{len(values)}"
        values[name] = list(wanted)
        return f"{{{name}}}"

    return Expression(_text(filter, said), values)


def _text(filter: Filter | NativeFilter | None, said: Callable[[Sequence[str]], str]) -> str:
    """Return what Milvus parses of a filter; `said` gives the words for a list of terms."""
    match filter:
        case None:
            return ""
        case NativeFilter(value):
            if not isinstance(value, str):
                raise TypeError(f"a native filter for Milvus is an expression, a str, not {type(value).__name__}")
            return value
        case All(parts):
            return _joined([_text(part, said) for part in parts], "and") or EVERYTHING
        case Any_(parts):
            return _joined([_text(part, said) for part in parts], "or") or NOTHING
        case Not(part):
            return f"not ({_text(part, said)})"
        case Condition():
            return f"array_contains_any({TERMS}, {said(_wanted(filter))})"


def one_of(ids: Sequence[str], templates: bool) -> Expression:
    """Return the expression that chooses the documents of these ids; `templates` is as in `expression`."""
    if templates:
        return Expression(f"{ID} in {{ids}}", {"ids": list(ids)})
    return Expression(f"{ID} in {_list(ids)}")


def after(last: str, templates: bool) -> Expression:
    """Return the expression that chooses the documents whose ids follow `last`; `templates` is as in `expression`."""
    if templates:
        return Expression(f"{ID} > {{last}}", {"last": last})
    return Expression(f"{ID} > {quoted(last)}")


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


def key_terms(start: str, key: int) -> list[str]:
    """Return the terms of a key: its first digits, in hexadecimal, up to the last that is not 0, and all of them.

    Example:
        >>> key_terms("n:", 0x4 << 60)
        ['n:4', 'n:4.']
    """
    found = list(accumulate(exactly(key), initial=start))
    return found[1:]


def exactly(key: int) -> str:
    """Return the term that only this key has."""
    return _digits(key).rstrip("0") + "."


def above(key: int) -> Iterator[str]:
    """Yield terms of which each key above `key` has one, and no other key any."""
    digits = _digits(key)
    for length, digit in enumerate(digits):
        yield from (digits[:length] + other for other in _DIGITS if other > digit)


def below(key: int) -> Iterator[str]:
    """Yield terms of which each key below `key` has one, and no other key any."""
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
        return f"{path}:i:{value}"
    kind, key = _key(value)
    return f"{path}:{kind}:{exactly(key)}"


def _key(value: float | datetime) -> tuple[str, int]:
    if isinstance(value, datetime):
        return "t", moment_key(epoch_microseconds(value))
    return "n", number_key(value)


def _string(path: str, value: str) -> str:
    return f"{path}:s:{hashlib.blake2b(value.encode(), digest_size=16).hexdigest()}"


def _is_large(value: Any) -> bool:
    """Return whether a number is a whole one that equals itself alone, not all that round to the same float64."""
    return isinstance(value, int) and abs(value) >= EXACT_INTEGERS


def _list(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(quoted, texts))}]"


def _digits(key: int) -> str:
    return f"{key:016x}"


def _joined(parts: Sequence[str], word: str) -> str:
    """Return the parts with a word between them, in a balanced tree: servers bound how deep an expression is."""
    if len(parts) < 2:
        return "".join(parts)
    middle = len(parts) // 2
    return f"({_joined(parts[:middle], word)} {word} {_joined(parts[middle:], word)})"
