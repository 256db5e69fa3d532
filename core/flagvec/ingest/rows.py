"""Rows of JSON Lines, CSV, Parquet and Arrow files, one at a time, each with its number in the file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, TypeAlias

from flagvec.errors import SourceError
from flagvec.extras import extra
from flagvec.ingest.columns import Columns

# Python's csv module takes fields of up to 131,072 characters by default, and a text may be longer.
_LONGEST_FIELD = 2**31 - 1
_ROWS_AT_ONCE = 1_024


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no row.

    Args:
        reason: Why.
        content: The line, without its end.
    """

    reason: str
    content: str


NumberedRow: TypeAlias = "tuple[int, Mapping[str, Any] | BadLine]"


def json_lines(file: IO[bytes], where: str) -> Iterator[NumberedRow]:
    """Yield the object of each line of JSON, with the number of the line; blank lines are skipped.

    Raises:
        SourceError: The file holds one JSON array instead of lines; `where` names the file.
    """
    decode = json.JSONDecoder().decode
    number = 0
    for number, line in enumerate(file, 1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not (stripped := line.strip()):
            continue
        if number == 1 and stripped.startswith(b"["):
            raise SourceError(f"{where} holds a JSON array: write one object a line, as `jq -c '.[]'` does")
        try:
            row = decode(stripped.decode())
        except (ValueError, RecursionError) as error:
            yield number, BadLine(f"not JSON: {_in_short(error)}", stripped.decode(errors="replace"))
            continue
        if not isinstance(row, dict):
            row = BadLine(f"a JSON {_kind(row)}, not an object", stripped.decode())
        yield number, row


def csv_rows(file: IO[bytes], columns: Columns, where: str, delimiter: str) -> Iterator[NumberedRow]:
    """Yield each row of a CSV file as strings by column, with the number of the line on which it begins.

    Raises:
        SourceError: The header lacks a column, or names one twice; `where` names the file.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    # A bad byte is found row by row.
    text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _csv_rows(csv.reader(text, delimiter=delimiter, strict=True), columns, where, delimiter)
    finally:
        # The caller closes the file.
        text.detach()


def _csv_rows(reader: Any, columns: Columns, where: str, delimiter: str) -> Iterator[NumberedRow]:
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise SourceError(f"{where}, line 1: {error}") from error
    if header is None:
        return
    _check_header(header, columns, where)
    while True:
        number = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, BadLine(f"not CSV: {error}", "")
            continue
        if not values:
            continue
        yield number, _csv_row(header, values, delimiter)


def parquet_rows(file: IO[bytes], columns: Columns, where: str) -> Iterator[NumberedRow]:
    """Yield each row of a Parquet file with its number; only the columns that are needed are read.

    Raises:
        SourceError: It is damaged, or lacks a column; `where` names the file.
    """
    with extra("parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
        if b"flagvec" in (table.schema_arrow.metadata or {}):
            raise SourceError(f"{where} holds documents with their vectors: flagvec load writes them to a store")
        _check_header(table.schema_arrow.names, columns, where)
        wanted = columns.chosen(table.schema_arrow.names)
        yield from _numbered(table.iter_batches(_ROWS_AT_ONCE, columns=wanted))
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{where} is damaged or not a Parquet file: {_in_short(error)}") from error


def arrow_rows(file: IO[bytes], columns: Columns, where: str) -> Iterator[NumberedRow]:
    """Yield each row of an Arrow file, or of an Arrow stream, with its number.

    Raises:
        SourceError: It is damaged, or lacks a column; `where` names the file.
    """
    with extra("parquet"):
        import pyarrow as pa
        import pyarrow.ipc

    is_file = hasattr(file, "peek") and file.peek(6)[:6] == b"ARROW1"
    try:
        if is_file:
            reader = pyarrow.ipc.open_file(file)
            batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
        else:
            batches = reader = pyarrow.ipc.open_stream(file)
        _check_header(reader.schema.names, columns, where)
        wanted = columns.chosen(reader.schema.names)
        yield from _numbered(batch.select(wanted) for batch in batches)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{where} is damaged or not an Arrow file: {_in_short(error)}") from error


def _numbered(batches: Iterator[Any]) -> Iterator[NumberedRow]:
    number = 0
    for batch in batches:
        # A batch of a file may have any number of rows.
        for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
            for row in batch.slice(start, _ROWS_AT_ONCE).to_pylist():
                number += 1
                yield number, row


def _check_header(header: list[str], columns: Columns, where: str) -> None:
    if twins := [name for name in dict.fromkeys(header) if header.count(name) > 1]:
        raise SourceError(f"{where} has more than one column {twins[0]!r}: rename them")
    columns.check(header, where)


def _csv_row(header: list[str], values: list[str], delimiter: str) -> Mapping[str, Any] | BadLine:
    if len(values) != len(header):
        expected = f"the header has {len(header)}"
        return BadLine(f"{len(values)} fields, and {expected}", delimiter.join(values))
    row = dict(zip(header, values, strict=True))
    for name, value in row.items():
        if not value.isascii() and not _is_unicode(value):
            return BadLine(f"the column {name!r} is not UTF-8", delimiter.join(values))
    return row


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: Any) -> str:
    names = {list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def _in_short(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text.splitlines()[0][:200]
