"""flagvec's stores on Qdrant: in this process with qdrant-edge, or through any ``QdrantClient``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flagvec_qdrant.client_store import QdrantStore
    from flagvec_qdrant.edge_store import QdrantEdgeStore

__all__ = ["QdrantEdgeStore", "QdrantStore"]

# Each store needs its own extra, so each is imported when it is first asked for: its module, and the package and extra
# that this stands on.
_STORES = {
    "QdrantEdgeStore": ("flagvec_qdrant.edge_store", "qdrant-edge-py", "qdrant_edge", "edge"),
    "QdrantStore": ("flagvec_qdrant.client_store", "qdrant-client", "qdrant_client", "qdrant"),
}


def __getattr__(name: str) -> Any:
    if name not in _STORES:
        raise AttributeError(f"module 'flagvec_qdrant' has no attribute {name!r}")
    module, package, import_name, extra = _STORES[name]
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        if error.name != import_name:
            raise
        raise ImportError(
            f"{name} needs the package {package}: pip install 'flagvec[{extra}]'", name=package
        ) from error


def __dir__() -> list[str]:
    return sorted(__all__)
