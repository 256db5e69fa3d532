"""flagvec's stores on Qdrant: `QdrantEdgeStore` in this process, `QdrantStore` through any ``QdrantClient``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flagvec_qdrant.edge_store import QdrantEdgeStore
    from flagvec_qdrant.store import QdrantStore

__all__ = ["QdrantEdgeStore", "QdrantStore"]

# Each store needs an extra of its own. Therefore its module is imported on first use. For each store: its module, the
# package that it needs, the package's import name, and the extra that installs it.
_STORES = {
    "QdrantEdgeStore": ("flagvec_qdrant.edge_store", "qdrant-edge-py", "qdrant_edge", "edge"),
    "QdrantStore": ("flagvec_qdrant.store", "qdrant-client", "qdrant_client", "qdrant"),
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
