"""How a store lies in a Milvus collection: its fields, its indexes, and what says that flagvec made it."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from pymilvus import DataType, MilvusClient

from flagvec.errors import StoreError
from flagvec.store.documents import MAX_ID_BYTES
from flagvec.store.schema import Schema

ID, TEXT, METADATA, METADATA_PARTS, TERMS = "id", "text", "metadata", "metadata_parts", "terms"
DENSE, SPARSE, COLBERT = "dense", "sparse", "colbert"
# Servers hold ColBERT vectors in an array of structs with this one field.
VECTOR = "vector"
COLBERT_PATH = f"{COLBERT}[{VECTOR}]"

# The limits of a server: bytes of UTF-8 in a VARCHAR, an array's element and a JSON field; and elements in an array.
MAX_STRING_BYTES = 65_535
MAX_ELEMENTS = 4_096

# Version 3 is version 2 with codes for ColBERT vectors.
_VERSION, _VERSION_OF_CODES = 2, 3
_PROPERTY = "flagvec"
_STRUCT_ARRAYS_SINCE = (2, 6, 4)
# Milvus Lite holds strings of any length.
_UNBOUNDED = 2**31 - 1
NO_INDEXES: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
_HNSW: Mapping[str, Any] = {"index_type": "HNSW", "params": {"M": 30, "efConstruction": 360}}


@dataclass(frozen=True, slots=True)
class Engine:
    """The engine behind a client, by the version that it reports, as in ``milvus_lite-3.2.2`` or ``v2.6.4-gpu``."""

    version: str

    @property
    def is_lite(self) -> bool:
        """Whether it is Milvus Lite, which runs in this process."""
        return self.version.startswith("milvus_lite")

    @property
    def has_struct_arrays(self) -> bool:
        """Whether it has arrays of structs, and so compares ColBERT vectors itself."""
        numbers = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", self.version)
        found = tuple(int(number or 0) for number in numbers.groups()) if numbers else ()
        return not self.is_lite and found >= _STRUCT_ARRAYS_SINCE


@dataclass(frozen=True, slots=True)
class Layout:
    """What differs in a row from engine to engine.

    Args:
        native_colbert: ColBERT vectors are an array of structs that the server compares, not text. The text holds
            codes if the schema has a ``colbert_storage``, and vectors in half precision in older collections.
        metadata_parts: Metadata over the size of a JSON field are in an array of strings.
        packed_terms: The terms of filters are one string, not an array.
    """

    native_colbert: bool
    metadata_parts: bool
    packed_terms: bool

    @property
    def content_fields(self) -> tuple[str, ...]:
        """The fields of a document without its id, which every hit of a search has anyway."""
        return (TEXT, METADATA, METADATA_PARTS) if self.metadata_parts else (TEXT, METADATA)

    @property
    def document_fields(self) -> tuple[str, ...]:
        """The fields of a document."""
        return (ID, *self.content_fields)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a collection holds of a model's output, and how its rows lie."""

    schema: Schema
    layout: Layout

    @classmethod
    def of(cls, schema: Schema, engine: Engine) -> Contents:
        """Return what a new collection of this engine holds."""
        keeps_vectors = schema.colbert_dimension is not None and schema.colbert_storage is None
        layout = Layout(
            native_colbert=keeps_vectors and engine.has_struct_arrays,
            metadata_parts=not engine.is_lite,
            packed_terms=engine.is_lite,
        )
        return cls(schema, layout)

    @classmethod
    def found(cls, description: Mapping[str, Any], name: str) -> Contents:
        """Return what a collection holds, from the answer of ``describe_collection``.

        Raises:
            StoreError: Someone else made it, or it has another layout.
        """
        about = next(_said(description), None)
        if about is None:
            raise StoreError(f"{name} was not made by flagvec: choose another collection_name")
        if (version := about.get("version", about.get("flagvec"))) not in (_VERSION, _VERSION_OF_CODES):
            remedy = "update flagvec" if version > _VERSION else "drop it, create it anew and add its documents again"
            raise StoreError(
                f"{name} has layout {version}, this version of flagvec reads {_VERSION} and {_VERSION_OF_CODES}: "
                f"{remedy}"
            )
        return cls(Schema.from_json(about["schema"]), Layout(**about["layout"]))

    def create_arguments(self, engine: Engine) -> dict[str, Any]:
        """Return the arguments of ``create_collection``."""
        held = {"schema": self.schema.to_json(), "layout": asdict(self.layout)}
        version = _VERSION if self.schema.colbert_storage is None else _VERSION_OF_CODES
        about = {"made_by": "flagvec", "version": version, **held}
        # Newer servers take at most 1,024 bytes of description (milvus#50173).
        text = json.dumps(about, ensure_ascii=False, separators=(",", ":"))
        # Milvus Lite drops the description. Servers give properties meanings of their own.
        if engine.is_lite:
            return {"schema": self._fields(), "properties": {_PROPERTY: text}}
        return {"schema": self._fields(description=text)}

    def index_params(self, engine: Engine, chosen: Mapping[str, Mapping[str, Any]] = NO_INDEXES) -> Any:
        """Return the argument of ``create_index``.

        Args:
            engine: Which engine builds the indexes.
            chosen: What replaces the index type and the parameters, by the name of the field.
        """
        params = MilvusClient.prepare_index_params()
        # In Milvus Lite's HNSW graph, a filter that holds for few documents finds hardly any of them: 3 of 60 among
        # 20,000. Comparing all vectors takes no longer at the sizes that Milvus Lite is for.
        graph = {"index_type": "FLAT"} if engine.is_lite else _HNSW
        params.add_index(DENSE, index_name=DENSE, metric_type="IP", **{**graph, **chosen.get(DENSE, {})})
        if self.schema.sparse:
            algorithm = {} if engine.is_lite else {"inverted_index_algo": "DAAT_MAXSCORE"}
            inverted = {"index_type": "SPARSE_INVERTED_INDEX", "params": algorithm, **chosen.get(SPARSE, {})}
            params.add_index(SPARSE, index_name=SPARSE, metric_type="IP", **inverted)
        if self.layout.native_colbert:
            many = {**_HNSW, **chosen.get(COLBERT, {})}
            params.add_index(COLBERT_PATH, index_name=f"{COLBERT}_{VECTOR}", metric_type="MAX_SIM_IP", **many)
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
            # As in https://milvus.io/docs/array-of-structs.md.
            struct = MilvusClient.create_struct_field_schema()
            struct.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=self.schema.colbert_dimension)
            fields.add_field(
                COLBERT, DataType.ARRAY, element_type=DataType.STRUCT, struct_schema=struct, max_capacity=MAX_ELEMENTS
            )
        elif self.schema.colbert_dimension is not None:
            fields.add_field(COLBERT, DataType.ARRAY, **strings)
        return fields


def identity_of(description: Mapping[str, Any]) -> str:
    """Return what tells a collection from one of the same name, from the answer of ``describe_collection``."""
    # Milvus Lite numbers no collections. What flagvec wrote about one tells it from one of another model.
    number = description["collection_id"] or zlib.crc32(repr(list(_said(description))).encode())
    return f"the collection {description['collection_name']!r} (id {number})"


def _said(description: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield what flagvec wrote about a collection that it made, in this form or the older one."""
    for text in (description["description"], description.get("properties", {}).get(_PROPERTY, "")):
        try:
            about = json.loads(text)
        except json.JSONDecodeError:
            continue
        if isinstance(about, dict) and (about.get("made_by") == "flagvec" or "flagvec" in about):
            yield about
