"""Vectors at rest: documents encoded into Parquet files, and stores read back into them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from more_itertools import constrained_batches

from flagvec.errors import SourceError
from flagvec.ingest.encoded import records_and_failures
from flagvec.ingest.report import FailedWrite
from flagvec.ingest.vector_files import VectorFiles
from flagvec.ingest.vector_layout import DenseType, limits_of
from flagvec.ingest.vector_writer import FILE_BYTES, FilesReport, Position, VectorFilesWriter
from flagvec.late_interaction.storage import COMPACT, ColbertChoice, ColbertStorage, checked_colbert
from flagvec.search.options import check_choice, whole_number
from flagvec.store.backend import Record
from flagvec.store.documents import (
    Document,
    DocumentLike,
    InvalidDocument,
    characters_of,
    checked_documents,
    listed_documents,
)
from flagvec.store.encoding import characters_per_batch, encode_documents
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder
    from flagvec.filters.portable import FilterLike
    from flagvec.store.base import HybridStore

_logger = logging.getLogger(__name__)

_DOCUMENTS_PER_BATCH = 1_024
# Small batches show progress early.
_RECORDS_PER_BATCH, _BATCH_BYTES = 256, 16 * 2**20


def encode_to_parquet(
    documents: DocumentLike | Iterable[DocumentLike | InvalidDocument],
    model: AbsEmbedder,
    directory: str | Path,
    *,
    colbert: ColbertChoice = True,
    dense: DenseType = "float32",
    file_bytes: int = FILE_BYTES,
    on_failure: Callable[[FailedWrite], object] | None = None,
    on_progress: Callable[[FilesReport], object] | None = None,
) -> FilesReport:
    """Encode documents, and write them with their vectors into Parquet files, which `load` writes into any store.

    To go on after an early end, call this again with the same documents in the same order. Those in complete files
    are read and not encoded again. Of documents with one id, `load` keeps the last.

    Args:
        documents: What `HybridStore.add` takes, or a `DocumentReader`.
        model: Encodes them, into all representations that it gives.
        directory: Where; it is made if it is not there.
        colbert: How to keep ColBERT vectors. True and ``"native"`` keep them in half precision, ``"compact"`` and a
            `ColbertStorage` as codes, False not at all.
        dense: The type of the dense vectors' numbers; ``"float16"`` takes half the space.
        file_bytes: The size at which a file is completed. What is not in a complete file is encoded again after the
            process was killed.
        on_failure: Called with each document that is invalid or has vectors that cannot be stored. With None, the
            first of these ends the work by an error.
        on_progress: Called with the report so far, after each batch of documents.

    Raises:
        SourceError: The directory holds vectors of another model, or of one with other arguments, or other documents;
            or `documents` cannot be read.
        TypeError: Something other than documents, with ``on_failure=None``.
        ValueError: An invalid document or vector, with ``on_failure=None``; or a wrong argument.
    """
    schema = schema_of(model, colbert)
    writer = VectorFilesWriter(directory, schema, *_checked(dense, file_bytes), limits=limits_of(model))
    most = characters_per_batch(model, schema.colbert_dimension is not None)
    with writer, ThreadPoolExecutor(1, "flagvec-files") as thread:
        run = _Encoding(model, schema, writer, on_failure)
        writing: Future[None] | None = None
        for batch in constrained_batches(
            run.new(listed_documents(documents)), most, _DOCUMENTS_PER_BATCH, get_len=characters_of, strict=False
        ):
            records, position = run.encoded(batch), run.position
            if writing is not None:
                writing.result()
                run.tell(on_progress)
            writing = thread.submit(writer.write, records, position)
        if writing is not None:
            writing.result()
    run.tell(on_progress)
    return run.report()


def read_vectors(directory: str | Path, *, partial: bool = False) -> VectorFiles:
    """Return the documents and vectors in a directory, which are read while they are iterated over.

    Args:
        directory: Where `encode_to_parquet` or `export` wrote, or another tool in the same layout.
        partial: Read what is there, although the writing has ended early.

    Raises:
        SourceError: There are no files of vectors, or more of them were to come.
    """
    return VectorFiles(directory, partial=partial)


def export(
    store: HybridStore,
    directory: str | Path,
    *,
    filter: FilterLike | None = None,
    dense: DenseType = "float32",
    file_bytes: int = FILE_BYTES,
    timeout: float | None = None,
    on_progress: Callable[[FilesReport], object] | None = None,
) -> FilesReport:
    """Read a store's documents with their vectors, and write them into Parquet files.

    ColBERT vectors stay in the form in which the store keeps them: codes, or half precision. Documents that are added
    or replaced meanwhile may come or not.

    Args:
        store: Any store.
        directory: Where; it is empty or not there.
        filter: Which documents; None for all.
        dense: The type of the dense vectors' numbers; ``"float16"`` takes half the space.
        file_bytes: The size at which a file is completed.
        timeout: Seconds that each request may take.
        on_progress: Called with the report so far, after each batch of documents.

    Raises:
        SourceError: The directory holds vectors already, or a document has no dense vector.
        StoreError: The store does not exist, does not fit its model, was closed, or the database refused.
    """
    dense, file_bytes = _checked(dense, file_bytes)
    records = store.scroll_vectors(filter, timeout=timeout)  # opens the store, which settles its schema
    writer = VectorFilesWriter(directory, store.schema, dense, file_bytes, goes_on=False)

    def report() -> FilesReport:
        return FilesReport(writer.written, 0, 0, 0, tuple(writer.files))

    lost = 0
    with writer:
        for batch in constrained_batches(records, _BATCH_BYTES, _RECORDS_PER_BATCH, get_len=_bytes, strict=False):
            for record in batch:
                if record.vectors.dense is None:
                    raise SourceError(f"document {record.document.id!r} has no dense vector in the store: add it again")
            lost += sum(_lacks_colbert(record, store.schema) for record in batch)
            writer.write(batch, Position(writer.written + len(batch)))
            if on_progress is not None:
                on_progress(report())
    if lost:
        _logger.warning(
            "%d documents have no usable ColBERT vectors in the store, and none in the files: add them to the store "
            "again, and export it anew",
            lost,
        )
    return report()


class _Encoding:
    """One call of `encode_to_parquet`."""

    def __init__(
        self,
        model: AbsEmbedder,
        schema: Schema,
        writer: VectorFilesWriter,
        on_failure: Callable[[FailedWrite], object] | None,
    ) -> None:
        self._model = model
        self._schema = schema
        self._writer = writer
        self._on_failure = on_failure
        self._before = writer.position
        self._found = self._failed = self._truncated = self._items = 0
        self._digest = blake2b(digest_size=16)

    @property
    def position(self) -> Position:
        """How far the source was read for what was encoded so far."""
        return Position(self._items, self._digest.hexdigest())

    def report(self) -> FilesReport:
        files = tuple(self._writer.files)
        return FilesReport(self._writer.written, self._found, self._failed, self._truncated, files)

    def tell(self, on_progress: Callable[[FilesReport], object] | None) -> None:
        if on_progress is not None:
            on_progress(self.report())

    def new(self, documents: Iterable[DocumentLike | InvalidDocument]) -> Iterator[Document | InvalidDocument]:
        """Yield the documents that are in no complete file yet."""
        for one in checked_documents(documents):
            if self._items < self._before.items:
                self._note(one)
                self._found += isinstance(one, Document)
                if self._items == self._before.items and self.position != self._before:
                    raise self._other_documents()
            else:
                yield one
        if self._items < self._before.items:
            raise self._other_documents()

    def encoded(self, batch: Sequence[Document | InvalidDocument]) -> list[Record]:
        """Return a batch with its vectors, without what cannot be stored."""
        for one in batch:
            self._note(one)
            if isinstance(one, InvalidDocument):
                self._fail(FailedWrite.of(one), one.error)
        documents = [one for one in batch if isinstance(one, Document)]
        if not documents:
            return []
        encoded = encode_documents(
            self._model,
            [document.text for document in documents],
            [f"document {document.id!r}" for document in documents],
            self._schema.representations,
            colbert_storage=self._schema.colbert_storage,
        )
        records, failures = records_and_failures(documents, encoded)
        for failure in failures:
            self._fail(failure, ValueError(failure.reason))
        self._truncated += len(encoded.truncated)
        return records

    def _fail(self, failure: FailedWrite, error: Exception) -> None:
        if self._on_failure is None:
            raise error
        self._failed += 1
        self._on_failure(failure)

    def _note(self, one: Document | InvalidDocument) -> None:
        self._items += 1
        said = [one.id, one.text, one.metadata] if isinstance(one, Document) else [one.id, str(one.error)]
        self._digest.update(json.dumps(said, sort_keys=True).encode())

    def _other_documents(self) -> SourceError:
        return SourceError(
            f"{str(self._writer.directory)!r} holds the vectors of {self._before.items} documents, and these are not "
            "the first ones of the source now: choose another directory, or give the same documents in the same order"
        )


def schema_of(model: AbsEmbedder, colbert: ColbertChoice) -> Schema:
    """Return what files hold of all that a model gives, with ColBERT vectors in the chosen form."""
    choice = checked_colbert(colbert)
    schema = Schema.of(model, colbert=choice is not False)
    if schema.colbert_dimension is None or isinstance(choice, bool) or choice == "native":
        return schema
    storage = choice if isinstance(choice, ColbertStorage) else COMPACT
    return replace(schema, colbert_storage=storage.resolved(schema.colbert_dimension))


def _checked(dense: DenseType, file_bytes: int) -> tuple[DenseType, int]:
    check_choice("dense", dense, get_args(DenseType))
    return dense, whole_number("file_bytes", file_bytes, at_least=1)


def _lacks_colbert(record: Record, schema: Schema) -> bool:
    """Return whether a document has no ColBERT vectors in a store that holds them, although it has a text."""
    if schema.colbert_dimension is None or not record.document.text.strip():
        return False
    vectors = record.vectors
    found = vectors.colbert if schema.colbert_storage is None else vectors.colbert_codes
    return found is None or not len(found)


def _bytes(record: Record) -> int:
    vectors: TextVectors = record.vectors
    arrays = (vectors.dense, vectors.colbert, vectors.colbert_codes)
    return sum(array.nbytes for array in arrays if array is not None)
