"""Documents as Qdrant's points: ids, payloads and sizes, the same for every engine."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from flagvec.late_interaction.codec import ColbertCodec
from flagvec.late_interaction.half_precision import base64_size
from flagvec.late_interaction.stored import codes_from_text, codes_to_text
from flagvec.store.backend import Record
from flagvec.store.documents import Document
from flagvec.store.vectors import TextVectors

# As engines return it.
PointId = int | str | uuid.UUID

DENSE, SPARSE, COLBERT = "dense", "sparse", "colbert"
# The keys of a payload that are a document. Codes of ColBERT vectors are under `COLBERT` and are read on their own,
# because they take ten times the space of the rest.
DOCUMENT_KEYS = ("id", "text", "metadata")

_POINT_IDS = uuid.UUID("0c5a0f3d-8e5b-5c0e-9d0a-5d1f6a4f7c11")
# Keys that Qdrant's JSON path takes without quotes, in every version.
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)

# In JSON a float32 has up to 23 characters and a comma. A sparse one also has an index of up to 10 and a comma.
_FLOAT_BYTES = 24
_SPARSE_FLOAT_BYTES = 35
# A character may become an escape like \u00e9.
_CHARACTER_BYTES = 6
_NAMES_BYTES = 256


def point_uuid(document_id: str) -> uuid.UUID:
    """Return the UUID of a document's point, because Qdrant's ids are UUIDs and whole numbers."""
    return uuid.uuid5(_POINT_IDS, document_id)


def point_id(document_id: str) -> str:
    """Return `point_uuid` as a string, which servers take."""
    return str(point_uuid(document_id))


def to_payload(record: Record) -> dict[str, Any]:
    """Return the payload of a record's point: the document, and the codes of its ColBERT vectors if there are any."""
    document, codes = record.document, record.vectors.colbert_codes
    payload = {"id": document.id, "text": document.text, "metadata": document.metadata}
    return payload if codes is None else {**payload, COLBERT: codes_to_text(codes)}


def codes_size(record: Record) -> int:
    """Return the length of the text that `to_payload` makes of a record's codes."""
    codes = record.vectors.colbert_codes
    return 0 if codes is None else base64_size(codes.size)


def to_documents(points: Iterable[Any]) -> list[Document]:
    """Return the documents of an engine's points, which have the payloads of `to_payload`."""
    return [Document(point.payload["id"], point.payload["text"], point.payload["metadata"]) for point in points]


def to_records(points: Sequence[Any], codec: ColbertCodec | None) -> list[Record]:
    """Return the documents of an engine's points with the vectors that came with them.

    Args:
        points: With their whole payload and all vectors.
        codec: What reads the codes of ColBERT vectors; None if there are none.
    """
    documents = to_documents(points)
    return [Record(one, _to_vectors(point, codec)) for one, point in zip(documents, points, strict=True)]


def _to_vectors(point: Any, codec: ColbertCodec | None) -> TextVectors:
    dense, sparse, colbert = (point.vector.get(name) for name in (DENSE, SPARSE, COLBERT))
    return TextVectors(
        dense=None if dense is None else np.asarray(dense, dtype=np.float32),
        sparse=None if sparse is None else dict(zip(sparse.indices, sparse.values, strict=True)),
        colbert=None if colbert is None else np.asarray(colbert, dtype=np.float32),
        colbert_codes=None if codec is None else codes_from_text(point.payload.get(COLBERT), codec),
    )


def field_key(path: Sequence[str]) -> str:
    """Return the JSON path of a metadata field in the payload, in Qdrant's notation.

    Example:
        >>> field_key(["author", "full name"])
        'metadata.author."full name"'
    """
    return ".".join(key if _PLAIN_KEY.fullmatch(key) else f'"{key}"' for key in ("metadata", *path))


def json_bytes(record: Record) -> int:
    """Return an upper bound on the bytes that a record takes in a request, as JSON."""
    document, vectors = record.document, record.vectors
    floats = sum(vector.size for vector in (vectors.dense, vectors.colbert) if vector is not None)
    return (
        _NAMES_BYTES
        + _CHARACTER_BYTES * (len(document.id) + len(document.text))
        + _FLOAT_BYTES * floats
        + _SPARSE_FLOAT_BYTES * len(vectors.sparse or ())
        + codes_size(record)
        + len(json.dumps(document.metadata))
    )
