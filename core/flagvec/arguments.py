"""Checks of arguments, made before any work. Each message names the argument, what was found and what to pass."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from numbers import Real
from typing import Any

# numpy and C count in fewer bits than Python.
_LARGEST_BATCH_SIZE = 2**31 - 1
_SHORTEST_MAX_LENGTH = 3  # two special tokens and one of the text
_COLUMN_AS_LIST = "pass one column as a list, such as table['text'].to_list(), or .to_pylist() in Arrow"


def checked_texts(texts: Any, argument: str) -> list[str]:
    """Return `texts`, an iterable of ``str``, as a list.

    Raises:
        TypeError: It is not an iterable, it is a table or a set, or an item is not a ``str``. The message names the
            argument and the item's position.
    """
    _check_is_iterable(texts, argument)
    return list(_checked_items(texts, argument))


def checked_stream(texts: Any, argument: str) -> Iterator[str]:
    """Return an iterator over `texts` that checks each item when it is read; the errors are those of `checked_texts`.

    Raises:
        TypeError: It is one ``str``.
    """
    if isinstance(texts, str):
        raise TypeError(f"{argument} takes an iterable of texts, not one str; use encode_corpus")
    _check_is_iterable(texts, argument)
    return _checked_items(texts, argument)


def _check_is_iterable(texts: Any, argument: str) -> None:
    refuse_tables_and_sets(texts, argument, _COLUMN_AS_LIST)
    if isinstance(texts, (bytes, Mapping)) or not isinstance(texts, Iterable):
        raise TypeError(f"{argument} takes a str or a list of str, not {type(texts).__name__}")


def _checked_items(texts: Iterable[Any], argument: str) -> Iterator[str]:
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{argument}[{position}] is {type(text).__name__}, not str: {text!r:.80}")
        yield text


def refuse_tables_and_sets(value: Any, argument: str, remedy: str) -> None:
    """Check that `value` is neither a table, which iterates over its columns, nor a set, which has no order.

    Args:
        value: What the caller passed. A table is a pandas or polars DataFrame, an Arrow table or a
            ``datasets.Dataset``; no library is imported to find out.
        argument: The argument's name.
        remedy: What to pass instead of a table.

    Raises:
        TypeError: It is one of these.
    """
    if isinstance(value, (set, frozenset)):
        raise TypeError(
            f"{argument} is a {type(value).__name__}, which has no order, so results cannot be matched to its items: "
            f"pass a list, such as sorted({argument})"
        )
    # Arrow's tables have both attributes, and their `columns` are the data. A Series has neither.
    columns = getattr(value, "columns", None)
    if hasattr(value, "to_pylist") or columns is None:
        columns = getattr(value, "column_names", None)
    if columns is not None and not isinstance(value, (str, list, tuple)):
        names = ", ".join(repr(name) for name in list(columns)[:5])
        raise TypeError(f"{argument} is a {type(value).__name__} with the columns {names}, not a list: {remedy}")


def checked_pairs(sentence_pairs: Any) -> tuple[list[tuple[str, str]], bool]:
    """Return (query, document) texts as a list, and whether one bare pair was given.

    Raises:
        TypeError: Not a pair of ``str`` or a list of them; the message names the position.
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
        ValueError: It is not a whole number from 1 to 2,147,483,647.
    """
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
        raise ValueError(f"batch_size={shown(batch_size)}: give a whole number of texts, at least 1")
    if batch_size > _LARGEST_BATCH_SIZE:
        raise ValueError(f"batch_size={shown(batch_size)}: give a number of texts up to {_LARGEST_BATCH_SIZE:,}")
    return batch_size


def finite_number(name: str, value: Any, what: str) -> float:
    """Return the value of the argument `name` as a float.

    Args:
        name: The argument's name.
        value: What the caller passed.
        what: What messages call such a value, in the plural or with "a".

    Raises:
        TypeError: It is not a number.
        ValueError: It is not finite, or larger than float64 holds.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} takes {what}, not {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name}={shown(value)}: give {what} that is finite")
    return number


def shown(value: Any) -> str:
    """Return a value as messages show it: a whole number of over 64 bits by its length, anything else as its repr."""
    # Python refuses to write numbers of over 4,300 digits.
    if isinstance(value, int) and value.bit_length() > 64:
        return f"<a whole number of {value.bit_length()} bits>"
    return f"{value!r:.200}"


def checked_max_length(argument: str, value: Any, limit: int) -> int:
    """Return a length in tokens.

    Args:
        argument: The argument's name.
        value: What the caller passed.
        limit: The longest text the model takes.

    Raises:
        ValueError: It is not a whole number from 3 to `limit`.
    """
    if not isinstance(value, int) or not _SHORTEST_MAX_LENGTH <= value <= limit:
        raise ValueError(f"{argument}={shown(value)}: this model takes {_SHORTEST_MAX_LENGTH} to {limit} tokens a text")
    return value


def checked_truncate_dim(truncate_dim: Any, width: int) -> int | None:
    """Return `truncate_dim`, the number of dimensions to keep of `width`.

    Raises:
        ValueError: It is neither None nor a whole number from 1 to `width`.
    """
    if truncate_dim is None:
        return None
    if not isinstance(truncate_dim, int) or isinstance(truncate_dim, bool) or not 1 <= truncate_dim <= width:
        raise ValueError(f"truncate_dim={shown(truncate_dim)}: this model's vectors have 1 to {width} dimensions")
    return truncate_dim


def checked_colbert_dim(colbert_dim: Any) -> int:
    """Return `colbert_dim`.

    Raises:
        ValueError: It is neither -1 nor a whole number of at least 1.
    """
    is_number = isinstance(colbert_dim, int) and not isinstance(colbert_dim, bool)
    if not is_number or (colbert_dim < 1 and colbert_dim != -1):
        raise ValueError(
            f"colbert_dim={shown(colbert_dim)}: give the length of ColBERT vectors, or -1 for the model's width"
        )
    return int(colbert_dim)


def checked_format(argument: str, template: Any) -> str:
    """Return a template that joins an instruction and a text.

    Raises:
        ValueError: It is not a str with two ``{}``.
    """
    remedy = "give a str with two {}, for instruction and text"
    try:
        joined = template.format("<instruction>", "<text>")
    except (AttributeError, IndexError, KeyError, ValueError) as error:
        raise ValueError(f"{argument}={template!r}: {remedy}") from error
    if "<text>" not in joined:
        raise ValueError(f"{argument}={template!r} leaves the text out: {remedy}")
    return str(template)
