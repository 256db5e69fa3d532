"""Checks of arguments, made before any work: each names the argument, what was given and what to give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def checked_texts(texts: Any, argument: str, first_position: int = 0) -> list[str]:
    """Return `texts`, an iterable of ``str``, as a list.

    Raises:
        TypeError: It is no iterable, or an item is not a ``str``; names the argument and the item's position.
    """
    if isinstance(texts, (bytes, Mapping)) or not isinstance(texts, Iterable):
        raise TypeError(f"{argument} takes a str or a list of str, not {type(texts).__name__}")
    checked = list(texts)
    for position, text in enumerate(checked, first_position):
        if not isinstance(text, str):
            raise TypeError(f"{argument}[{position}] is {type(text).__name__}, not str: {text!r:.80}")
    return checked


def refuse_tables_and_sets(value: Any, argument: str, remedy: str) -> None:
    """Refuse a DataFrame, an Arrow table or a set, which iterate as something other than their rows.

    Raises:
        TypeError: It is one of these; says what to do instead.
    """
    if hasattr(value, "columns") or (hasattr(value, "column_names") and hasattr(value, "to_pylist")):
        raise TypeError(f"{argument} is a {type(value).__name__}, which iterates over its columns: {remedy}")
    if isinstance(value, (set, frozenset)):
        raise TypeError(f"{argument} is a {type(value).__name__}, which has no order: pass a list")


def checked_pairs(sentence_pairs: Any) -> tuple[list[tuple[str, str]], bool]:
    """Return (query, document) texts as a list, and whether one bare pair was given.

    Raises:
        TypeError: Something else; names the position.
    """
    if not isinstance(sentence_pairs, (list, tuple)):
        raise TypeError(
            f"sentence_pairs takes (query, document) or a list of them, not {type(sentence_pairs).__name__}"
        )
    is_one = len(sentence_pairs) > 0 and isinstance(sentence_pairs[0], str)
    pairs = [sentence_pairs] if is_one else sentence_pairs
    for position, pair in enumerate(pairs):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise TypeError(f"sentence_pairs[{position}] is not a pair of two str: {pair!r:.80}")
    return [(query, document) for query, document in pairs], is_one


def checked_batch_size(batch_size: Any) -> int:
    """Return `batch_size`.

    Raises:
        ValueError: Not a whole number of at least 1.
    """
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
        raise ValueError(f"batch_size={batch_size!r}: give a whole number of texts, at least 1")
    return batch_size


def checked_format(argument: str, template: Any) -> str:
    """Return a template that joins an instruction and a text.

    Raises:
        ValueError: Not a str with two ``{}``.
    """
    try:
        joined = template.format("<instruction>", "<text>")
    except (AttributeError, IndexError, KeyError, ValueError) as error:
        raise ValueError(f"{argument}={template!r}: give a str with two {{}}, for instruction and text") from error
    if "<text>" not in joined:
        raise ValueError(
            f"{argument}={template!r} leaves the text out: give a str with two {{}}, for instruction and text"
        )
    return str(template)
