"""flagvec's stores on Qdrant: in this process with qdrant-edge, or through any ``QdrantClient``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flagvec_qdrant.client_store import QdrantStore
    from flagvec_qdrant.edge_store import QdrantEdgeStore

__all__ = ["QdrantEdgeStore", "QdrantStore"]

# Each store needs its own extra, so each is imported when it is first asked for.
_STORE_MODULES = {
    "QdrantEdgeStore": "flagvec_qdrant.edge_store",
    "QdrantStore": "flagvec_qdrant.client_store",
}


def __getattr__(name: str) -> Any:
    if name not in _STORE_MODULES:
        raise AttributeError(f"module 'flagvec_qdrant' has no attribute {name!r}")
    return getattr(import_module(_STORE_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
