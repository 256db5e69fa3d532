"""`VectorFilesWriter`: documents and vectors in Parquet files, each complete or absent."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from flagvec.errors import SourceError
from flagvec.extras import extra
from flagvec.ingest.directories import locked, sync
from flagvec.ingest.vector_files import UNFINISHED_MARK, complete_files, description, metadata_of
from flagvec.ingest.vector_layout import ID, METADATA, NO_LIMITS, SPARSE_IDS, TEXT, DenseType, arrow_schema, to_batch
from flagvec.store.backend import Record
from flagvec.store.schema import Schema

with extra("parquet"):
    import pyarrow as pa
    import pyarrow.parquet as pq

if TYPE_CHECKING:
    from typing_extensions import Self

FILE_BYTES = 128 * 2**20
# A reader holds one group of rows in memory, and the writer holds the one that is not full yet.
_GROUP_BYTES = 16 * 2**20
# Vectors hardly compress, and would take longer to write and read.
_COMPRESSED = dict.fromkeys((ID, TEXT, METADATA, f"{SPARSE_IDS}.list.element"), "zstd")
_UNFINISHED_SUFFIX = ".unfinished"
_MARK_TEXT = "Not all documents are in this directory yet: repeat the command that wrote it, and it goes on.\n"
_POSITION = b"flagvec.position"


@dataclass(frozen=True, slots=True)
class Position:
    """How far a source was read when a file was completed.

    Args:
        items: How many documents were read, with those that were refused.
        digest: A hash of all of these. It shows whether a source still begins with them.
    """

    items: int = 0
    digest: str = ""


@dataclass(frozen=True, slots=True)
class FilesReport:
    """What was written into a directory of vectors.

    Args:
        written: How many documents this call wrote.
        found: How many documents of the source were in complete files before, so that they were skipped.
        failed: How many cannot be encoded or written.
        truncated: How many were longer than the model reads.
        files: The complete files in the directory.
    """

    written: int
    found: int
    failed: int
    truncated: int
    files: tuple[Path, ...]


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
        limits: What `limits_of` says of the model.
        goes_on: Whether the directory may hold files already, after which this goes on.

    Attributes:
        position: That of the last complete file.
        files: The complete files.
        written: How many documents were written, in complete files and in the one that is not.

    Raises:
        SourceError: The directory holds files of another schema or, without `goes_on`, any; another process writes
            there; or there is no room.
    """

    def __init__(
        self,
        directory: str | Path,
        schema: Schema,
        dense: DenseType,
        file_bytes: int = FILE_BYTES,
        *,
        limits: Mapping[str, Any] = NO_LIMITS,
        goes_on: bool = True,
    ) -> None:
        self.directory = Path(directory)
        self.files: list[Path] = []
        self.position = Position()
        self.written = 0
        self._form = schema, dense, dict(limits)
        self._columns = arrow_schema(schema, dense, limits)
        self._file_bytes = file_bytes
        self._goes_on = goes_on
        self._open: OpenFile | None = None
        self._reached = self.position
        self._lock = ExitStack()

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        sync(self.directory.parent)
        with ExitStack() as stack:
            stack.enter_context(locked(self.directory))
            self.files = complete_files(self.directory)
            self._check_files()
            for file in self.directory.glob(f"*{_UNFINISHED_SUFFIX}"):
                file.unlink()
            self._lock = stack.pop_all()
        if self.files:
            self.position = self._reached = _position(self.files[-1])
        return self

    def _check_files(self) -> None:
        if self.files and not self._goes_on:
            raise SourceError(f"{str(self.directory)!r} holds files of vectors already: choose another directory")
        for file in self.files:
            if description(file) != self._form:
                raise SourceError(
                    f"{str(file)!r} holds vectors of another model, or in another form, than are to be written: choose "
                    "another directory, or the arguments of the first call"
                )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._end(is_whole=kind is None)

    def _end(self, is_whole: bool) -> None:
        try:
            if is_whole and not self.files:
                # A file without rows says that there were no documents.
                self._opened()
            # After an error too, because what was encoded took long.
            self.complete()
            if is_whole:
                (self.directory / UNFINISHED_MARK).unlink(missing_ok=True)
                sync(self.directory)
        except SourceError:
            if is_whole:
                raise

    def write(self, records: Sequence[Record], position: Position) -> None:
        """Write records.

        Args:
            records: With all vectors of the schema.
            position: How far the source was read with them.
        """
        if records:
            batch = to_batch(records, self._columns)
            with self._abandoning():
                self._opened().write(batch)
            self.written += len(records)
        self._reached = position
        if self._open is not None and self._open.size >= self._file_bytes:
            self.complete()

    def complete(self) -> None:
        """Complete the file that is being written, if there is one."""
        if self._open is not None:
            with self._abandoning():
                self.files.append(self._open.complete(self._reached))
            self.position = self._reached
            self._open = None

    def _opened(self) -> OpenFile:
        if self._open is None:
            (self.directory / UNFINISHED_MARK).write_text(_MARK_TEXT, "utf-8")
            sync(self.directory)
            self._open = OpenFile(self._next_path(), self._columns)
        return self._open

    @contextmanager
    def _abandoning(self) -> Iterator[None]:
        """Delete the file that is being written if that fails, because it may hold half of something.

        Raises:
            SourceError: It failed.
        """
        try:
            yield
        except OSError as error:
            if self._open is not None:
                self._open.abandon()
                self._open = None
            raise SourceError(
                f"{str(self.directory)!r} cannot be written: {error.strerror or error}; make room, and repeat the "
                "command: it goes on after the last complete file"
            ) from error

    def _next_path(self) -> Path:
        number = int(self.files[-1].stem.rpartition("-")[2]) + 1 if self.files else 0
        return self.directory / f"part-{number:05}.parquet"


class OpenFile:
    """A file that is being written, and gets its name when it is complete.

    Args:
        path: Its name then.
        columns: Those of `arrow_schema`.
        suffix: What follows the name until then.
    """

    def __init__(self, path: Path, columns: Any, suffix: str = _UNFINISHED_SUFFIX) -> None:
        self._path = path
        self._columns = columns
        self._unfinished = path.with_name(path.name + suffix)
        self._sink = self._unfinished.open("wb")
        # Hardly any value comes twice, so that dictionaries only cost time. The least and the greatest number of a
        # vector help nobody, and finding them takes as long as all else (benchmarks/parquet.py).
        self._writer = pq.ParquetWriter(
            self._sink, columns, compression=_COMPRESSED, use_dictionary=False, write_statistics=[ID]
        )
        self._batches: list[Any] = []
        self._buffered = 0

    @property
    def size(self) -> int:
        """About how many bytes it has, or would have if it were completed now."""
        return self._sink.tell() + self._buffered

    def write(self, batch: Any) -> None:
        """Write a batch of rows; a group of rows goes to the disk once it is large enough."""
        self._batches.append(batch)
        self._buffered += batch.nbytes
        if self._buffered >= _GROUP_BYTES:
            self._write_group()

    def complete(self, position: Position) -> Path:
        """Sync the file, give it its name, and return that."""
        self._write_group()
        self._writer.add_key_value_metadata({_POSITION: json.dumps(asdict(position))})
        self._writer.close()
        self._sink.flush()
        os.fsync(self._sink.fileno())
        self._sink.close()
        self._unfinished.rename(self._path)
        sync(self._path.parent)
        return self._path

    def abandon(self) -> None:
        """Delete the file."""
        # The disk may be full.
        with suppress(OSError, pa.ArrowException):
            self._writer.close()
        with suppress(OSError):
            self._sink.close()
        self._unfinished.unlink(missing_ok=True)

    def _write_group(self) -> None:
        if self._batches:
            table = pa.Table.from_batches(self._batches, schema=self._columns)
            self._writer.write_table(table, row_group_size=table.num_rows)
            self._batches, self._buffered = [], 0


def _position(file: Path) -> Position:
    found = (metadata_of(file) or {}).get(_POSITION)
    return Position() if found is None else Position(**json.loads(found))
