"""Qdrant stores for the contract suite: the embedded engine, the client's local mode, and a server over both wires."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge
from numpy.typing import NDArray
from qdrant_client import QdrantClient

from flagvec import ColbertStorage
from flagvec_qdrant import QdrantEdgeStore, QdrantStore
from flagvec_qdrant.convert import point_id


class EdgeFactory:
    """Stores in directories of their own."""

    name = "edge"

    def skip_reason(self) -> str | None:
        return None

    def make(self, model: Any, name: str, **options: Any) -> QdrantEdgeStore:
        return QdrantEdgeStore(model, self._directory / name, **options)

    def change_codes(self, store: QdrantEdgeStore, document_id: str, text: str | None) -> None:
        """Put a text in place of a document's codes, or remove them."""
        points, update = [point_id(document_id)], edge.UpdateOperation
        change = update.delete_payload(points, ["colbert"])
        if text is not None:
            change = update.set_payload(points, {"colbert": text})
        store._edge._shard.update(change)

    def cleanup(self, name: str) -> None:
        shutil.rmtree(self._directory / name, ignore_errors=True)

    @cached_property
    def _directory(self) -> Path:
        self._root = tempfile.TemporaryDirectory(prefix="flagvec-edge-")
        return Path(self._root.name)


class LocalFactory:
    """Collections in the client's memory, which are there as long as the client is."""

    name = "qdrant-local"

    def skip_reason(self) -> str | None:
        return None

    def make(self, model: Any, name: str, **options: Any) -> QdrantStore:
        return QdrantStore(model, self._client, name, **options)

    def change_codes(self, store: QdrantStore, document_id: str, text: str | None) -> None:
        """Put a text in place of a document's codes, or remove them."""
        points = [point_id(document_id)]
        if text is None:
            store.client.delete_payload(store.collection_name, ["colbert"], points, wait=True)
        else:
            store.client.set_payload(store.collection_name, {"colbert": text}, points, wait=True)

    def cleanup(self, name: str) -> None:
        self._client.delete_collection(name)

    @cached_property
    def _client(self) -> QdrantClient:
        return QdrantClient(":memory:")


class RemoteFactory(LocalFactory):
    """Collections on the server at QDRANT_URL."""

    def skip_reason(self) -> str | None:
        return None if os.environ.get("QDRANT_URL") else "QDRANT_URL is not set"

    @cached_property
    def _client(self) -> QdrantClient:
        return self._connect(os.environ["QDRANT_URL"])

    def _connect(self, url: str, **options: Any) -> QdrantClient:
        key = os.environ.get("QDRANT_API_KEY")
        return QdrantClient(url=url, api_key=key, timeout=30, check_compatibility=False, **options)


class ServerFactory(RemoteFactory):
    """Over REST."""

    name = "qdrant-server"

    def server_url(self) -> str:
        """Return where a proxy is put in front of."""
        return os.environ["QDRANT_URL"]

    def is_write(self, method: str, path: str) -> bool:
        """Return whether a request writes documents."""
        return method == "PUT" and path.partition("?")[0].endswith("/points")

    def make_at(self, url: str, model: Any, name: str, **options: Any) -> QdrantStore:
        """Make a store whose requests go to `url`."""
        return QdrantStore(model, self._connect(url), name, **options)


class GrpcFactory(RemoteFactory):
    """Over gRPC, at the port QDRANT_GRPC_PORT or the usual 6334."""

    name = "qdrant-server-grpc"

    def _connect(self, url: str, **options: Any) -> QdrantClient:
        port = int(os.environ.get("QDRANT_GRPC_PORT", "6334"))
        # Without the option, gRPC waits longer and longer before it connects again.
        options = {"grpc_options": {"grpc.max_reconnect_backoff_ms": 1_000}, **options}
        return super()._connect(url, prefer_grpc=True, grpc_port=port, **options)


class CompactEdgeFactory(EdgeFactory):
    """Stores that keep ColBERT vectors as codes, unless a test chooses another form."""

    name = "edge-compact"

    def make(self, model: Any, name: str, **options: Any) -> QdrantEdgeStore:
        return super().make(model, name, **{"colbert": "compact", **options})

    def stored_rows(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the store makes of ColBERT vectors."""
        return decoded_rows(rows)


class CompactLocalFactory(LocalFactory):
    """Collections that keep ColBERT vectors as codes, unless a test chooses another form."""

    name = "qdrant-local-compact"

    def make(self, model: Any, name: str, **options: Any) -> QdrantStore:
        return super().make(model, name, **{"colbert": "compact", **options})

    def stored_rows(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the store makes of ColBERT vectors."""
        return decoded_rows(rows)


def decoded_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the vectors that the default codes of `rows` stand for."""
    storage = ColbertStorage()
    return storage.codec(rows.shape[1]).decode(storage.encode(rows))


FACTORIES = [
    EdgeFactory(), CompactEdgeFactory(), LocalFactory(), CompactLocalFactory(), ServerFactory(), GrpcFactory()
]  # fmt: skip
