"""The mapping of a store's index, and how a store is recognised by it: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from flagvec.errors import StoreError
from flagvec.late_interaction.storage import ColbertStorage
from flagvec.store.schema import Schema

DenseIndex = Literal[
    "hnsw", "int8_hnsw", "int4_hnsw", "bbq_hnsw", "bbq_disk", "flat", "int8_flat", "int4_flat", "bbq_flat"
]
SparseField = Literal["rank_features", "sparse_vector"]
ColbertField = Literal["binary", "rank_vectors"]

ID, TEXT, METADATA, TYPED = "id", "text", "metadata", "typed"
DENSE, SPARSE, COLBERT, COLBERT_ROWS = "dense", "sparse", "colbert", "colbert_rows"
# In an index of codes, COLBERT is an object of the codes and of how many there are.
CODES_ROWS = f"{COLBERT}.rows"

_MADE_BY = "flagvec"
# Layout 1 left the ColBERT vectors out of _source, which Elasticsearch does not let an index change (tried on 8.19).
# Layout 3 is layout 2 with codes for ColBERT vectors.
_VERSION, _VERSION_OF_CODES = 2, 3
_READ_VERSIONS = (1, 2, 3)
_UNQUANTISED = ("hnsw", "flat")
# The server's default for bbq, its coarsest quantisation; the finer ones need less.
_OVERSAMPLE = 3.0
_TYPED_FIELDS = ("present", "strings", "booleans", "numbers", "integers", "moments")
_ESSENTIAL = ("type", "dims", "similarity", "enabled", "properties")


@dataclass(frozen=True, slots=True)
class Layout:
    """The field types in which an index keeps vectors.

    Args:
        dense_index: The type of the ``index_options`` of the ``dense_vector``.
        sparse_field: The field type of the lexical weights.
        colbert_field: The field type of the ColBERT vectors.
        counts_rows: Whether each document says how many ColBERT vectors it has, also if it has none.
    """

    dense_index: DenseIndex = "int8_hnsw"
    sparse_field: SparseField = "rank_features"
    colbert_field: ColbertField = "binary"
    counts_rows: bool = True

    @property
    def is_quantised(self) -> bool:
        """Whether the index over dense vectors is quantised, so that its scores must be computed again in full."""
        return self.dense_index not in _UNQUANTISED


def mappings(schema: Schema, layout: Layout) -> dict[str, Any]:
    """Return the mapping of a new index: the field types, and the schema in ``_meta``.

    Everything stays in ``_source``, from which Elasticsearch's ``_update`` and ``_reindex`` make a document anew.
    """
    version = _VERSION if schema.colbert_storage is None else _VERSION_OF_CODES
    return {
        "dynamic": "strict",
        "_meta": {_MADE_BY: {"made_by": _MADE_BY, "version": version, "schema": schema.to_json()}},
        "properties": _properties(schema, layout),
    }


def schema_of(mapping: Mapping[str, Any], name: str) -> Schema:
    """Return the schema that an index was made with.

    Args:
        mapping: The index's mapping, as the server gives it.
        name: What messages call the index.

    Raises:
        StoreError: The index was not made by flagvec, or by a version with another layout.
    """
    try:
        meta = mapping["_meta"][_MADE_BY]
        version, schema = meta["version"], Schema.from_json(meta["schema"])
    except (KeyError, TypeError) as error:
        raise StoreError(
            f"{name} was not made by flagvec, because its mapping has no schema in _meta.{_MADE_BY}: choose another "
            "index_name"
        ) from error
    if version not in _READ_VERSIONS:
        raise StoreError(
            f"{name} has layout {version}, but this flagvec reads layouts 1 to {_VERSION_OF_CODES}: update flagvec"
        )
    return schema


def layout_of(mapping: Mapping[str, Any], schema: Schema, chosen: Mapping[str, Any], name: str) -> Layout:
    """Return the field types of an index of this schema.

    Args:
        mapping: The index's mapping, as the server gives it.
        schema: The index's schema.
        chosen: What stands for a field that the index does not have, by the name in `Layout`.
        name: What messages call the index.

    Raises:
        StoreError: A field is not as flagvec maps it; names the field, what was found and what was expected.
    """
    properties = mapping.get("properties", {})
    counts_rows = mapping["_meta"][_MADE_BY]["version"] > 1
    known = _known_types(properties) | ({"colbert_field": "binary"} if schema.colbert_storage else {})
    layout = Layout(**{**chosen, **known}, counts_rows=counts_rows)
    for field, parameters in _properties(schema, layout).items():
        essential = [key for key in _ESSENTIAL if key in parameters]
        found, expected = ({key: one.get(key) for key in essential} for one in (properties.get(field, {}), parameters))
        if found != expected:
            raise StoreError(
                f"{name} cannot hold flagvec's documents: its field {field!r} has {found}, not {expected}: choose "
                "another index_name"
            )
    return layout


def dense_property(dimension: int, layout: Layout) -> dict[str, Any]:
    """Return the mapping of a field of dense vectors of length 1."""
    rescored = {"rescore_vector": {"oversample": _OVERSAMPLE}} if layout.is_quantised else {}
    return {
        "type": "dense_vector",
        "dims": dimension,
        "index": True,
        "similarity": "dot_product",
        "index_options": {"type": layout.dense_index, **rescored},
    }


def _properties(schema: Schema, layout: Layout) -> dict[str, Any]:
    properties: dict[str, Any] = {
        # Searches read the ids of candidates from here, because reading _id takes twice as long.
        ID: {"type": "keyword", "index": False, "doc_values": True},
        TEXT: {"type": "text", "index": False},
        METADATA: {"type": "object", "enabled": False},
        TYPED: {"properties": {name: {"type": "keyword", "doc_values": False} for name in _TYPED_FIELDS}},
        DENSE: dense_property(schema.dimension, layout),
    }
    if schema.sparse:
        # Pruning is tuned for the weights of another model, and would drop tokens of ours.
        unpruned = {"index_options": {"prune": False}} if layout.sparse_field == "sparse_vector" else {}
        properties[SPARSE] = {"type": layout.sparse_field, **unpruned}
    if schema.colbert_dimension is not None:
        properties |= _colbert_properties(layout.colbert_field, schema.colbert_dimension, schema.colbert_storage)
    return properties


def _colbert_properties(colbert_field: ColbertField, dimension: int, storage: ColbertStorage | None) -> dict[str, Any]:
    if colbert_field == "rank_vectors":
        return {COLBERT: {"type": "rank_vectors", "dims": dimension}}
    if storage is not None:
        # Both are in one object, so that another tool which leaves COLBERT out leaves out the number as well. The
        # number has doc values, by which `repair` finds documents without codes.
        return {COLBERT: {"properties": {"codes": {"type": "binary"}, "rows": {"type": "integer", "index": False}}}}
    # A rerank reads doc values, because reading its candidates from _source takes half as long again.
    return {COLBERT: {"type": "binary", "doc_values": True}, COLBERT_ROWS: {"type": "integer", "index": False}}


def _known_types(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the field types of an index by the names of `Layout`, without those that flagvec does not know."""
    found = {
        "dense_index": (properties.get(DENSE, {}).get("index_options", {}).get("type"), DenseIndex),
        "sparse_field": (properties.get(SPARSE, {}).get("type"), SparseField),
        "colbert_field": (properties.get(COLBERT, {}).get("type"), ColbertField),
    }
    return {name: value for name, (value, known) in found.items() if value in get_args(known)}
