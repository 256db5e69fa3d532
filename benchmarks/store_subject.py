"""Any flagvec store as a subject of a comparison."""

from __future__ import annotations

from collections.abc import Sequence

from comparison import LIMIT
from flagvec import Document
from flagvec.retrieval.store import HybridStore


class StoreSubject:
    """A store that has been created."""

    def __init__(self, store: HybridStore) -> None:
        self.store = store

    def write(self, documents: Sequence[Document]) -> None:
        """Add documents, every one of which must be taken."""
        self.store.add(documents).raise_for_failures()

    def finish(self) -> None:
        """Do nothing: what `add` wrote is there."""

    def search(self, query: str, mode: str) -> list[str]:
        """Search in a store's own default way."""
        hits = self.store.search(query, LIMIT, mode="hybrid" if mode == "rrf" else mode)  # type: ignore[arg-type]
        return [hit.id for hit in hits]
