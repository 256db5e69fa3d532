"""Milvus stores for the contract suite: Milvus Lite in a temporary file, and the server that MILVUS_URI names."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from milvus_lite.server_manager import server_manager_instance
from numpy.typing import NDArray
from pymilvus import MilvusClient

from flagvec import ColbertStorage
from flagvec_milvus import MilvusStore, lite_client


class ServerFactory:
    """Stores on the server at MILVUS_URI."""

    name = "milvus-server"

    def skip_reason(self) -> str | None:
        return None if os.environ.get("MILVUS_URI") else "MILVUS_URI is not set"

    def make(self, model: Any, name: str, **options: Any) -> MilvusStore:
        return MilvusStore(model, self.client, name, **options)

    def cleanup(self, name: str) -> None:
        if self.client.has_collection(name, timeout=30):
            self.client.drop_collection(name, timeout=30)

    def change_codes(self, store: MilvusStore, name: str, value: str | None) -> None:
        """Change a document's codes as another tool may; "" leaves a document without any."""
        if value is None:
            pytest.skip("in Milvus, a document without codes is one without vectors")
        change = {"id": name, "colbert": [value] if value else []}
        self.client.upsert(store.collection_name, [change], partial_update=True)

    @cached_property
    def client(self) -> MilvusClient:
        return MilvusClient(os.environ["MILVUS_URI"], token=os.environ.get("MILVUS_TOKEN", ""), timeout=30)


class LiteFactory(ServerFactory):
    """Stores in one file of Milvus Lite, which is there until the process ends."""

    name = "milvus-lite"

    def skip_reason(self) -> str | None:
        return None

    def stored_rows(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the vectors that a document's codes stand for."""
        storage = ColbertStorage()
        return storage.codec(rows.shape[1]).decode(storage.encode(rows))

    @cached_property
    def client(self) -> MilvusClient:
        directory = tempfile.mkdtemp(prefix="flagvec-milvus-")
        path = f"{directory}/contract.db"
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        # Before the directory goes, the engine has to end its writing there.
        atexit.register(server_manager_instance.release_server, path)
        return lite_client(path)


FACTORIES = [LiteFactory(), ServerFactory()]
