"""`VectorFiles`: a directory of Parquet files with documents and their vectors, read row by row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flagvec.errors import SourceError
from flagvec.extras import extra
from flagvec.ingest.vector_layout import DenseType, arrow_schema, described, described_limits, fitted, to_records
from flagvec.store.backend import Record
from flagvec.store.schema import Schema

with extra("parquet"):
    import pyarrow as pa
    import pyarrow.parquet as pq

# This file exists while something is being written, and stays if that ends early.
UNFINISHED_MARK = "unfinished.txt"
_ROWS_AT_ONCE = 256


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
        limits: The model's ``passage_max_length`` and ``colbert_pool_factor``; None for each that is not known.
        files: The files, in the order in which they are read.

    Raises:
        SourceError: There are no files, they are not flagvec's, they do not belong together, or more were to come.
    """

    def __init__(self, directory: str | Path, *, partial: bool = False) -> None:
        self.directory = Path(directory)
        self.files = complete_files(self.directory)
        if (self.directory / UNFINISHED_MARK).exists() and not partial:
            raise SourceError(
                f"{str(directory)!r} does not hold all documents yet: repeat the command that wrote it, and it goes "
                "on; or read what is there with partial=True"
            )
        if not self.files:
            raise SourceError(
                f"{str(directory)!r} holds no files of vectors: flagvec encode and flagvec export write them"
            )
        self.schema, self.dense, self.limits = description(self.files[0])
        for file in self.files[1:]:
            if description(file) != (self.schema, self.dense, self.limits):
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


def complete_files(directory: Path) -> list[Path]:
    """Return the Parquet files in a directory, in the order of their names; none if it is not there."""
    return sorted(directory.glob("*.parquet"))


def description(file: Path) -> tuple[Schema, DenseType, dict[str, Any]]:
    """Return what a file holds, the type of its dense vectors, and the limits of the model."""
    metadata = metadata_of(file)
    return *described(metadata, repr(str(file))), described_limits(metadata)


def metadata_of(file: Path) -> Any:
    """Return the keys and values in the metadata of a file.

    Raises:
        SourceError: The file cannot be read.
    """
    try:
        return pq.read_metadata(file).metadata
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{str(file)!r} is damaged or not a Parquet file: {error}") from error
