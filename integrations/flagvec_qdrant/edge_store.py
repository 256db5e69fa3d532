"""`QdrantEdgeStore`: documents in a directory, with Qdrant's own engine in this process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flagvec.late_interaction.storage import ColbertChoice
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
    10 ms, between which other threads and an event loop run. A dense search without a filter, a write and building the
    index are one call each.

    Documents are found as soon as they are written. A dense search compares all that are not in the index. Once these
    are more than an eighth of the store and more than 64 MB in float32 (16,000 documents at 1,024 dimensions), `add`
    and `delete` end with building the index. That takes up to 1.5 ms of a core for each document in the store, and the
    engine holds the GIL meanwhile: no other thread runs, and Ctrl-C waits. Pass ``auto_optimize=False`` and call
    `optimize` when it suits, if an event loop must not wait so long.

    Args:
        model: Encodes documents and queries.
        path: The directory; `create` makes it.
        colbert: How to keep ColBERT vectors, if the model gives them. True and ``"native"`` keep them in float16, and
            Qdrant compares them. ``"compact"`` keeps codes in the payload, a fifteenth of the size, and compares those
            of a search's candidates here. A `ColbertStorage` chooses the codes. True opens every store.
        colbert_overflow: What happens to a text of more native ColBERT vectors than Qdrant takes, 1,023 at 1,024
            dimensions. ``"error"`` refuses it, ``"truncate"`` keeps its first vectors, ``"pool"`` replaces neighbouring
            vectors by their mean. Compact takes any number.
        max_limit: The most documents that one search may find. More take more memory.
        storage: How much memory a new store takes. ``"accurate"`` keeps dense vectors in float32. ``"balanced"`` keeps
            them in float16, and after `optimize` an int8 copy finds candidates. ``"small"`` keeps them in float16 on
            disk, and after `optimize` a copy with one bit a number finds candidates. The full vectors rank candidates.
        filter_fields: The type of each metadata field that gets an index, which makes filters by it fast:
            ``"keyword"``, ``"float"`` (for any numbers), ``"integer"`` (if all are whole), ``"bool"`` or
            ``"datetime"``. Filters by other fields work too.
        auto_optimize: Build the index at the end of an `add` or `delete` if many documents are not in it. If that
            fails, for example because the disk is full, a warning in the log says why.

    Raises:
        TypeError: An argument has a type that it does not take.
        ValueError: An argument has a value that it does not take.

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
        colbert: ColbertChoice = True,
        colbert_overflow: ColbertOverflow = "error",
        max_limit: int = MAX_LIMIT,
        storage: Storage = "accurate",
        filter_fields: Mapping[str, FieldType] = NO_FIELDS,
        auto_optimize: bool = True,
    ) -> None:
        if not isinstance(auto_optimize, bool):
            raise TypeError(f"auto_optimize takes True or False, not {type(auto_optimize).__name__}")
        self.path = Path(path)
        self._edge = EdgeBackend(self.path, Layout.checked(storage, filter_fields), auto_optimize=auto_optimize)
        super().__init__(model, self._edge, colbert=colbert, colbert_overflow=colbert_overflow, max_limit=max_limit)

    def __repr__(self) -> str:
        return f"QdrantEdgeStore({self.schema.model!r}, {str(self.path)!r})"

    def optimize(self) -> None:
        """Build the index over dense vectors, which makes a large store faster to search.

        It takes up to 1.5 ms of a core a document, and frees the space of deleted documents. The engine builds no index
        for less than 10 MB of vectors. What an index finds is approximate.

        Raises:
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        self._opening.opened()
        self._opening.ask("be optimized", lambda timeout: self._edge.optimize(), None)
