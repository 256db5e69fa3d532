"""`QdrantEdgeStore`: documents in a directory, with Qdrant's own engine in this process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flagvec.search.options import MAX_LIMIT
from flagvec.store.base import HybridStore
from flagvec.store.vectors import ColbertOverflow
from flagvec_qdrant.edge import EdgeBackend
from flagvec_qdrant.schema import NO_FIELDS, FieldType, Layout, Storage

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder


class QdrantEdgeStore(HybridStore):
    """Documents in a directory, written and searched by the Qdrant engine in this process, without a server.

    What `create`, `add` and `delete` did survives a power loss once they return. A long `add` saves what it has written
    every five seconds. Before anything is written, the free space on the disk is compared with what it may take, and a
    `StoreError` says what is missing. If another program fills the disk between this check and the write, the kernel
    ends the process by SIGBUS, because the engine maps its files into memory.

    Store objects of one process may share a directory, and threads may share a store object. The directory stays open
    until the last of these objects is closed or garbage-collected; another process is refused until then. A store that
    is open cannot be used in a forked process: make the store after forking.

    The engine holds the GIL while it works. Reranks, and filters by fields without an index, are cut into calls of some
    10 ms, between which other threads and an event loop run. A dense search without a filter, a write and `optimize`
    are one call each.

    Documents are found as soon as they are written. A dense search compares all of them, which takes some 12 ms for
    50,000 vectors of 1,024 dimensions. `optimize` builds an index for larger stores.

    Args:
        model: Encodes documents and queries.
        path: The directory; `create` makes it.
        colbert: Keep ColBERT vectors, if the model gives them, in float16.
        colbert_overflow: What happens to a text of more ColBERT vectors than Qdrant takes, 1,023 at 1,024 dimensions.
            ``"error"`` refuses it, ``"truncate"`` keeps its first vectors, ``"pool"`` replaces neighbouring vectors by
            their mean.
        max_limit: The most documents that one search may find. More take more memory.
        storage: How much memory a new store takes. ``"accurate"`` keeps dense vectors in float32. ``"balanced"`` keeps
            them in float16, and after `optimize` an int8 copy finds candidates. ``"small"`` keeps them in float16 on
            disk, and after `optimize` a copy with one bit a number finds candidates. The full vectors rank candidates.
        filter_fields: The type of each metadata field that gets an index, which makes filters by it fast:
            ``"keyword"``, ``"float"`` (for any numbers), ``"integer"`` (if all are whole), ``"bool"`` or
            ``"datetime"``. Filters by other fields work too.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> model = BGEM3FlagModel("bge-m3")
        >>> with QdrantEdgeStore(model, "recipes") as store:
        ...     store.create()
        ...     report = store.add(["Rice is cooked in water.", "Bread is baked in an oven."])
        ...     store.count(), [hit.text for hit in store.search("Rice is cooked in water.", limit=1)]
        (2, ['Rice is cooked in water.'])
    """

    def __init__(
        self,
        model: AbsEmbedder,
        path: str | os.PathLike[str],
        *,
        colbert: bool = True,
        colbert_overflow: ColbertOverflow = "error",
        max_limit: int = MAX_LIMIT,
        storage: Storage = "accurate",
        filter_fields: Mapping[str, FieldType] = NO_FIELDS,
    ) -> None:
        self.path = Path(path)
        self._edge = EdgeBackend(self.path, Layout.checked(storage, filter_fields))
        super().__init__(model, self._edge, colbert=colbert, colbert_overflow=colbert_overflow, max_limit=max_limit)

    def __repr__(self) -> str:
        return f"QdrantEdgeStore({self.schema.model!r}, {str(self.path)!r})"

    def optimize(self) -> None:
        """Build the index over dense vectors, which makes a large store faster to search.

        It takes up to half a millisecond a document, and frees the space of deleted documents. The engine builds no
        index for a small store. What an index finds is approximate.

        Raises:
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        self._opening.opened()
        self._opening.ask("be optimized", lambda timeout: self._edge.optimize(), None)
