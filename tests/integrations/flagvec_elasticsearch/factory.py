"""Elasticsearch stores for the contract suite, on the server that ELASTICSEARCH_URL names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch
from numpy.typing import NDArray

from flagvec import ColbertStorage
from flagvec_elasticsearch import ElasticsearchStore


class Factory:
    """Indices of the server at ELASTICSEARCH_URL."""

    name = "elasticsearch"

    def skip_reason(self) -> str | None:
        return None if os.environ.get("ELASTICSEARCH_URL") else "ELASTICSEARCH_URL is not set"

    def make(self, model: Any, name: str, **options: Any) -> ElasticsearchStore:
        return ElasticsearchStore(model, self._client, name, **options)

    def cleanup(self, name: str) -> None:
        self._client.indices.delete(index=name, ignore_unavailable=True)

    def stored_weights(self, weights: Mapping[int, float]) -> Mapping[int, float]:
        """Return weights as Elasticsearch keeps them: the nine leading bits of a float32."""
        values = np.fromiter(weights.values(), dtype=np.float32, count=len(weights))
        kept = (values.view(np.uint32) & np.uint32(0xFFFF8000)).view(np.float32)
        return dict(zip(weights, kept.tolist(), strict=True))

    def stored_rows(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the vectors that a document's codes stand for."""
        storage = ColbertStorage()
        return storage.codec(rows.shape[1]).decode(storage.encode(rows))

    def server_url(self) -> str:
        """Where a proxy is put in front of."""
        return os.environ["ELASTICSEARCH_URL"]

    def is_write(self, method: str, path: str) -> bool:
        """Return whether a request writes documents."""
        return path.partition("?")[0].endswith("/_bulk")

    def make_at(self, url: str, model: Any, name: str, **options: Any) -> ElasticsearchStore:
        """Make a store whose requests go to `url`."""
        return ElasticsearchStore(model, Elasticsearch(url, request_timeout=30), name, **options)

    def change_codes(self, store: ElasticsearchStore, name: str, value: str | None) -> None:
        """Change a document's codes as another tool may; None removes them, and "" leaves a document without any."""
        fields = {"codes": value or None} | ({"rows": 0} if value == "" else {})
        self._client.update(index=store.index_name, id=name, doc={"colbert": fields}, refresh=True)

    @cached_property
    def _client(self) -> Elasticsearch:
        return Elasticsearch(os.environ["ELASTICSEARCH_URL"], request_timeout=30)


FACTORIES = [Factory()]
