"""How documents with their vectors lie in a Parquet file: its columns and what describes it, both ways.

``docs/data-at-rest.md`` describes the same for readers without flagvec.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from flagvec import __version__
from flagvec.errors import SourceError
from flagvec.extras import extra
from flagvec.store.backend import Record
from flagvec.store.documents import Document
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

with extra("parquet"):
    import pyarrow as pa

DenseType = Literal["float32", "float16"]

ID, TEXT, METADATA, DENSE = "id", "text", "metadata", "dense"
SPARSE_IDS, SPARSE_WEIGHTS = "sparse_ids", "sparse_weights"
COLBERT, COLBERT_CODES = "colbert", "colbert_codes"

# Arguments of a model that its schema does not have, and that change the vectors of documents.
_LIMITS = ("passage_max_length", "colbert_pool_factor")
NO_LIMITS: Mapping[str, Any] = dict.fromkeys(_LIMITS)

_KEY = b"flagvec"
_MADE_BY = "flagvec"
_VERSION = 1
_FLOATS: Mapping[str, Any] = {"float32": pa.float32(), "float16": pa.float16()}


def limits_of(model: AbsEmbedder) -> dict[str, Any]:
    """Return the arguments of a model that change the vectors of documents and are not in its schema."""
    return {name: getattr(model, name, None) for name in _LIMITS}


def arrow_schema(schema: Schema, dense: DenseType, limits: Mapping[str, Any] = NO_LIMITS) -> Any:
    """Return the columns of a file, with what describes it in their metadata.

    Args:
        schema: What the file holds, and which model made it.
        dense: The type of the numbers of dense vectors.
        limits: What `limits_of` says of the model; None for each if that is not known.
    """
    fields = [
        pa.field(ID, pa.string(), nullable=False),
        pa.field(TEXT, pa.string(), nullable=False),
        pa.field(METADATA, pa.string(), nullable=False),
        pa.field(DENSE, pa.list_(_FLOATS[dense], schema.dimension), nullable=False),
    ]
    if schema.sparse:
        fields.append(pa.field(SPARSE_IDS, pa.list_(pa.uint32()), nullable=False))
        fields.append(pa.field(SPARSE_WEIGHTS, pa.list_(pa.float32()), nullable=False))
    if schema.colbert_dimension is not None:
        if schema.colbert_storage is None:
            rows = pa.list_(pa.list_(pa.float16(), schema.colbert_dimension))
            fields.append(pa.field(COLBERT, rows, nullable=False))
        else:
            fields.append(pa.field(COLBERT_CODES, pa.binary(), nullable=False))
    about = {
        "made_by": _MADE_BY,
        "version": _VERSION,
        "flagvec": __version__,
        "dense": dense,
        "schema": schema.to_json(),
        **limits,
    }
    return pa.schema(fields, metadata={_KEY: json.dumps(about)})


def described(metadata: Mapping[bytes, bytes] | None, where: str) -> tuple[Schema, DenseType]:
    """Return what a file holds and the type of its dense vectors, from its metadata.

    Raises:
        SourceError: flagvec did not make it, or another version of flagvec; `where` names the file.
    """
    try:
        about = json.loads((metadata or {})[_KEY])
        version = about["version"]
        if version == _VERSION:
            return Schema.from_json(about["schema"]), about["dense"]
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(
            f"{where} does not hold vectors of flagvec: its metadata has no description under {_KEY.decode()!r}; "
            "flagvec encode and flagvec export make such files"
        ) from error
    raise SourceError(
        f"{where} has layout {version!r}; this version of flagvec reads layout {_VERSION}: update flagvec"
    )


def described_limits(metadata: Mapping[bytes, bytes]) -> dict[str, Any]:
    """Return the ``limits`` in the metadata of a file that `described` takes; None for each that is not there."""
    about = json.loads(metadata[_KEY])
    return {name: about.get(name) for name in _LIMITS}


def to_batch(records: Sequence[Record], columns: Any) -> Any:
    """Return records as rows of a file with these columns, which are those of `arrow_schema`."""
    vectors = [record.vectors for record in records]
    values: dict[str, Any] = {
        ID: [record.document.id for record in records],
        TEXT: [record.document.text for record in records],
        METADATA: [json.dumps(record.document.metadata, ensure_ascii=False) for record in records],
    }
    arrays = {name: pa.array(column, pa.string()) for name, column in values.items()}
    dense = columns.field(DENSE).type
    arrays[DENSE] = _fixed([one.dense for one in vectors if one.dense is not None], dense)
    if SPARSE_IDS in columns.names:
        weights = [one.sparse or {} for one in vectors]
        arrays[SPARSE_IDS] = _lists([np.fromiter(one, np.uint32, len(one)) for one in weights], pa.uint32())
        numbers = [np.fromiter(one.values(), np.float32, len(one)) for one in weights]
        arrays[SPARSE_WEIGHTS] = _lists(numbers, pa.float32())
    if COLBERT in columns.names:
        rows = columns.field(COLBERT).type.value_type
        empty = np.empty((0, rows.list_size), np.float32)
        matrices = [empty if one.colbert is None else one.colbert for one in vectors]
        flat = _fixed(matrices, rows)
        arrays[COLBERT] = pa.ListArray.from_arrays(_offsets(matrices), flat)
    if COLBERT_CODES in columns.names:
        codes = [b"" if one.colbert_codes is None else one.colbert_codes.tobytes() for one in vectors]
        arrays[COLBERT_CODES] = pa.array(codes, pa.binary())
    return pa.RecordBatch.from_arrays([arrays[name] for name in columns.names], schema=columns)


def to_records(batch: Any, schema: Schema) -> list[Record]:
    """Return the records of rows whose columns are those of `arrow_schema`.

    Raises:
        ValueError: A value is missing, metadata are not JSON, or codes are damaged.
    """
    count, by_name = batch.num_rows, {name: batch.column(name) for name in batch.schema.names}
    vectors = [TextVectors(dense=row) for row in _matrix(by_name[DENSE])]
    if len(vectors) != count:
        raise ValueError(f"{count - len(vectors)} of {count} rows have no dense vector")
    if schema.sparse:
        tokens, weights = _parts(by_name[SPARSE_IDS]), _parts(by_name[SPARSE_WEIGHTS])
        for one, ids, values in zip(vectors, tokens, weights, strict=True):
            one.sparse = dict(zip(ids.tolist(), values.tolist(), strict=True))
    if COLBERT in by_name:
        column = by_name[COLBERT]
        matrix = _matrix(column.flatten())
        for one, rows in zip(vectors, _split(matrix, column), strict=True):
            one.colbert = rows
    if COLBERT_CODES in by_name:
        codec = schema.colbert_codec
        assert codec is not None, "the schema says that there are codes"
        for one, codes in zip(vectors, by_name[COLBERT_CODES].to_pylist(), strict=True):
            one.colbert_codes = codec.from_bytes(codes)
    documents = zip(*(by_name[name].to_pylist() for name in (ID, TEXT, METADATA)), strict=True)
    return [
        Record(Document(name, text, json.loads(metadata)), one)
        for (name, text, metadata), one in zip(documents, vectors, strict=True)
    ]


def fitted(batch: Any, columns: Any, where: str) -> Any:
    """Return a batch with the columns of `arrow_schema` alone, in their order and types.

    Other tools write the same values in other types of Arrow, for example ``large_string``.

    Raises:
        SourceError: A column is missing or has values that do not fit; `where` names the file.
    """
    try:
        chosen = batch.select(columns.names)
        return chosen if chosen.schema.equals(columns, check_metadata=False) else chosen.cast(columns)
    except (KeyError, pa.ArrowException) as error:
        expected = ", ".join(f"{field.name}: {field.type}" for field in columns)
        found = ", ".join(f"{field.name}: {field.type}" for field in batch.schema)
        raise SourceError(f"{where} has the columns {found}; its metadata promises {expected}: {error}") from error


def _fixed(rows: Sequence[NDArray[np.float32]], type: Any) -> Any:
    """Return vectors, or matrices of them, as one array of fixed-size lists."""
    flat = np.concatenate([one.reshape(-1) for one in rows]) if rows else np.empty(0, np.float32)
    numbers = np.asarray(flat, np.float16 if type.value_type == pa.float16() else np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(numbers), type=type)


def _lists(parts: Sequence[NDArray[Any]], type: Any) -> Any:
    flat = np.concatenate(parts) if parts else np.empty(0)
    return pa.ListArray.from_arrays(_offsets(parts), pa.array(flat, type))


def _offsets(parts: Sequence[NDArray[Any]]) -> Any:
    return pa.array(np.cumsum([0, *map(len, parts)]), pa.int32())


def _matrix(column: Any) -> NDArray[np.float32]:
    """Return the vectors of an array of fixed-size lists, (vectors, numbers)."""
    numbers = column.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(numbers, np.float32).reshape(-1, column.type.list_size)


def _parts(column: Any) -> list[NDArray[Any]]:
    """Return the values of each list of an array."""
    return _split(column.flatten().to_numpy(zero_copy_only=False), column)


def _split(values: NDArray[Any], column: Any) -> list[NDArray[Any]]:
    offsets = column.offsets.to_numpy()
    return np.split(values, offsets[1:-1] - offsets[0])
