"""flagvec's records as rows of a Milvus collection, and rows as documents and scores: pure functions."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flagvec.ingest.retry import Record
from flagvec.scoring import colbert_score, dense_score, lexical_score
from flagvec.store.documents import Document
from flagvec.store.encoding import LARGEST_TOKEN_ID, TextVectors
from flagvec_milvus.filters import ID, TERMS, listed, packed, terms

TEXT, METADATA, METADATA_PARTS = "text", "metadata", "metadata_parts"
DENSE, SPARSE, COLBERT = "dense", "sparse", "colbert"
# The one field of the structs of an array.
VECTOR = "vector"

# Servers hold no more in a VARCHAR field or element, in bytes of UTF-8, nor in a JSON field, nor elements in an array.
MAX_STRING_BYTES = 65_535
MAX_ELEMENTS = 4_096
# A row needs a lexical weight: this is the one of a text that has none, for a token that no text has.
NO_TOKEN = LARGEST_TOKEN_ID + 1
_NO_WEIGHTS = {NO_TOKEN: float(np.finfo(np.float32).tiny)}

_HALF_BYTES = 2
_SPARSE_BYTES = 8
# The most that UTF-8 takes for a character: counting them exactly is not worth the time.
_CHARACTER_BYTES = 4
# A protobuf message names each field and writes the length of each value.
_ROW_BYTES = 256
_VALUE_BYTES = 4
# `json.dumps` makes an encoder each time.
_as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
# Whole groups of four base64 digits, so that every part is decodable where it begins.
_BASE64_PART = MAX_STRING_BYTES // 4 * 4


@dataclass(frozen=True, slots=True)
class Layout:
    """What of a row differs by engine.

    Args:
        native_colbert: Whether ColBERT vectors are in an array of structs, not in text parts.
        metadata_parts: Whether metadata that no JSON field of a server takes are in text parts.
        packed_terms: Whether the terms of filters are in one string, not in an array.
    """

    native_colbert: bool
    metadata_parts: bool
    packed_terms: bool

    @property
    def content_fields(self) -> tuple[str, ...]:
        """The fields that make up a document, but for its id, which a search gives with every hit."""
        return (TEXT, METADATA, METADATA_PARTS) if self.metadata_parts else (TEXT, METADATA)

    @property
    def document_fields(self) -> tuple[str, ...]:
        """The fields that make up a document."""
        return (ID, *self.content_fields)


class _Checked(str):
    """A string that the client sends without a look at each of its characters, which costs 20 ns each.

    pymilvus 3.0 checks the one string of a row as it checks a list of strings (``convert_to_str_array``).
    """

    __slots__ = ()

    def __iter__(self) -> Iterator[str]:
        return iter(())


@dataclass(slots=True, eq=False)
class RowRecord(Record):
    """A record and the row that it becomes, made once however often it is sent.

    Args:
        row: The row, by field.
        size: A bound on the bytes that the row takes in a request.
    """

    row: dict[str, Any]
    size: int


def check_text(document: Document) -> None:
    """Refuse a text that no VARCHAR field of a server can hold.

    Raises:
        ValueError: The text is over 65,535 bytes of UTF-8; names the document.
    """
    if (size := len(document.text.encode())) > MAX_STRING_BYTES:
        raise ValueError(
            f"document {document.id!r}: the text has {size:,} bytes in UTF-8, and Milvus takes at most "
            f"{MAX_STRING_BYTES:,}: split it into several documents"
        )


def with_row(record: Record, layout: Layout) -> RowRecord:
    """Return a record with its row.

    Args:
        record: Any record whose text `check_text` takes.
        layout: How the row lies.

    Raises:
        ValueError: The metadata has too many values to filter by; names the document.
    """
    document, vectors = record.document, record.vectors
    row: dict[str, Any] = {ID: _Checked(document.id), TEXT: _Checked(document.text)}
    row[TERMS] = _Checked(packed(terms(document.metadata))) if layout.packed_terms else _listed_terms(document)
    row |= _metadata_fields(document.metadata, layout)
    if vectors.dense is not None:
        row[DENSE] = vectors.dense
    if vectors.sparse is not None:
        row[SPARSE] = vectors.sparse or _NO_WEIGHTS
    if vectors.colbert is not None:
        row[COLBERT] = struct_rows(vectors.colbert) if layout.native_colbert else to_parts(vectors.colbert)
    return RowRecord(document, vectors, row, _size(row, vectors, layout))


def as_row(record: Record) -> RowRecord:
    """Return a record that `with_row` made."""
    assert isinstance(record, RowRecord), "a store makes the row of each record before it sends any"
    return record


def to_document(row: Mapping[str, Any]) -> Document:
    """Return the document of a row that has the fields of `Layout.document_fields`."""
    parts = row.get(METADATA_PARTS)
    return Document(row[ID], row[TEXT], json.loads("".join(parts)) if parts else row[METADATA])


def own_score(name: str, query: TextVectors, value: Any) -> float | None:
    """Return a document's score in one representation from its stored value; None if it has no vector there.

    Args:
        name: ``dense``, ``sparse`` or ``colbert``.
        query: Holds the representation.
        value: What the field of that name holds: floats, weights by token id, or ColBERT vectors as `colbert_rows`
            takes them.
    """
    if name == DENSE:
        return float(dense_score(query.dense, value))
    if name == SPARSE:
        return lexical_score(query.sparse or {}, value)
    assert query.colbert is not None, "a search asks for scores of representations that the query has"
    rows = colbert_rows(value, query.colbert.shape[1])
    return float(colbert_score(query.colbert, rows)) if len(rows) else None


def to_parts(rows: NDArray[np.float32]) -> list[str]:
    """Return (n, dimension) vectors as float16 in base64, in strings that each fit into an array field.

    Example:
        >>> to_parts(np.array([[1.0, 0.0]], dtype=np.float32))
        ['ADwAAA==']
    """
    return _cut(base64.b64encode(rows.astype("<f2").tobytes()).decode("ascii"), _BASE64_PART)


def from_parts(parts: Sequence[str], dimension: int) -> NDArray[np.float32]:
    """Return the (n, dimension) vectors of which `to_parts` made strings, as float32 of half precision."""
    halves = np.frombuffer(base64.b64decode("".join(parts)), dtype="<f2")
    return halves.reshape(-1, dimension).astype(np.float32)


def part_bytes(rows: int, dimension: int) -> int:
    """Return how many bytes `to_parts` makes of (rows, dimension) vectors."""
    return -(-rows * dimension * _HALF_BYTES // 3) * 4


def colbert_rows(value: Sequence[Any] | None, dimension: int) -> NDArray[np.float32]:
    """Return the (n, dimension) float32 vectors of a field, whether in the parts of `to_parts` or in `struct_rows`."""
    if not value or isinstance(value[0], str):
        return from_parts(value or (), dimension)
    return np.array([element[VECTOR] for element in value], dtype=np.float32)


def struct_rows(rows: NDArray[np.float32]) -> list[dict[str, NDArray[np.float32]]]:
    """Return (n, dimension) vectors as the elements of an array of structs."""
    return [{VECTOR: row} for row in rows]


def _listed_terms(document: Document) -> list[str]:
    found = listed(terms(document.metadata))
    if len(found) <= MAX_ELEMENTS:
        return found
    raise ValueError(
        f"document {document.id!r}: its metadata has {len(found):,} terms to filter by, and Milvus takes at most "
        f"{MAX_ELEMENTS:,}: shorten its lists; a string counts as one, a number as up to 17, a date as up to 18"
    )


def _metadata_fields(metadata: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    text = _as_json(metadata)
    if not layout.metadata_parts:
        return {METADATA: text}
    if len(text.encode()) <= MAX_STRING_BYTES:
        return {METADATA: text, METADATA_PARTS: []}
    return {METADATA: "{}", METADATA_PARTS: _cut(json.dumps(metadata), MAX_STRING_BYTES)}


def _cut(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def _size(row: Mapping[str, Any], vectors: TextVectors, layout: Layout) -> int:
    found = [row[TERMS]] if layout.packed_terms else row[TERMS]
    strings = [row[ID], row[TEXT], row[METADATA], *row.get(METADATA_PARTS, ()), *found]
    size = _ROW_BYTES + _CHARACTER_BYTES * sum(map(len, strings)) + _VALUE_BYTES * len(strings)
    size += _SPARSE_BYTES * len(row.get(SPARSE, ()))
    if vectors.dense is not None:
        size += vectors.dense.nbytes
    if vectors.colbert is not None:
        size += vectors.colbert.nbytes if layout.native_colbert else part_bytes(*vectors.colbert.shape)
    return size
