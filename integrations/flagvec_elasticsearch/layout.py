"""An index of flagvec: its mapping, and what is found of it in a server's answer. Pure functions and values."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from flagvec.errors import StoreError
from flagvec.store.schema import Schema

DenseIndex = Literal[
    "hnsw", "int8_hnsw", "int4_hnsw", "bbq_hnsw", "bbq_disk", "flat", "int8_flat", "int4_flat", "bbq_flat"
]
SparseField = Literal["rank_features", "sparse_vector"]
ColbertField = Literal["binary", "rank_vectors"]

ID, TEXT, METADATA, TYPED = "id", "text", "metadata", "typed"
DENSE, SPARSE, COLBERT, COLBERT_ROWS = "dense", "sparse", "colbert", "colbert_rows"

_META = "flagvec"
_VERSION = 1
_UNQUANTISED = ("hnsw", "flat")
# The server's own default for its coarsest quantisation; finer ones need less.
_OVERSAMPLE = 3.0
_TYPED_FIELDS = ("present", "strings", "booleans", "numbers", "integers", "moments")
# What decides whether values are kept and compared as they are written; a server repeats them as they were given.
_ESSENTIAL = ("type", "dims", "similarity", "enabled", "doc_values")


@dataclass(frozen=True, slots=True)
class Layout:
    """In which of Elasticsearch's field types an index keeps the vectors.

    Args:
        dense_index: The type of the ``index_options`` of the ``dense_vector``.
        sparse_field: The field type of the lexical weights.
        colbert_field: The field type of the ColBERT vectors.
    """

    dense_index: DenseIndex = "int8_hnsw"
    sparse_field: SparseField = "rank_features"
    colbert_field: ColbertField = "binary"

    @property
    def is_quantised(self) -> bool:
        """Whether the index over dense vectors is of shortened numbers, so that its scores are to be computed anew."""
        return self.dense_index not in _UNQUANTISED


def mappings(schema: Schema, layout: Layout) -> dict[str, Any]:
    """Return the mapping of an index: field types, and the schema in ``_meta``.

    The original metadata is an object that Elasticsearch does not look into. ColBERT vectors that it does not compare
    are kept outside ``_source``, so that no other answer is slowed down by them.
    """
    binary = schema.colbert_dimension is not None and layout.colbert_field == "binary"
    return {
        "dynamic": "strict",
        "_meta": {_META: {"version": _VERSION, "schema": schema.to_json()}},
        **({"_source": {"excludes": [COLBERT]}} if binary else {}),
        "properties": _properties(schema, layout),
    }


def schema_of(mapping: Mapping[str, Any], name: str) -> Schema:
    """Return the schema with which an index was made.

    Args:
        mapping: The index's mapping, as the server gives it.
        name: What messages call the index.

    Raises:
        StoreError: It was not made by flagvec, or by a newer version of it.
    """
    try:
        meta = mapping["_meta"][_META]
        version, schema = meta["version"], Schema.from_json(meta["schema"])
    except (KeyError, TypeError) as error:
        raise StoreError(
            f"{name} was not made by flagvec, for its mapping has no _meta.{_META} with a schema: "
            "choose another index_name and call create()"
        ) from error
    if version != _VERSION:
        raise StoreError(f"{name} has layout {version}, this version of flagvec reads {_VERSION}: update flagvec")
    return schema


def layout_of(mapping: Mapping[str, Any], schema: Schema, wanted: Layout, name: str) -> Layout:
    """Return the field types of an index of this schema, where it has no such field those that are `wanted`.

    Raises:
        StoreError: A field is not as flagvec maps it; names the field, what was found and what is expected.
    """
    properties = mapping.get("properties", {})
    layout = Layout(
        dense_index=properties.get(DENSE, {}).get("index_options", {}).get("type"),
        sparse_field=_found_type(properties, SPARSE, get_args(SparseField), wanted.sparse_field),
        colbert_field=_found_type(properties, COLBERT, get_args(ColbertField), wanted.colbert_field),
    )
    found, expected = dict(_essentials(properties)), dict(_essentials(_properties(schema, layout)))
    for field, values in expected.items():
        if found.get(field) != values:
            raise StoreError(
                f"{name} cannot hold flagvec's documents: its field {field!r} is {_said(found.get(field))}, "
                f"not {_said(values)}; choose another index_name"
            )
    return layout


def _found_type(properties: Mapping[str, Any], field: str, known: Collection[str], wanted: Any) -> Any:
    found = properties.get(field, {}).get("type")
    return found if found in known else wanted


def _properties(schema: Schema, layout: Layout) -> dict[str, Any]:
    properties: dict[str, Any] = {
        # A search's candidates are read from it: far faster than from the stored documents, where _id is.
        ID: {"type": "keyword", "index": False, "doc_values": True},
        TEXT: {"type": "text", "index": False},
        METADATA: {"type": "object", "enabled": False},
        TYPED: {"properties": {name: {"type": "keyword", "doc_values": False} for name in _TYPED_FIELDS}},
        DENSE: dense_property(schema.dimension, layout),
    }
    if schema.sparse:
        properties[SPARSE] = _sparse_property(layout.sparse_field)
    if schema.colbert_dimension is not None:
        properties |= _colbert_properties(layout.colbert_field, schema.colbert_dimension)
    return properties


def dense_property(dimension: int, layout: Layout) -> dict[str, Any]:
    """Return the mapping of a field of dense vectors of length 1."""
    return {
        "type": "dense_vector",
        "dims": dimension,
        "index": True,
        "similarity": "dot_product",
        "index_options": _index_options(layout),
    }


def _index_options(layout: Layout) -> dict[str, Any]:
    rescored = {"rescore_vector": {"oversample": _OVERSAMPLE}} if layout.is_quantised else {}
    return {"type": layout.dense_index, **rescored}


def _sparse_property(sparse_field: SparseField) -> dict[str, Any]:
    # Pruning is made for another model's weights and would drop tokens of this one.
    return {"type": sparse_field, **({"index_options": {"prune": False}} if sparse_field == "sparse_vector" else {})}


def _colbert_properties(colbert_field: ColbertField, dimension: int) -> dict[str, Any]:
    if colbert_field == "rank_vectors":
        return {COLBERT: {"type": "rank_vectors", "dims": dimension}}
    return {COLBERT: {"type": "binary", "doc_values": True}, COLBERT_ROWS: {"type": "integer", "index": False}}


def _essentials(properties: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each field's path with those of its parameters that documents depend on."""
    for name, parameters in properties.items():
        kept = {key: parameters[key] for key in _ESSENTIAL if key in parameters}
        # A server may leave out what is the default, which for keyword it is, and for binary in some versions.
        if kept.get("doc_values") is True:
            del kept["doc_values"]
        yield prefix + name, kept
        yield from _essentials(parameters.get("properties", {}), f"{prefix}{name}.")


def _said(parameters: Mapping[str, Any] | None) -> str:
    return "missing" if parameters is None else ", ".join(f"{key} {value}" for key, value in parameters.items())
