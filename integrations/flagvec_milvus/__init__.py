"""flagvec's store on Milvus: Milvus Lite in a file, a server, or Zilliz Cloud, through any ``MilvusClient``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flagvec_milvus.lite import lite_client
    from flagvec_milvus.store import MilvusStore

__all__ = ["MilvusStore", "lite_client"]

_MODULES = {"MilvusStore": "flagvec_milvus.store", "lite_client": "flagvec_milvus.lite"}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'flagvec_milvus' has no attribute {name!r}")
    try:
        module = import_module(_MODULES[name])
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pymilvus":
            raise
        raise ImportError(f"{name} needs the package pymilvus: pip install 'flagvec[milvus]'") from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
