"""A directory of Parquet files with documents and their vectors: written so that each is complete, and read back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from flagvec.errors import SourceError
from flagvec.extras import extra
from flagvec.ingest.vector_layout import (
    ID,
    METADATA,
    SPARSE_IDS,
    TEXT,
    DenseType,
    arrow_schema,
    described,
    fitted,
    to_batch,
    to_records,
)
from flagvec.store.backend import Record
from flagvec.store.schema import Schema

with extra("parquet"):
    import pyarrow as pa
    import pyarrow.parquet as pq

if TYPE_CHECKING:
    from typing_extensions import Self

FILE_BYTES = 128 * 2**20
# Whoever reads holds a group of rows in memory, and whoever writes one that is not yet full.
_GROUP_BYTES = 16 * 2**20
_ROWS_AT_ONCE = 256
# Vectors would become smaller by a tenth at most, and take twice as long to write and read.
_COMPRESSED = dict.fromkeys((ID, TEXT, METADATA, f"{SPARSE_IDS}.list.element"), "zstd")
_UNFINISHED_SUFFIX = ".unfinished"
# It is there while something is being written, and stays if that ended early.
_UNFINISHED_MARK = "unfinished.txt"
_MARK_TEXT = "Not all documents are in this directory yet: repeat the command that wrote it, and it goes on.\n"
_POSITION = b"flagvec.position"


@dataclass(frozen=True, slots=True)
class Position:
    """How far a source was read when a file was completed.

    Args:
        items: How many documents were read, with those that were refused.
        digest: Of all of these, to tell whether a source still begins with them.
    """

    items: int = 0
    digest: str = ""


class VectorFiles:
    """Reads a directory of Parquet files with documents and their vectors.

    Iterating yields a `Record`, with ``document`` and ``vectors``, for each row, file after file. Vectors are as the
    files hold them, which is not checked.

    Args:
        directory: Where `encode_to_parquet` or `export` wrote.
        partial: Read what is there, although the writing has ended early.

    Attributes:
        schema: What the files hold, and which model made it.
        dense: The type of the dense vectors' numbers in the files.
        files: The files, in the order in which they are read.

    Raises:
        SourceError: There are no files, they are not flagvec's, they do not belong together, or more were to come.
    """

    def __init__(self, directory: str | Path, *, partial: bool = False) -> None:
        self.directory = Path(directory)
        self.files = complete_files(self.directory)
        if (self.directory / _UNFINISHED_MARK).exists() and not partial:
            raise SourceError(
                f"{str(directory)!r} does not hold all documents yet: repeat the command that wrote it, and it goes "
                "on; or read what is there with partial=True"
            )
        if not self.files:
            raise SourceError(
                f"{str(directory)!r} holds no files of vectors: flagvec encode and flagvec export write them"
            )
        self.schema, self.dense = _description(self.files[0])
        for file in self.files[1:]:
            if _description(file) != (self.schema, self.dense):
                raise SourceError(
                    f"{str(file)!r} and {str(self.files[0])!r} hold vectors of different models or forms: keep them in "
                    "two directories"
                )

    def __len__(self) -> int:
        return sum(pq.read_metadata(file).num_rows for file in self.files)

    def __iter__(self) -> Iterator[Record]:
        for file in self.files:
            for batch in self._batches(file):
                try:
                    yield from to_records(batch, self.schema)
                except (TypeError, ValueError) as error:
                    raise SourceError(f"{str(file)!r} is damaged: {error}") from error

    def _batches(self, file: Path) -> Iterator[Any]:
        columns = arrow_schema(self.schema, self.dense)
        try:
            with pq.ParquetFile(file) as table:
                for batch in table.iter_batches(_ROWS_AT_ONCE):
                    yield fitted(batch, columns, repr(str(file)))
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{str(file)!r} is damaged: {error}") from error


class VectorFilesWriter:
    """Writes records into Parquet files of about one size, each complete or absent.

    A file that is being written has the suffix ``.unfinished``. It is flushed to the disk before it gets its name, so
    that neither a killed process nor a power loss leaves half of one. Use it in a ``with`` block, whose end completes
    the last file. If an error ends it, a mark stays that more was to come.

    Args:
        directory: Where; it is made if it is not there. It is empty, or holds files of the same schema.
        schema: What each file holds.
        dense: The type of the dense vectors' numbers.
        file_bytes: The size at which a file is completed.

    Attributes:
        position: That of the last complete file.
        files: The complete files.
        written: How many documents were written, in complete files and in the one that is not.

    Raises:
        SourceError: The directory holds files of another schema.
    """

    def __init__(self, directory: str | Path, schema: Schema, dense: DenseType, file_bytes: int = FILE_BYTES) -> None:
        self.written = 0
        self.directory = Path(directory)
        self._columns = arrow_schema(schema, dense)
        self._file_bytes = file_bytes
        self.directory.mkdir(parents=True, exist_ok=True)
        self.files = complete_files(self.directory)
        self.position = _position(self.files[-1]) if self.files else Position()
        for file in self.files:
            if _description(file) != (schema, dense):
                raise SourceError(
                    f"{str(file)!r} holds vectors of another model, or in another form, than are to be written: choose "
                    "another directory, or the arguments of the first call"
                )
        self._open: _OpenFile | None = None
        self._reached = self.position

    def __enter__(self) -> Self:
        for file in self.directory.glob(f"*{_UNFINISHED_SUFFIX}"):
            file.unlink()
        (self.directory / _UNFINISHED_MARK).write_text(_MARK_TEXT, "utf-8")
        _sync(self.directory)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            # What was encoded took long.
            with suppress(OSError, pa.ArrowException):
                self.complete()
            if self._open is not None:
                self._open.abandon()
        else:
            if not self.files and self._open is None:
                # A directory without files would not say that there were no documents.
                self._open = _OpenFile(self._next_path(), self._columns)
            self.complete()
            (self.directory / _UNFINISHED_MARK).unlink()
            _sync(self.directory)

    def write(self, records: Sequence[Record], position: Position) -> None:
        """Write records.

        Args:
            records: With all vectors of the schema.
            position: How far the source was read with them.
        """
        if records:
            if self._open is None:
                self._open = _OpenFile(self._next_path(), self._columns)
            self._open.write(to_batch(records, self._columns))
            self.written += len(records)
        self._reached = position
        if self._open is not None and self._open.size >= self._file_bytes:
            self.complete()

    def complete(self) -> None:
        """Complete the file that is being written, if there is one."""
        if self._open is not None:
            self.files.append(self._open.complete(self._reached))
            self.position = self._reached
            self._open = None

    def _next_path(self) -> Path:
        number = int(self.files[-1].stem.rpartition("-")[2]) + 1 if self.files else 0
        return self.directory / f"part-{number:05}.parquet"


class _OpenFile:
    """A file that is being written."""

    def __init__(self, path: Path, columns: Any) -> None:
        self._path = path
        self._columns = columns
        self._unfinished = path.with_name(path.name + _UNFINISHED_SUFFIX)
        self._sink = self._unfinished.open("wb")
        # Hardly any value comes twice, so that dictionaries only cost time.
        self._writer = pq.ParquetWriter(self._sink, columns, compression=_COMPRESSED, use_dictionary=False)
        self._batches: list[Any] = []
        self._buffered = 0

    @property
    def size(self) -> int:
        """About how many bytes it has, or would have if it were completed now."""
        return self._sink.tell() + self._buffered

    def write(self, batch: Any) -> None:
        self._batches.append(batch)
        self._buffered += batch.nbytes
        if self._buffered >= _GROUP_BYTES:
            self._write_group()

    def complete(self, position: Position) -> Path:
        self._write_group()
        self._writer.add_key_value_metadata({_POSITION: json.dumps(asdict(position))})
        self._writer.close()
        self._sink.flush()
        os.fsync(self._sink.fileno())
        self._sink.close()
        self._unfinished.rename(self._path)
        _sync(self._path.parent)
        return self._path

    def abandon(self) -> None:
        with suppress(OSError, pa.ArrowException):  # the disk may be full
            self._writer.close()
        self._sink.close()
        self._unfinished.unlink(missing_ok=True)

    def _write_group(self) -> None:
        if self._batches:
            table = pa.Table.from_batches(self._batches, schema=self._columns)
            self._writer.write_table(table, row_group_size=table.num_rows)
            self._batches, self._buffered = [], 0


def complete_files(directory: Path) -> list[Path]:
    """Return the Parquet files in a directory, in the order of their names; none if it is not there."""
    return sorted(directory.glob("*.parquet"))


def _description(file: Path) -> tuple[Schema, DenseType]:
    return described(_metadata(file), repr(str(file)))


def _position(file: Path) -> Position:
    found = (_metadata(file) or {}).get(_POSITION)
    return Position() if found is None else Position(**json.loads(found))


def _metadata(file: Path) -> Any:
    try:
        return pq.read_metadata(file).metadata
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{str(file)!r} is damaged or not a Parquet file: {error}") from error


def _sync(directory: Path) -> None:
    # Windows has no such call for directories.
    if os.name != "nt":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
