"""Rows of a table as documents, whatever library the table is of; none of them is imported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any


def documents_of_rows(
    rows: Any, text: str, id: str | None, metadata: Sequence[str] | None
) -> Iterator[tuple[str | None, str, dict[str, Any]]]:
    """Yield the id, text and metadata of each row; `Document.from_records` says what is taken and refused."""
    wanted = {name for name in (text, id) if name is not None}
    for position, row in enumerate(_as_mappings(rows)):
        if missing := [name for name in (*wanted, *(metadata or ())) if name not in row]:
            raise ValueError(f"rows[{position}] has no column {missing[0]!r}; it has {', '.join(map(repr, row))}")
        body = row[text]
        if not isinstance(body, str):
            raise TypeError(f"rows[{position}][{text!r}] is {type(body).__name__}, not str: {body!r:.80}")
        columns = [name for name in row if name not in wanted] if metadata is None else metadata
        found = None if id is None else as_id(row[id], f"rows[{position}][{id!r}]")
        yield found, body, {name: row[name] for name in columns}


def _as_mappings(rows: Any) -> Iterable[Mapping[str, Any]]:
    if hasattr(rows, "iter_rows"):  # polars
        return rows.iter_rows(named=True)  # type: ignore[no-any-return]
    if hasattr(rows, "to_pylist"):  # Arrow
        _refuse_twins(getattr(rows, "column_names", []))
        return _checked(rows.to_pylist())
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):  # pandas
        _refuse_twins(rows.columns)
        return rows.astype(object).where(~rows.isna(), None).to_dict("records")  # type: ignore[no-any-return]
    if isinstance(rows, (str, bytes, Mapping, set, frozenset)) or not isinstance(rows, Iterable):
        raise TypeError(
            f"rows takes a list of dicts, a pandas or polars DataFrame, an Arrow table or a datasets.Dataset, "
            f"not {type(rows).__name__}"
        )
    return _checked(rows)


def _refuse_twins(columns: Iterable[Any]) -> None:
    names = list(columns)
    if twins := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ValueError(f"rows has more than one column {twins[0]!r}: rename them")


def _checked(rows: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    for position, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise TypeError(f"rows[{position}] is {type(row).__name__}, not a dict")
        yield row


def as_id(value: Any, where: str) -> str:
    """Return a value of an id column as an id.

    Raises:
        TypeError: It is not a ``str``, a whole number or a UUID; `where` names its place.
    """
    if isinstance(value, str) or (isinstance(value, Integral) and not isinstance(value, bool)):
        return str(value)
    if type(value).__name__ == "UUID":
        return str(value)
    raise TypeError(f"{where} is {type(value).__name__}; an id is a str, a whole number or a UUID")
