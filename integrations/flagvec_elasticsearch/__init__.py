"""flagvec's store on Elasticsearch, through any ``Elasticsearch`` client."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flagvec_elasticsearch.store import ElasticsearchStore

__all__ = ["ElasticsearchStore"]

_PACKAGES = ("elasticsearch", "orjson")


def __getattr__(name: str) -> Any:
    # The store needs its own extra, so it is imported on first use.
    if name not in __all__:
        raise AttributeError(f"module 'flagvec_elasticsearch' has no attribute {name!r}")
    try:
        module = import_module("flagvec_elasticsearch.store")
    except ModuleNotFoundError as error:
        # A client before 8.18 has no elasticsearch.dsl.
        if (error.name or "").partition(".")[0] not in _PACKAGES:
            raise
        raise ImportError(f"{name} needs the package {error.name}: pip install 'flagvec[elasticsearch]'") from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
