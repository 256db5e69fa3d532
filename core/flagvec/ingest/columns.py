"""`Columns`: which columns of a row become a document's text, id and metadata."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from string import Formatter
from typing import Any

from flagvec.errors import SourceError
from flagvec.store.documents import Document, text_id
from flagvec.store.tables import as_id

_DOCUMENT = frozenset({"id", "text", "metadata"})
_DEAD_LETTER = _DOCUMENT | {"reason", "store"}
_ID = "id"


class MissingColumnError(ValueError):
    """Raised for a row without a column that was asked for."""


class Columns:
    r"""Makes documents of rows.

    A dead letter is a row with exactly the columns ``id``, ``text``, ``metadata``, ``reason`` and ``store``. It gives
    the document that it holds, whatever the arguments are. So does a row of ``id``, ``text`` and ``metadata`` if the
    arguments are the defaults and its ``metadata`` is a mapping.

    Args:
        text: The column of the texts, or a template such as ``"{title}\n{body}"``, whose ``\n`` is a line break.
            In a template a missing value is empty, and ``{{`` is a brace.
        id: The column of the ids; numbers become strings. None takes the column ``id`` where there is a value, and
            else an id that depends on the text alone.
        metadata: The columns that become metadata; None takes all that are in neither the text nor the id.

    Raises:
        ValueError: The template is not valid.
    """

    def __init__(self, text: str = "text", id: str | None = None, metadata: Sequence[str] | None = None) -> None:
        self._text = text
        self._id = id
        self._parts = _parts(text.replace("\\n", "\n")) if "{" in text else None
        self._metadata = None if metadata is None else list(metadata)
        self._text_columns = [text] if self._parts is None else [name for _, name in self._parts if name is not None]
        self._not_metadata = frozenset({*self._text_columns, _ID if id is None else id})
        self._takes_documents = (text, id, metadata) == ("text", None, None)

    @property
    def metadata(self) -> frozenset[str]:
        """The columns that were chosen for the metadata; empty if all others are taken."""
        return frozenset(self._metadata or ())

    def chosen(self, columns: Sequence[str]) -> list[str]:
        """Return those of a table's columns that are needed."""
        if self._metadata is None:
            return list(columns)
        wanted = self._not_metadata | self.metadata
        return [name for name in columns if name in wanted or set(columns) == _DEAD_LETTER]

    def check(self, columns: Collection[str], where: str) -> None:
        """Refuse a table that lacks a column.

        Raises:
            SourceError: Names the column and those that the table has; `where` names the table.
        """
        if set(columns) == _DEAD_LETTER:
            return
        wanted = [*self._text_columns, *([] if self._id is None else [self._id]), *self.metadata]
        for name in wanted:
            if name not in columns:
                raise SourceError(f"{where}: {_missing(name, columns)}")

    def check_metadata(self, rows: Sequence[Mapping[str, Any]], where: str) -> None:
        """Refuse rows if none of them has a column that was chosen for the metadata.

        Raises:
            SourceError: Names the column and those that the rows have; `where` names their file.
        """
        # A row of JSON may lack a column that others have. Dead letters bring their metadata.
        found = {name for row in rows if row.keys() != _DEAD_LETTER for name in row}
        for name in self._metadata or ():
            if found and name not in found:
                raise SourceError(
                    f"{where}, first {len(rows):,} rows: {_missing(name, sorted(found))}. If only later rows have it, "
                    "do not choose metadata, which takes all columns"
                )

    def document(self, row: Mapping[str, Any]) -> Document:
        """Return the document of a row.

        Raises:
            MissingColumnError: The row lacks the column of the text or id; names those that it has.
            TypeError: A value is of a type that a text or an id cannot have.
            ValueError: It is a dead letter without a document.
        """
        if "metadata" in row and (held := self._held(row)) is not None:
            return held
        text = self._joined(row)
        if self._metadata is None:
            metadata = {name: value for name, value in row.items() if name not in self._not_metadata}
        else:
            metadata = {name: row[name] for name in self._metadata if name in row}
        return Document(self._name(row, text), text, metadata)

    def _held(self, row: Mapping[str, Any]) -> Document | None:
        """Return the document that a row holds whole, if it is of that form."""
        is_dead_letter = row.keys() == _DEAD_LETTER
        if is_dead_letter and row["text"] is None:
            raise ValueError(f"a dead letter without a document: {row['reason']}")
        if not is_dead_letter and not (self._takes_documents and row.keys() <= _DOCUMENT):
            return None
        metadata = {} if row["metadata"] is None else row["metadata"]
        if not isinstance(metadata, Mapping) or not isinstance(row.get("text"), str):
            return None
        text, name = row["text"], row.get(_ID)
        return Document(text_id(text) if name is None else as_id(name, f"the column {_ID!r}"), text, metadata)

    def _joined(self, row: Mapping[str, Any]) -> str:
        if self._parts is not None:
            return "".join(literal + ("" if name is None else self._shown(row, name)) for literal, name in self._parts)
        text = self._value(row, self._text)
        if not isinstance(text, str):
            raise TypeError(f"the column {self._text!r} is {type(text).__name__}, not str: {text!r:.80}")
        return text

    def _shown(self, row: Mapping[str, Any], name: str) -> str:
        value = self._value(row, name)
        return "" if value is None else str(value)

    def _name(self, row: Mapping[str, Any], text: str) -> str:
        if self._id is not None:
            return as_id(self._value(row, self._id), f"the column {self._id!r}")
        found = row.get(_ID)
        return text_id(text) if found is None else as_id(found, f"the column {_ID!r}")

    def _value(self, row: Mapping[str, Any], name: str) -> Any:
        try:
            return row[name]
        except KeyError:
            raise MissingColumnError(_missing(name, row)) from None


def _missing(name: str, columns: Collection[str]) -> str:
    listed = ", ".join(map(repr, columns)) or "none"
    return f"no column {name!r}; the columns are {listed}"


def _parts(template: str) -> list[tuple[str, str | None]]:
    """Return the literals of a template, each with the name of the column that follows it."""
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"text={template!r}: {error}; write a template like '{{title}}\\n{{body}}'") from None
    for _, name, form, conversion in parsed:
        if name == "" or form or conversion:
            raise ValueError(
                f"text={template!r}: a brace holds the name of a column and nothing else, as in '{{title}}'"
            )
    if all(name is None for _, name, _, _ in parsed):
        raise ValueError(f"text={template!r}: the template names no column; write one like '{{title}}\\n{{body}}'")
    return [(literal, name) for literal, name, _, _ in parsed]
