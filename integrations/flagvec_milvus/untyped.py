"""What is used of pymilvus and grpcio: neither has types, so that here alone a type checker is told to look away."""

from __future__ import annotations

from grpc import RpcError, StatusCode  # type: ignore[import-untyped]  # no types
from pymilvus import AnnSearchRequest, DataType, MilvusClient, RRFRanker  # type: ignore[import-untyped]  # no types
from pymilvus.client.embedding_list import EmbeddingList  # type: ignore[import-untyped]  # no types
from pymilvus.exceptions import (  # type: ignore[import-untyped]  # no types
    ConnectionConfigException,
    DataNotMatchException,
    ErrorCode,
    MilvusException,
    ParamError,
)

__all__ = [
    "AnnSearchRequest",
    "ConnectionConfigException",
    "DataNotMatchException",
    "DataType",
    "EmbeddingList",
    "ErrorCode",
    "MilvusClient",
    "MilvusException",
    "ParamError",
    "RRFRanker",
    "RpcError",
    "StatusCode",
]
