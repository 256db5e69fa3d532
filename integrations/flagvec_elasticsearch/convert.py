"""flagvec's records in Elasticsearch's terms and back: pure functions."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from flagvec.filters.typed_values import typed_fields
from flagvec.ingest.retry import Record
from flagvec.store.documents import Document
from flagvec_elasticsearch import layout as fields
from flagvec_elasticsearch.layout import Layout
from flagvec_elasticsearch.terms import typed_terms

# Token ids are keys as they are.
_JSON_LINE = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE


@dataclass(slots=True, eq=False)
class BulkRecord(Record):
    """A record as it is written.

    Args:
        lines: Its two lines of a bulk request, which replace a document of the same id.
    """

    lines: bytes


def bulk_records(records: Sequence[Record], layout: Layout, packed: bool) -> list[BulkRecord]:
    """Return records as they are written.

    Args:
        records: Valid records, each with a dense vector.
        layout: The index's field types.
        packed: Whether the server takes dense vectors as base64.
    """
    return [
        BulkRecord(record.document, record.vectors, _lines(record, pack(dense) if packed else dense, layout))
        for record, dense in zip(records, _dense_vectors(records), strict=True)
    ]


def bulk_body(records: Iterable[BulkRecord]) -> bytes:
    """Return the body of a bulk request that writes records."""
    return b"".join(record.lines for record in records)


def deletion_body(ids: Iterable[str]) -> bytes:
    """Return the body of a bulk request that deletes documents."""
    return b"".join(_line({"delete": {"_id": name}}) for name in ids)


def searches_body(bodies: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the body of an ``_msearch`` request; a shard that fails makes its search fail, not lack documents."""
    return b"".join(b'{"allow_partial_search_results":false}\n' + _line(body) for body in bodies)


def to_document(hit: Mapping[str, Any]) -> Document:
    """Return the document of a hit or of an answer to ``get``, whose ``_source`` has text and metadata."""
    source = hit["_source"]
    return Document(hit["_id"], source[fields.TEXT], source[fields.METADATA])


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors, along the last axis, at length 1 in float32, off which Elasticsearch allows them 1e-4 of."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / lengths, dtype=np.float32)


def pack(vector: NDArray[np.float32]) -> str:
    """Return a vector as base64 of big-endian float32, which servers take from 9.3 on."""
    return base64.b64encode(vector.astype(">f4").tobytes()).decode("ascii")


def pack_rows(rows: NDArray[np.float32]) -> str:
    """Return ColBERT vectors as base64 of little-endian float16, from which `unpack_rows` makes them again."""
    return base64.b64encode(rows.astype("<f2").tobytes()).decode("ascii")


def unpack_rows(packed: str, dimension: int) -> NDArray[np.float32]:
    """Return the (tokens, dimension) float32 vectors that `pack_rows` made a string of."""
    return np.frombuffer(base64.b64decode(packed), dtype="<f2").reshape(-1, dimension).astype(np.float32)


def packed_size(rows: int, dimension: int) -> int:
    """Return the length of the string that `pack_rows` makes of so many vectors."""
    return (2 * rows * dimension + 2) // 3 * 4


def _lines(record: Record, dense: Any, layout: Layout) -> bytes:
    return _line({"index": {"_id": record.document.id}}) + _line(_source(record, dense, layout))


def _dense_vectors(records: Sequence[Record]) -> NDArray[np.float32]:
    return unit(np.stack([record.vectors.dense for record in records if record.vectors.dense is not None]))


def _source(record: Record, dense: Any, layout: Layout) -> dict[str, Any]:
    document, vectors = record.document, record.vectors
    source = {
        fields.ID: document.id,
        fields.TEXT: document.text,
        fields.METADATA: document.metadata,
        fields.DENSE: dense,
    }
    if document.metadata:
        source[fields.TYPED] = typed_terms(typed_fields(document.metadata))
    if vectors.sparse:
        source[fields.SPARSE] = vectors.sparse
    if vectors.colbert is not None and len(vectors.colbert):
        source |= _colbert(vectors.colbert, layout)
    return source


def _colbert(rows: NDArray[np.float32], layout: Layout) -> dict[str, Any]:
    if layout.colbert_field == "rank_vectors":
        return {fields.COLBERT: rows}
    return {fields.COLBERT: pack_rows(rows), fields.COLBERT_ROWS: len(rows)}


def _line(value: Any) -> bytes:
    return orjson.dumps(value, option=_JSON_LINE)
