"""`HybridStore`: documents with the vectors of a model, in a database that finds them again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from flagvec.filters.portable import FilterLike
from flagvec.ingest.report import WriteReport
from flagvec.m3_output import M3Output
from flagvec.search.options import Fusion, Mode, Rerank
from flagvec.store.documents import Document, Hit
from flagvec.store.verbs import Verbs

if TYPE_CHECKING:
    from typing_extensions import Self


class HybridStore(Verbs):
    """Documents with the vectors of a model, in a database that finds them again.

    A store is used as soon as its schema is there: `create` makes it, and is not needed for a store that exists. What
    a model gives is what the store holds: dense vectors from every model, lexical weights and ColBERT vectors from a
    BGE-M3 style one. Stores close their own resources in `close` or at the end of a ``with`` block.

    Each verb has a twin with an ``a`` before its name for code that awaits. It runs the verb in a worker thread, so
    that the event loop stays free whatever the client and the model; calls may overlap, and texts are encoded one call
    at a time. Cancelling what awaits a verb does not stop the verb.

    Subclasses give the database's part, the methods of `flagvec.store.backend.Database`.

    Args:
        model: Encodes documents and queries.
        colbert: Keep ColBERT vectors, if the model gives them. They take some 2 kB a token at 1,024 dimensions.
        colbert_overflow: What happens to a text, document or query, of more ColBERT vectors than the store takes
            (`capabilities` says how many): ``"error"`` refuses it, ``"truncate"`` keeps its first vectors, ``"pool"``
            replaces neighbouring vectors by their mean, of length 1, until they are as few.
    """

    async def acreate(self) -> None:
        """Do as `create` does."""
        await asyncio.to_thread(self.create)

    async def aadd(
        self, documents: str | Document | Iterable[str | Document], *, timeout: float | None = None
    ) -> WriteReport:
        """Do as `add` does; an iterable is read in the worker thread."""
        return await asyncio.to_thread(self.add, documents, timeout=timeout)

    async def asearch(
        self,
        query: str,
        limit: int = 10,
        *,
        mode: Mode | None = None,
        fusion: Fusion = "rrf",
        rerank: Rerank | None = None,
        candidates: int | None = None,
        filter: FilterLike | None = None,
        explain: bool = False,
        timeout: float | None = None,
    ) -> list[Hit]:
        """Do as `search` does."""
        return await asyncio.to_thread(
            self.search,
            query,
            limit,
            mode=mode,
            fusion=fusion,
            rerank=rerank,
            candidates=candidates,
            filter=filter,
            explain=explain,
            timeout=timeout,
        )

    async def asearch_vectors(
        self,
        vectors: M3Output,
        limit: int = 10,
        *,
        mode: Mode | None = None,
        fusion: Fusion = "rrf",
        rerank: Rerank | None = None,
        candidates: int | None = None,
        filter: FilterLike | None = None,
        explain: bool = False,
        timeout: float | None = None,
    ) -> list[Hit]:
        """Do as `search_vectors` does."""
        return await asyncio.to_thread(
            self.search_vectors,
            vectors,
            limit,
            mode=mode,
            fusion=fusion,
            rerank=rerank,
            candidates=candidates,
            filter=filter,
            explain=explain,
            timeout=timeout,
        )

    async def aget(self, ids: str | Iterable[str], *, timeout: float | None = None) -> list[Document]:
        """Do as `get` does."""
        return await asyncio.to_thread(self.get, ids, timeout=timeout)

    async def adelete(
        self, ids: str | Iterable[str] | None = None, *, filter: FilterLike | None = None, timeout: float | None = None
    ) -> None:
        """Do as `delete` does."""
        await asyncio.to_thread(self.delete, ids, filter=filter, timeout=timeout)

    async def acount(self, filter: FilterLike | None = None, *, timeout: float | None = None) -> int:
        """Do as `count` does."""
        return await asyncio.to_thread(self.count, filter, timeout=timeout)

    async def ascroll(
        self, filter: FilterLike | None = None, *, batch_size: int = 256, timeout: float | None = None
    ) -> AsyncIterator[Document]:
        """Do as `scroll` does, with ``async for``."""
        batches = await asyncio.to_thread(self._batches, filter, batch_size, timeout)
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            for document in batch:
                yield document

    async def aclose(self) -> None:
        """Do as `close` does."""
        await asyncio.to_thread(self.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
