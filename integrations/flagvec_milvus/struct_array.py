"""ColBERT vectors as an array of structs, which servers from 2.6.4 on compare themselves.

After Milvus' documentation, https://milvus.io/docs/array-of-structs.md, and pymilvus 3.0; Milvus Lite has none of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flagvec_milvus.convert import COLBERT, MAX_ELEMENTS, VECTOR
from flagvec_milvus.untyped import DataType, EmbeddingList, MilvusClient

PATH = f"{COLBERT}[{VECTOR}]"


def add_field(fields: Any, dimension: int | None) -> None:
    """Add the field to a collection's schema, for vectors of `dimension` numbers."""
    struct = MilvusClient.create_struct_field_schema()
    struct.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=dimension)
    fields.add_field(
        COLBERT, DataType.ARRAY, element_type=DataType.STRUCT, struct_schema=struct, max_capacity=MAX_ELEMENTS
    )


def add_index(params: Any, graph: Mapping[str, int]) -> None:
    """Add the index over the field to a collection's indexes; `graph` is an HNSW graph's shape."""
    params.add_index(PATH, "HNSW", f"{COLBERT}_{VECTOR}", metric_type="MAX_SIM_IP", params=graph)


def as_query(rows: NDArray[np.float32]) -> Any:
    """Return a query's (n, dimension) vectors as one vector of a client's ``search`` in the field at `PATH`.

    A hit's distance is the sum over the query's vectors of the best dot product: n times the score of the model.
    """
    return EmbeddingList(rows)
