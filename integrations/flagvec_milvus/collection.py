"""How flagvec's documents lie in a Milvus collection: its fields and indexes, made and read back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from flagvec.errors import StoreError
from flagvec.store.documents import MAX_ID_BYTES
from flagvec.store.schema import Schema
from flagvec_milvus import struct_array
from flagvec_milvus.convert import (
    COLBERT,
    DENSE,
    MAX_ELEMENTS,
    MAX_STRING_BYTES,
    METADATA,
    METADATA_PARTS,
    SPARSE,
    TEXT,
    Layout,
)
from flagvec_milvus.filters import ID, TERMS
from flagvec_milvus.untyped import DataType, MilvusClient

_VERSION = 2
_PROPERTY = "flagvec"
_STRUCT_ARRAYS_SINCE = (2, 6, 4)
# Milvus Lite holds strings of any length.
_UNBOUNDED = 2**31 - 1
_HNSW = {"M": 30, "efConstruction": 360}


@dataclass(frozen=True, slots=True)
class Engine:
    """The engine that answers a client.

    Args:
        version: What it calls itself.

    Example:
        >>> Engine("milvus_lite-3.2.2").is_lite, Engine("v2.6.4-gpu").has_struct_arrays
        (True, True)
    """

    version: str

    @property
    def is_lite(self) -> bool:
        """Whether it is Milvus Lite, which is in this process."""
        return self.version.startswith("milvus_lite")

    @property
    def has_struct_arrays(self) -> bool:
        """Whether it has arrays of structs, and so compares ColBERT vectors itself."""
        numbers = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", self.version)
        found = tuple(int(number or 0) for number in numbers.groups()) if numbers else ()
        return not self.is_lite and found >= _STRUCT_ARRAYS_SINCE


@dataclass(frozen=True, slots=True)
class Contents:
    """What a collection holds.

    Args:
        schema: What it holds of a model's output.
        layout: How its rows lie.
    """

    schema: Schema
    layout: Layout

    @classmethod
    def of(cls, schema: Schema, engine: Engine) -> Contents:
        """Return what a new collection of this engine holds."""
        has_colbert = schema.colbert_dimension is not None
        layout = Layout(
            native_colbert=has_colbert and engine.has_struct_arrays,
            metadata_parts=not engine.is_lite,
            packed_terms=engine.is_lite,
        )
        return cls(schema, layout)

    @classmethod
    def found(cls, description: Mapping[str, Any], name: str) -> Contents:
        """Return what a collection holds of which this is what ``describe_collection`` says.

        Raises:
            StoreError: It is none that flagvec made, or one of another version.
        """
        kept = [description["description"], description.get("properties", {}).get(_PROPERTY, "")]
        about = next((text for text in kept if text.startswith('{"flagvec"')), None)
        if about is None:
            raise StoreError(f"{name} was not made by flagvec: choose another collection_name")
        values = json.loads(about)
        if (version := values["flagvec"]) != _VERSION:
            remedy = "update flagvec" if version > _VERSION else "drop it, create it anew and add its documents again"
            raise StoreError(f"{name} has layout {version}, this version of flagvec reads {_VERSION}: {remedy}")
        return cls(Schema.from_json(values["schema"]), Layout(**values["layout"]))

    def create_arguments(self, engine: Engine) -> dict[str, Any]:
        """Return the arguments of ``create_collection``."""
        about = json.dumps({"flagvec": _VERSION, "schema": self.schema.to_json(), "layout": asdict(self.layout)})
        # Milvus Lite drops the description; servers give their own meanings to properties.
        if engine.is_lite:
            return {"schema": self._fields(), "properties": {_PROPERTY: about}}
        return {"schema": self._fields(description=about)}

    def index_params(self, engine: Engine) -> Any:
        """Return the argument of ``create_index``.

        Milvus Lite compares all vectors, which takes it no longer than its HNSW graph up to tens of thousands of
        documents: in the graph, a filter that holds for few documents finds hardly any (3 of 60 among 20,000).
        """
        params = MilvusClient.prepare_index_params()
        dense = {"index_type": "FLAT"} if engine.is_lite else {"index_type": "HNSW", "params": _HNSW}
        params.add_index(DENSE, index_name=DENSE, metric_type="IP", **dense)
        if self.schema.sparse:
            algorithm = {} if engine.is_lite else {"inverted_index_algo": "DAAT_MAXSCORE"}
            params.add_index(SPARSE, "SPARSE_INVERTED_INDEX", SPARSE, metric_type="IP", params=algorithm)
        if self.layout.native_colbert:
            struct_array.add_index(params, _HNSW)
        if not engine.is_lite:
            params.add_index(TERMS, index_name=TERMS, index_type="INVERTED")
        return params

    def _fields(self, description: str = "") -> Any:
        fields = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False, description=description)
        strings = {"element_type": DataType.VARCHAR, "max_capacity": MAX_ELEMENTS, "max_length": MAX_STRING_BYTES}
        fields.add_field(ID, DataType.VARCHAR, is_primary=True, max_length=MAX_ID_BYTES)
        fields.add_field(TEXT, DataType.VARCHAR, max_length=MAX_STRING_BYTES)
        fields.add_field(METADATA, DataType.JSON)
        if self.layout.metadata_parts:
            fields.add_field(METADATA_PARTS, DataType.ARRAY, **strings)
        if self.layout.packed_terms:
            fields.add_field(TERMS, DataType.VARCHAR, max_length=_UNBOUNDED)
        else:
            fields.add_field(TERMS, DataType.ARRAY, **strings)
        fields.add_field(DENSE, DataType.FLOAT_VECTOR, dim=self.schema.dimension)
        if self.schema.sparse:
            fields.add_field(SPARSE, DataType.SPARSE_FLOAT_VECTOR)
        if self.layout.native_colbert:
            struct_array.add_field(fields, self.schema.colbert_dimension)
        elif self.schema.colbert_dimension is not None:
            fields.add_field(COLBERT, DataType.ARRAY, **strings)
        return fields
