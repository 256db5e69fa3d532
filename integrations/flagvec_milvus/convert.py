"""Records as rows of a Milvus collection, and rows as documents and scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flagvec.late_interaction.half_precision import rows_from_text, rows_to_text
from flagvec.late_interaction.stored import codes_to_text
from flagvec.scoring import dense_score, lexical_score
from flagvec.store.backend import Record
from flagvec.store.documents import Document
from flagvec.store.vectors import LARGEST_TOKEN_ID, SMALLEST_WEIGHT, TextVectors
from flagvec_milvus.filters import packed, terms, with_prefixes
from flagvec_milvus.schema import (
    COLBERT,
    DENSE,
    ID,
    MAX_ELEMENTS,
    MAX_STRING_BYTES,
    METADATA,
    METADATA_PARTS,
    SPARSE,
    TERMS,
    TEXT,
    VECTOR,
    Layout,
)

Row = Mapping[str, Any]

# Milvus takes no empty sparse vector. No text has this token, so that its weight changes no score.
NO_TOKEN = LARGEST_TOKEN_ID + 1
_NO_WEIGHTS = {NO_TOKEN: SMALLEST_WEIGHT}

# What protobuf adds: the names of a row's fields, and the length of each value.
_ROW_BYTES = 256
_VALUE_BYTES = 4
_WEIGHT_BYTES = 8


def check_document(document: Document, layout: Layout) -> None:
    """Refuse a document that does not fit into the fields of a collection.

    Raises:
        ValueError: The text is over 65,535 bytes of UTF-8, or the metadata have too many terms for a server.
    """
    if (size := len(document.text.encode())) > MAX_STRING_BYTES:
        raise ValueError(
            f"document {document.id!r}: the text has {size:,} bytes in UTF-8, and Milvus takes at most "
            f"{MAX_STRING_BYTES:,}: split it into several documents"
        )
    if not layout.packed_terms and (count := len(with_prefixes(terms(document.metadata)))) > MAX_ELEMENTS:
        raise ValueError(
            f"document {document.id!r}: its metadata has {count:,} terms to filter by, and Milvus takes at most "
            f"{MAX_ELEMENTS:,}: shorten its lists; a string counts as one, a number as up to 17, a date as up to 18"
        )


def to_row(record: Record, layout: Layout) -> Row:
    """Return the row of a record whose document `check_document` takes."""
    document, vectors = record.document, record.vectors
    found = terms(document.metadata)
    row: dict[str, Any] = {ID: document.id, TEXT: document.text, **_metadata_fields(document.metadata, layout)}
    row[TERMS] = packed(found) if layout.packed_terms else with_prefixes(found)
    if vectors.dense is not None:
        row[DENSE] = vectors.dense
    if vectors.sparse is not None:
        row[SPARSE] = vectors.sparse or _NO_WEIGHTS
    if vectors.colbert_codes is not None:
        row[COLBERT] = _cut(codes_to_text(vectors.colbert_codes))
    elif vectors.colbert is not None:
        row[COLBERT] = _structs(vectors.colbert) if layout.native_colbert else to_parts(vectors.colbert)
    return row


def row_bytes(row: Row) -> int:
    """Return an upper bound on the bytes that a row takes in a request."""
    size = _ROW_BYTES + _WEIGHT_BYTES * len(row.get(SPARSE, ()))
    for name, value in row.items():
        if name != SPARSE:
            size += sum(map(_value_bytes, value)) if isinstance(value, list) else _value_bytes(value)
    return size


def to_document(row: Row) -> Document:
    """Return the document of a row with the fields ``Layout.document_fields``."""
    parts = row.get(METADATA_PARTS)
    return Document(row[ID], row[TEXT], json.loads("".join(parts)) if parts else row[METADATA])


def own_score(name: str, query: TextVectors, value: Any) -> float:
    """Return a document's dense or sparse score, as `name` says, from its field's value."""
    if name == DENSE:
        return float(dense_score(query.dense, value))
    return lexical_score(query.sparse or {}, value)


def to_parts(rows: NDArray[np.float32]) -> list[str]:
    """Return (tokens, dimension) vectors in half precision, as strings that fit into the elements of an array.

    Example:
        >>> to_parts(np.array([[1.0, 0.0]], dtype=np.float32))
        ['ADwAAA==']
    """
    return _cut(rows_to_text(rows))


def from_parts(value: Any) -> str | None:
    """Return the text of a field that keeps it in parts; None if it keeps something else."""
    parts = value or ()
    return "".join(parts) if all(isinstance(part, str) for part in parts) else None


def colbert_rows(value: Sequence[Any] | None, dimension: int) -> NDArray[np.float32] | None:
    """Return the (tokens, dimension) vectors of a field, in parts or structs; None if they are damaged.

    A field that is None has no vectors.
    """
    if (text := from_parts(value)) is None:
        return np.array([element[VECTOR] for element in value or ()], dtype=np.float32)
    with suppress(ValueError):  # not base64, or no whole number of vectors
        rows = rows_from_text(text, dimension)
        if np.isfinite(rows).all():
            return rows
    return None


def _structs(rows: NDArray[np.float32]) -> list[dict[str, NDArray[np.float32]]]:
    return [{VECTOR: row} for row in rows]


def _metadata_fields(metadata: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    text = json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))
    if not layout.metadata_parts:
        return {METADATA: text}
    if len(text.encode()) <= MAX_STRING_BYTES:
        return {METADATA: text, METADATA_PARTS: []}
    return {METADATA: "{}", METADATA_PARTS: _cut(json.dumps(metadata))}


def _cut(text: str) -> list[str]:
    """Return the parts of an ASCII text, each of at most `MAX_STRING_BYTES`."""
    return [text[start : start + MAX_STRING_BYTES] for start in range(0, len(text), MAX_STRING_BYTES)]


def _value_bytes(value: Any) -> int:
    if isinstance(value, str):
        return _VALUE_BYTES + len(value.encode())
    return _VALUE_BYTES + int((value[VECTOR] if isinstance(value, dict) else value).nbytes)
