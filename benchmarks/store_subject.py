"""Any flagvec store as a subject of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comparison import LIMIT
from flagvec import Document
from flagvec.store.base import HybridStore

_OPTIONS: dict[str, Any] = {
    "dense": {"mode": "dense"},
    "sparse": {"mode": "sparse"},
    "rrf": {},
    "explained": {"explain": True},
}


class StoreSubject:
    """A store that has been created."""

    def __init__(self, store: HybridStore) -> None:
        self.store = store

    def write(self, documents: Sequence[Document]) -> None:
        """Add documents and check that the store wrote all of them."""
        self.store.add(documents).raise_for_failures()

    def search(self, query: str, mode: str) -> list[str]:
        """Search with the store's defaults."""
        return [hit.id for hit in self.store.search(query, LIMIT, **_OPTIONS[mode])]
