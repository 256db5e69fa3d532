"""A store of this package from its URL, for the command line."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flagvec.search.options import whole_number
from flagvec.store.address import Secret, StoreAddress

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder
    from flagvec_qdrant import QdrantEdgeStore, QdrantStore

_OPTIONS = {"edge": ("storage",), "qdrant": ("grpc", "key_file", "storage")}
# Seconds. A server that builds an index may take longer than the client's default of 5.
_TIMEOUT = 60


def store_at(
    address: StoreAddress, model: AbsEmbedder, secret: Secret, **options: Any
) -> QdrantStore | QdrantEdgeStore:
    """Return the store at an address; nothing is asked of a server yet.

    Args:
        address: With ``storage``, as the stores take it, and for a server ``grpc``, the port of gRPC.
        model: Encodes documents and queries.
        secret: Gives ``QDRANT_API_KEY``.
        options: Further arguments of the store.

    Raises:
        ImportError: The extra is missing; has the pip line.
        ValueError: An option of the address is unknown or has a value that is not taken.
    """
    address.refuse_unknown_options(_OPTIONS[address.database])
    if "storage" in address.options:
        options["storage"] = address.options["storage"]
    if address.database == "edge":
        from flagvec_qdrant import QdrantEdgeStore

        return QdrantEdgeStore(model, Path(address.name).expanduser(), **options)
    # Imported first, because it says which extra is missing.
    from flagvec_qdrant import QdrantStore  # isort: skip
    from qdrant_client import QdrantClient

    client = QdrantClient(
        url=address.server,
        prefix=address.folder or None,
        api_key=secret("QDRANT_API_KEY"),
        timeout=_TIMEOUT,
        # The store asks the server's version itself where it matters.
        check_compatibility=False,
        **_grpc(address),
    )
    return QdrantStore(model, client, address.name, **options)


def engine_version(store: QdrantStore | QdrantEdgeStore) -> str:
    """Return the name and version of the database that a store is in."""
    client = getattr(store, "client", None)
    return f"qdrant-edge-py {version('qdrant-edge-py')}" if client is None else f"Qdrant {client.info().version}"


def _grpc(address: StoreAddress) -> dict[str, Any]:
    if (port := address.options.get("grpc")) is None:
        return {}
    if not port.isdecimal():
        raise ValueError(f"{address.url!r}: grpc={port!r} is not a port: write grpc=6334")
    return {
        "prefer_grpc": True,
        "grpc_port": whole_number("grpc", int(port), at_least=1),
        # Without the first, gRPC waits longer and longer before it connects to a server that is back. The second turns
        # compression off, which takes the server ten times as long as reading the codes of ColBERT vectors.
        "grpc_options": {"grpc.max_reconnect_backoff_ms": 1_000, "grpc.compression_enabled_algorithms_bitset": 1},
    }
