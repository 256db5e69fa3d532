"""A collection's configuration: what a new one is made with, and what an existing one can hold."""

from __future__ import annotations

from typing import Any

from qdrant_client import models

from flagvec.errors import StoreError
from flagvec.store.schema import Schema
from flagvec_qdrant import convert
from flagvec_qdrant.storage import Placement, StorageProfile

# Of unit vectors, which all that a store writes are, both are the same.
_DOT_PRODUCTS = (models.Distance.COSINE, models.Distance.DOT)
_MEMORY_SINCE = (1, 19)
_HAS_MEMORY = "memory" in models.VectorParams.model_fields


def vector_params(schema: Schema, profile: StorageProfile, server_version: str) -> dict[str, models.VectorParams]:
    """Return the configuration of the dense and ColBERT vectors of a new collection.

    Args:
        schema: Which vectors there are.
        profile: Where they lie, and how exact they are.
        server_version: Of the server that the collection is made on, as in ``1.18.3``.
    """
    params = {
        convert.DENSE: models.VectorParams(
            size=schema.dimension,
            distance=models.Distance.COSINE,
            datatype=models.Datatype.FLOAT16 if profile.half_precision else None,
            quantization_config=_quantization(profile, server_version),
            **_place(profile.dense, server_version),
        )
    }
    if schema.colbert_dimension is not None:
        params[convert.COLBERT] = models.VectorParams(
            size=schema.colbert_dimension,
            distance=models.Distance.DOT,
            multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
            datatype=models.Datatype.FLOAT16,
            # Vectors that only rerank are compared one by one, so an index over them would be built for nothing.
            hnsw_config=models.HnswConfigDiff(m=0),
            **_place(profile.colbert, server_version),
        )
    return params


def sparse_params(profile: StorageProfile, server_version: str) -> dict[str, models.SparseVectorParams]:
    """Return the configuration of the lexical weights of a new collection."""
    place = _place(profile.sparse, server_version)
    index = models.SparseIndexParams(**place) if place else None
    return {convert.SPARSE: models.SparseVectorParams(index=index)}


def schema_of(params: models.CollectionParams, model: str, name: str) -> Schema:
    """Return the schema of a collection.

    Raises:
        StoreError: It is none that a flagvec store can use; says why.
    """
    vectors = params.vectors if isinstance(params.vectors, dict) else {}
    dense, colbert = vectors.get(convert.DENSE), vectors.get(convert.COLBERT)
    sparse = (params.sparse_vectors or {}).get(convert.SPARSE)
    if dense is None:
        raise _unusable(name, "it has no vector named 'dense'")
    if dense.multivector_config is not None or dense.distance not in _DOT_PRODUCTS:
        raise _unusable(name, f"its vector 'dense' is {dense.distance.value}, multivector {dense.multivector_config}")
    if colbert is not None and (colbert.multivector_config is None or colbert.distance not in _DOT_PRODUCTS):
        raise _unusable(
            name, f"its vector 'colbert' is {colbert.distance.value}, multivector {colbert.multivector_config}"
        )
    if sparse is not None and sparse.modifier not in (None, models.Modifier.NONE):
        raise _unusable(
            name, f"the modifier {sparse.modifier.value} of its vector 'sparse' changes the model's weights"
        )
    return Schema(
        model=model,
        dimension=dense.size,
        sparse=sparse is not None,
        colbert_dimension=colbert.size if colbert else None,
    )


def _place(placement: Placement | None, server_version: str) -> dict[str, Any]:
    """Return the argument that says where vectors lie, which has another name since Qdrant 1.19."""
    if placement is None:
        return {}
    if _knows_memory(server_version):
        return {"memory": placement}
    return {"on_disk": placement == "cold"}


def _quantization(profile: StorageProfile, server_version: str) -> Any:
    in_memory: dict[str, Any] = {"memory": "pinned"} if _knows_memory(server_version) else {"always_ram": True}
    match profile.quantization:
        case "int8":
            scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, **in_memory)
            return models.ScalarQuantization(scalar=scalar)
        case "binary":
            return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(**in_memory))
        case None:
            return None


def _knows_memory(server_version: str) -> bool:
    major, minor = server_version.split(".")[:2]
    return _HAS_MEMORY and (int(major), int(minor)) >= _MEMORY_SINCE


def _unusable(name: str, reason: str) -> StoreError:
    return StoreError(f"{name} cannot hold flagvec's documents: {reason}; choose another collection_name")
