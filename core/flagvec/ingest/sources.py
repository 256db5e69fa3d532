"""`DocumentReader`: documents from files, standard input and data sets, with the rows that cannot be read."""

from __future__ import annotations

import glob
import gzip
import io
import logging
import sys
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal, get_args

from flagvec.errors import SourceError
from flagvec.extras import extra
from flagvec.ingest.columns import Columns, MissingColumnError
from flagvec.ingest.datasets import dataset_rows, is_saved_dataset
from flagvec.ingest.rows import BadLine, NumberedRow, arrow_rows, csv_rows, json_lines, parquet_rows
from flagvec.search.options import check_choice
from flagvec.store.documents import Document, InvalidDocument

_logger = logging.getLogger(__name__)

STANDARD_INPUT = "-"
_STANDARD_INPUT_NAME = "standard input"
Format = Literal["jsonl", "csv", "tsv", "parquet", "arrow"]

_FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet",
    ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow",
}  # fmt: skip
_COMPRESSED = (".gz", ".zst", ".zstd")
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
# A file in which none of so many rows has a column that was asked for has no such column at all.
_ROWS_TO_FIND_COLUMN = 100


@dataclass(frozen=True, slots=True)
class BadRow(InvalidDocument):
    """A row of a file that is not a document.

    Args:
        id: The file and line, as in ``docs.jsonl:17``, in place of an id.
        error: Names the file and line, and says why the row is not a document.
        document: None.
        source: The file, as it was named.
        line: The number of the line, or of the row in a file that has no lines; from 1.
        reason: Why it is not a document.
        content: The line; empty if there is none.
    """

    source: str
    line: int
    reason: str
    content: str

    @classmethod
    def at(cls, source: str, line: int, reason: str, content: str = "") -> BadRow:
        """Return the bad row at a line of a file."""
        error = ValueError(f"{source}, line {line}: {reason}")
        return cls(f"{source}:{line}", error, None, source, line, reason, content)


class DocumentReader:
    r"""Reads documents from files, row by row, so that memory does not grow with the files.

    Iterating yields a `Document` for each row, or a `BadRow` for one that cannot be read. It may be iterated again,
    except for standard input.

    Args:
        sources: Files, patterns such as ``"docs/*.jsonl.gz"``, ``"-"`` for standard input, directories that
            ``datasets`` saved, or names of data sets such as ``"org/name"`` or ``"org/name:validation"``. Files may be
            compressed by gzip or zstd. Those of a pattern are read in the order of their names.
        text: The column of the texts, or a template such as ``"{title}\n{body}"``.
        id: The column of the ids. None takes the column ``id`` where it has a value; other texts get an id that depends
            on the text alone.
        metadata: The columns that become metadata; None takes all others.
        format: What the files are; None goes by their names, and takes standard input for JSON Lines. Values of CSV
            and TSV are strings, because these have no types.

    Raises:
        SourceError: A file is missing, empty, a directory, or of an unknown format; nothing is read then.
        ValueError: The template or the format is not valid.

    Example:
        >>> Path("docs.jsonl").write_text('{"id": 7, "body": "How to cook rice."}\n')
        39
        >>> list(DocumentReader(["docs.jsonl"], text="body"))
        [Document('7', 'How to cook rice.', {})]
    """

    def __init__(
        self,
        sources: str | Path | Sequence[str | Path],
        *,
        text: str = "text",
        id: str | None = None,
        metadata: Sequence[str] | None = None,
        format: Format | None = None,
    ) -> None:
        if format is not None:
            check_choice("format", format, get_args(Format))
        self._columns = Columns(text, id, metadata)
        given = [sources] if isinstance(sources, (str, Path)) else sources
        self._sources = [source for one in given for source in _found(str(one), format)]
        if not self._sources:
            raise SourceError("sources is empty: name a file, or - for standard input")
        self._finished_bytes = 0
        self._reading: IO[bytes] | None = None

    @property
    def files(self) -> list[str]:
        """The names of what is read, with those that the patterns found."""
        return [source.name for source in self._sources]

    @property
    def share_read(self) -> float | None:
        """How much of the files' bytes was read so far, 0 to 1; None if the size of a source is not known."""
        sizes = [source.size for source in self._sources]
        if None in sizes:
            return None
        total = sum(size for size in sizes if size is not None)
        try:
            current = 0 if self._reading is None else self._reading.tell()
        except ValueError:  # it was closed in this moment
            current = 0
        return min(1.0, (self._finished_bytes + current) / max(total, 1))

    def __iter__(self) -> Iterator[Document | BadRow]:
        self._finished_bytes = 0
        for source in self._sources:
            is_empty = True
            for one in _documents(source, self._columns, self._open):
                is_empty = False
                yield one
            if is_empty:
                if len(self._sources) == 1:
                    raise SourceError(f"{source.name} holds no rows")
                _logger.warning("%s holds no rows", source.name)
            self._reading = None
            self._finished_bytes += source.size or 0

    def _open(self, file: IO[bytes]) -> None:
        self._reading = file


def file_rows(path: str | Path) -> Iterator[NumberedRow]:
    """Yield each row of a JSONL, CSV, TSV, Parquet or Arrow file, whatever its columns are, with its number from 1.

    Raises:
        SourceError: The file is missing, empty, a directory, damaged, or of an unknown format.
    """
    if not Path(path).exists():
        raise SourceError(f"{str(path)!r}: there is no such file")
    yield from _rows(_file(Path(path), None), _AnyColumns(), lambda file: None)


class _AnyColumns(Columns):
    def check(self, columns: Collection[str], where: str) -> None:
        """Take a table whatever its columns are."""


@dataclass(frozen=True, slots=True)
class _Source:
    """A file, a data set, or standard input.

    Args:
        name: What messages call it.
        format: None for a data set.
        size: Bytes; None if that is not known.
    """

    name: str
    format: Format | None
    size: int | None


def _found(given: str, format: Format | None) -> list[_Source]:
    """Return the sources that an argument names."""
    if given == STANDARD_INPUT:
        return [_Source(_STANDARD_INPUT_NAME, format or "jsonl", None)]
    if (path := Path(given)).exists():
        return [_file(path, format)]
    if glob.has_magic(given):
        if not (paths := sorted(glob.glob(given, recursive=True))):  # noqa: PTH207 (Path.glob refuses absolute patterns)
            raise SourceError(f"{given!r}: no file has a name of this pattern")
        return [_file(Path(path), format) for path in paths if not Path(path).is_dir()]
    if ":" in given and is_saved_dataset(Path(given.rpartition(":")[0])):
        return [_Source(given, None, None)]
    if _looks_like_file(given):
        raise SourceError(f"{given!r}: there is no such file")
    return [_Source(given, None, None)]


def _looks_like_file(given: str) -> bool:
    stem = Path(given).name
    return any(suffix in _FORMATS for suffix in Path(stem).suffixes) or given.count("/") != 1 or given[0] in "./~"


def _file(path: Path, format: Format | None) -> _Source:
    if path.is_dir():
        if is_saved_dataset(path):
            return _Source(str(path), None, None)
        raise SourceError(f"{str(path)!r} is a directory: name its files, for example {str(path / '*.jsonl')!r}")
    size = path.stat().st_size if path.is_file() else None
    if size == 0:
        raise SourceError(f"{str(path)!r} is empty: it has 0 bytes")
    return _Source(str(path), format or _format_of(path), size)


def _format_of(path: Path) -> Format:
    stem = path.with_suffix("") if path.suffix in _COMPRESSED else path
    if (found := _FORMATS.get(stem.suffix.lower())) is None:
        known = ", ".join(_FORMATS)
        raise SourceError(
            f"{str(path)!r}: the format of {stem.suffix or 'a name without a suffix'!r} is not known; say it with "
            f"format=, or rename the file to one of {known}"
        )
    return found


def _documents(source: _Source, columns: Columns, opened: Callable[[IO[bytes]], object]) -> Iterator[Document | BadRow]:
    missing: list[BadRow] | None = []
    never_seen = columns.metadata
    number = 0
    for number, row in _rows(source, columns, opened):
        if isinstance(row, BadLine):
            yield BadRow.at(source.name, number, row.reason, row.content)
            continue
        if never_seen:
            never_seen -= row.keys()
        try:
            document = columns.document(row)
        except (TypeError, ValueError) as error:
            bad = BadRow.at(source.name, number, str(error))
            if missing is None or not isinstance(error, MissingColumnError):
                yield bad
            else:
                missing.append(bad)
                if len(missing) == _ROWS_TO_FIND_COLUMN:
                    break
            continue
        if missing is not None:
            yield from missing
            missing = None
        yield document
    if missing:
        raise SourceError(str(missing[0].error))
    if never_seen and number:
        _logger.warning("%s: no row has the column %s", source.name, " or ".join(map(repr, sorted(never_seen))))


def _rows(source: _Source, columns: Columns, opened: Callable[[IO[bytes]], object]) -> Iterator[NumberedRow]:
    if source.format is None:
        yield from dataset_rows(source.name, columns)
        return
    number = 0
    try:
        with _raw(source) as raw:
            opened(raw)
            for number, row in _READERS[source.format](_decompressed(raw), columns, source.name):
                yield number, row
    except EOFError as error:
        raise SourceError(
            f"{source.name} ends in the middle of a gzip block, after line {number}: it was not written or copied "
            "whole; get it again"
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(f"{source.name} is damaged after line {number}: {error}; get it again") from error
    except OSError as error:
        raise SourceError(f"{source.name} cannot be read after line {number}: {error}") from error


def _raw(source: _Source) -> IO[bytes]:
    if source.name != _STANDARD_INPUT_NAME:
        return Path(source.name).open("rb")
    # The caller's standard input stays open.
    return open(sys.stdin.fileno(), "rb", closefd=False)


def _decompressed(raw: IO[bytes]) -> IO[bytes]:
    start = raw.peek(4)[:4] if isinstance(raw, io.BufferedReader) else b""
    if start.startswith(_GZIP):
        return gzip.open(raw)  # type: ignore[return-value]  # it is a file of bytes
    if start == _ZSTD:
        with extra("parquet"):
            import pyarrow as pa

        return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd"))
    return raw


def _lines(file: IO[bytes], columns: Columns, where: str) -> Iterator[NumberedRow]:
    return json_lines(file, where)


_READERS: dict[Format, Callable[[IO[bytes], Columns, str], Iterable[Any]]] = {
    "jsonl": _lines,
    "csv": partial(csv_rows, delimiter=","),
    "tsv": partial(csv_rows, delimiter="\t"),
    "parquet": parquet_rows,
    "arrow": arrow_rows,
}
