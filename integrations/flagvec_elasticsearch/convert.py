"""Records as rows of a bulk request, and answers as documents: pure functions."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from flagvec.filters.typed_values import typed_fields
from flagvec.late_interaction.half_precision import rows_from_text, rows_to_text, text_size
from flagvec.late_interaction.stored import codes_from_text, codes_to_text
from flagvec.store.backend import Record
from flagvec.store.documents import Document
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors
from flagvec_elasticsearch.filters import typed_terms
from flagvec_elasticsearch.schema import COLBERT, COLBERT_ROWS, DENSE, ID, METADATA, SPARSE, TEXT, TYPED, Layout

# The ``_seq_no`` and ``_primary_term`` of a document, which differ after each write.
Version = tuple[int, int]
NO_VERSIONS: Mapping[str, Version] = {}

_JSON_LINE = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE


def json_line(value: Any) -> bytes:
    """Return a value as one line of JSON; numpy arrays become lists, and int keys strings."""
    return orjson.dumps(value, option=_JSON_LINE)


def rows(
    records: Sequence[Record], layout: Layout, packed: bool, versions: Mapping[str, Version] = NO_VERSIONS
) -> list[bytes]:
    """Return the two lines of a bulk request that write each record, replacing a document of the same id.

    Args:
        records: Valid records, each with a dense vector.
        layout: The index's field types.
        packed: Whether the server takes dense vectors as base64.
        versions: The versions that documents must still have when they are replaced, by id; others may have any.
    """
    if not records:
        return []
    dense = unit(np.stack([record.vectors.dense for record in records if record.vectors.dense is not None]))
    return [
        json_line({"index": {"_id": record.document.id, **_condition(versions.get(record.document.id))}})
        + json_line(_source(record, _packed(vector) if packed else vector, layout))
        for record, vector in zip(records, dense, strict=True)
    ]


def deletions(ids: Iterable[str]) -> list[bytes]:
    """Return the lines of a bulk request that delete documents."""
    return [json_line({"delete": {"_id": name}}) for name in ids]


def to_document(found: Mapping[str, Any]) -> Document:
    """Return the document of a hit, or of an answer to ``get``, that has text and metadata in its ``_source``."""
    source = found["_source"]
    return Document(found["_id"], source[TEXT], source[METADATA])


def document_alone(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return of a hit only what `to_document` takes."""
    source = found["_source"]
    return {"_id": found["_id"], "_source": {name: source[name] for name in (TEXT, METADATA) if name in source}}


def to_record(found: Mapping[str, Any], schema: Schema) -> Record:
    """Return the document of a hit with its vectors.

    Args:
        found: What was read as `queries.documents_with_vectors` says.
        schema: What the index holds.
    """
    source, fields = found["_source"], found.get("fields", {})
    sparse = source.get(SPARSE)
    vectors = TextVectors(
        dense=_dense(source.get(DENSE)),
        sparse=None if sparse is None else {int(token): weight for token, weight in sparse.items()},
    )
    if (codec := schema.colbert_codec) is not None:
        vectors.colbert_codes = codes_from_text("" if source.get(COLBERT) == {"rows": 0} else codes_text(found), codec)
    elif schema.colbert_dimension is not None:
        value = source.get(COLBERT, fields.get(COLBERT))
        vectors.colbert = _colbert(value, fields.get(COLBERT_ROWS), schema.colbert_dimension)
    return Record(to_document(found), vectors)


def as_compared(record: Record) -> Record:
    """Return a record with the lexical weights that Elasticsearch multiplies: Lucene keeps 9 bits of each."""
    if record.vectors.sparse:
        weights = np.array(list(record.vectors.sparse.values()), dtype=np.float32)
        kept = (weights.view(np.uint32) & np.uint32(0xFFFF8000)).view(np.float32).tolist()
        record.vectors.sparse = dict(zip(record.vectors.sparse, kept, strict=True))
    return record


def _dense(value: Any) -> NDArray[np.float32] | None:
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value), dtype=">f4").astype(np.float32)
    return None if value is None else np.asarray(value, dtype=np.float32)


def _colbert(value: Any, counts: Any, dimension: int) -> NDArray[np.float32] | None:
    """Return ColBERT vectors; None if there are none, or damaged ones.

    Args:
        value: Rows of numbers in ``rank_vectors``, and a list of one string in a ``binary`` field.
        counts: How many there are, in a list of one; None if the index does not say.
        dimension: Their length.
    """
    if not value:
        return None
    if not isinstance(value[0], str):
        return np.asarray(value, dtype=np.float32)
    count = counts[0] if counts else len(value[0]) // text_size(1, dimension)
    return colbert_rows(value[0], count, dimension)


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors scaled to length 1 along the last axis, because Elasticsearch refuses lengths off by over 1e-4."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / lengths, dtype=np.float32)


def codes_text(found: Mapping[str, Any]) -> str | None:
    """Return the codes of a hit that has them in its ``_source``, as base64; None if they are missing or not a text."""
    # Another tool may have written anything.
    colbert = found.get("_source", {}).get(COLBERT)
    text = colbert.get("codes") if isinstance(colbert, Mapping) else None
    return text if isinstance(text, str) else None


def colbert_rows(value: Any, count: int, dimension: int) -> NDArray[np.float32] | None:
    """Return a document's ColBERT vectors, (count, dimension) float32; None if they are missing or damaged.

    Args:
        value: What the index holds for them: base64 if no other tool has changed it.
        count: How many there are.
        dimension: Their length.
    """
    if not isinstance(value, str) or len(value) != text_size(count, dimension):
        return None
    try:
        vectors = rows_from_text(value, dimension)
    except ValueError:  # it is not base64, or ends early
        return None
    # Characters that are not base64 are skipped.
    return vectors if len(vectors) == count else None


def _condition(version: Version | None) -> dict[str, int]:
    return {} if version is None else {"if_seq_no": version[0], "if_primary_term": version[1]}


def _packed(vector: NDArray[np.float32]) -> str:
    return base64.b64encode(vector.astype(">f4").tobytes()).decode("ascii")


def _source(record: Record, dense: Any, layout: Layout) -> dict[str, Any]:
    document, vectors = record.document, record.vectors
    source = {ID: document.id, TEXT: document.text, METADATA: document.metadata, DENSE: dense}
    if document.metadata:
        source[TYPED] = typed_terms(typed_fields(document.metadata))
    if vectors.sparse:
        source[SPARSE] = vectors.sparse
    if (codes := vectors.colbert_codes) is not None:
        text = {"codes": codes_to_text(codes)} if len(codes) else {}
        return {**source, COLBERT: {"rows": len(codes), **text}}
    if vectors.colbert is None:
        return source
    if layout.colbert_field == "rank_vectors":
        return {**source, COLBERT: vectors.colbert} if len(vectors.colbert) else source
    source[COLBERT_ROWS] = len(vectors.colbert)
    if len(vectors.colbert):
        source[COLBERT] = rows_to_text(vectors.colbert)
    return source
