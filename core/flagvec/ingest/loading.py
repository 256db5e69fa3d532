"""From Parquet files into stores, without encoding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flagvec.ingest.encoded import EncodedDocument
from flagvec.ingest.ingestion import ingest
from flagvec.ingest.opened import named_stores
from flagvec.ingest.vector_files import VectorFiles
from flagvec.store.backend import Record
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors

if TYPE_CHECKING:
    from flagvec.ingest.ingest_report import IngestReport
    from flagvec.store.base import HybridStore


def load(
    directory: str | Path | VectorFiles,
    stores: HybridStore | Sequence[HybridStore] | Mapping[str, HybridStore],
    **options: Any,
) -> IngestReport:
    """Write the documents and vectors in a directory of Parquet files to stores, without encoding.

    Each store gets ColBERT vectors in its own form. Codes go into a store of the same codes as they are. Otherwise
    the vectors that they stand for are scaled to length 1 and packed anew, which is less exact than encoding the
    documents. A store without ColBERT vectors leaves them out.

    Args:
        directory: What `flagvec.ingest.parquet.read_vectors` takes or returns.
        stores: Stores that exist, of the model that made the vectors.
        options: As in `flagvec.ingest.ingest`: ``journal``, ``on_error``, ``dead_letters`` and so on.

    Returns:
        What was done, as `flagvec.ingest.ingest` says it.

    Raises:
        SourceError: The directory holds no vectors, damaged ones, or not all documents yet.
        StoreError: A store is of another model, or holds what the files do not have.
        Exception: What `flagvec.ingest.ingest` raises.
    """
    files = directory if isinstance(directory, VectorFiles) else VectorFiles(directory)
    named = named_stores(stores)
    for store in named.values():
        store.writing.opening.opened()
        check_fits(files, store.schema)
    forms = {store.schema.colbert_storage for store in named.values() if store.schema.colbert_dimension is not None}
    is_same_form = forms <= {files.schema.colbert_storage}
    return ingest(_documents(files, is_same_form), stores=stores, **options)


def check_fits(files: VectorFiles, schema: Schema) -> None:
    """Check that a store of this schema can hold what files have, with or without their ColBERT vectors.

    Raises:
        StoreError: The vectors would not match; says what differs and what to do.
    """
    found = files.schema
    if schema.colbert_dimension is None:
        found = replace(found, colbert_dimension=None, colbert_storage=None)
    schema.check(found, f"the directory {str(files.directory)!r}")


def _documents(files: VectorFiles, is_same_form: bool) -> Iterator[EncodedDocument]:
    for record in files:
        yield encoded_document(record, files.schema, is_same_form)


def encoded_document(record: Record, schema: Schema, is_same_form: bool) -> EncodedDocument:
    """Return a document with its vectors, as `flagvec.ingest.ingest` writes them.

    Args:
        record: What a file holds.
        schema: The file's.
        is_same_form: Whether all stores keep ColBERT vectors in the file's form, so that codes need not be decoded.
    """
    document, vectors = record.document, _with_rows(record, schema, is_needed=not is_same_form)
    return EncodedDocument(document.id, document.text, document.metadata, vectors, schema.colbert_storage)


def _with_rows(record: Record, schema: Schema, is_needed: bool) -> TextVectors:
    """Return vectors with ColBERT rows. If the files have codes, these are decoded, or empty if none is needed."""
    vectors, codec = record.vectors, schema.colbert_codec
    if vectors.colbert_codes is None or codec is None:
        return vectors
    codes = vectors.colbert_codes if is_needed else vectors.colbert_codes[:0]
    return replace(vectors, colbert=unit(codec.decode(codes)))


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows scaled to length 1; a row of zeros stays as it is."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), np.float32)
