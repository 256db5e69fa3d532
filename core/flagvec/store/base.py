"""`HybridStore`: the public face of every store, with all verbs, blocking and async."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from itertools import chain
from threading import Event
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, get_args

from more_itertools import chunked

from flagvec.errors import StoreError
from flagvec.filters.bounds import bounded_filter
from flagvec.filters.portable import All, Filter, FilterLike, NativeFilter
from flagvec.ingest.pipeline import OnError
from flagvec.ingest.report import WriteReport
from flagvec.late_interaction.storage import ColbertChoice, checked_colbert
from flagvec.m3_output import M3Output
from flagvec.search.fusion import Weighted
from flagvec.search.options import (
    MAX_LIMIT,
    Mode,
    SearchKeywords,
    SearchOptions,
    check_choice,
    checked_limit,
    checked_timeout,
    whole_number,
)
from flagvec.store.backend import Ask, Backend, Record
from flagvec.store.documents import (
    Document,
    DocumentLike,
    Hit,
    Hits,
    Origin,
    checked_ids,
    listed_documents,
)
from flagvec.store.encoding import encode_query, query_vectors
from flagvec.store.opening import Opening
from flagvec.store.schema import Schema
from flagvec.store.vectors import ColbertOverflow, TextVectors
from flagvec.store.writing import Writing

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from flagvec.embedder import AbsEmbedder
    from flagvec.explain.explanation import Explanation

IDS_PER_REQUEST = 1_000
BATCH_SIZE = 256
# As Python's floats, which clients give, 512 ColBERT vectors of 1,024 numbers take 16 MB.
_BATCH_SIZE_WITH_COLBERT = 16

Item = TypeVar("Item")


class HybridStore:
    """Documents with the vectors of a model, in a database that finds them again.

    `create` makes the store; a store that exists is used without it. The store holds all that the model gives: dense
    vectors from every model, lexical weights and ColBERT vectors from a BGE-M3 style one. `close`, or the end of a
    ``with`` block, frees what the store object holds.

    Each verb has an async twin with an ``a`` before its name. It runs the verb in a worker thread, so that the event
    loop goes on meanwhile. `QdrantEdgeStore` says how long its engine holds the GIL. Calls may overlap, and texts are
    encoded one call at a time. Cancelling the await stops `aadd` alone.

    A request that the database refuses for the moment is repeated, after growing pauses. What it refuses for good is
    not. ``timeout`` bounds all attempts and pauses of a request together, and in `add` each attempt. Without it no
    attempt begins after ten seconds, and each takes the client's own limit at most. The `StoreError` at the end says
    how often and how long it was tried. The first verb also opens the store. No attempt at that begins after the
    timeout, but each may take the client's own limit.

    The store's name may be an alias. If the alias is switched to another store of the same model, this object goes on
    there and logs one line, because that is how a store is replaced without a pause. If it is switched to anything
    else, a `StoreError` names both. `add`, a read that fails, and the first read after a minute notice it. Until then
    reads may give hits of the other store.

    Args:
        model: Encodes documents and queries.
        backend: The database.
        colbert: How to keep ColBERT vectors, if the model gives any. With ``"native"`` the database compares them, and
            a token of 1,024 dimensions takes 2 kB or more. With ``"compact"`` it keeps codes, 130 bytes for such a
            token, and searches compare those of their candidates here; a `ColbertStorage` chooses other codes. True is
            native if the database can compare and else compact, and opens a store of either form. False keeps none.
        colbert_overflow: What happens to a document or query of more ColBERT vectors than the store takes.
            ``"error"`` refuses it, ``"truncate"`` keeps its first vectors, ``"pool"`` replaces neighbouring vectors by
            their mean, scaled to length 1, until they are few enough.
        max_limit: The largest ``limit``, ``candidates`` and ``batch_size`` that a call may ask for.
    """

    def __init__(
        self,
        model: AbsEmbedder,
        backend: Backend[Any],
        *,
        colbert: ColbertChoice = True,
        colbert_overflow: ColbertOverflow = "error",
        max_limit: int = MAX_LIMIT,
    ) -> None:
        check_choice("colbert_overflow", colbert_overflow, get_args(ColbertOverflow))
        self.model = model
        self.colbert_overflow = colbert_overflow
        self.max_limit = whole_number("max_limit", max_limit, at_least=1)
        self._backend = backend
        schema = Schema.of(model, colbert=checked_colbert(colbert) is not False)
        self._opening = Opening(backend, schema, type(self).__name__, colbert)
        self._writing = Writing(model, backend, self._opening, colbert_overflow)

    @property
    def schema(self) -> Schema:
        """What the store holds and how the model makes it; its ``colbert_storage`` is known once the store is open."""
        return self._opening.schema

    def create(self) -> None:
        """Make the store; if it exists already, check that it fits the model.

        Raises:
            StoreError: The store was made for other vectors, is in use elsewhere, or was closed.
        """
        self._opening.create()

    def found_schema(self) -> Schema | None:
        """Return what the store holds in the database, whichever model made it; None if there is no store.

        Raises:
            StoreError: Something else is in the store's place, the database refuses, or the store was closed.
        """
        return self._opening.described()

    def drop(self) -> None:
        """Delete the store with all its documents; `create` makes it anew. Without a store, do nothing.

        Raises:
            StoreError: Something else is in the store's place, the database refuses, or the store was closed.
        """
        self._opening.drop()

    def close(self) -> None:
        """Free what the store object holds; the documents stay. Closing twice does nothing."""
        self._opening.close()

    def add(
        self,
        documents: DocumentLike | Iterable[DocumentLike],
        *,
        on_error: OnError = "raise",
        show_progress: bool | None = None,
        timeout: float | None = None,
    ) -> WriteReport:
        """Encode documents and write them, replacing those of the same id.

        The documents are read, encoded and written in bounded batches, so that a generator is never held whole. All
        are found when this returns. Of documents with one id the last is kept.

        What the database cannot take for the moment is sent again, after growing pauses. Once the database has gone
        away, the remaining documents are not encoded and are reported as failed.

        Args:
            documents: A text, a `Document`, a dict with the key ``text`` and, if wanted, ``id`` and ``metadata``; or
                any iterable of these. A text without an id gets one that depends on the text alone, so that adding it
                again changes nothing. `Document.from_records` reads a DataFrame or another table.
            on_error: ``"raise"`` raises if a document was not written. ``"report"`` does not: the report then also has
                the documents that are invalid, and the rest is written. An error of the iterable or of the model is
                raised in both.
            show_progress: Show a progress bar. None shows one in a terminal or notebook after two seconds.
            timeout: Seconds that each attempt to write a batch may take; None for the client's own limit.

        Returns:
            Which ids are in the store and which are not, with the reason; and whose texts were cut off.

        Raises:
            WriteError: Documents were not written; its ``report`` says which and why, and has them. Or all were
                written and the last step failed, which lets searches find them.
            TypeError: Something other than documents, or metadata that JSON cannot hold.
            ValueError: An invalid id or metadata, or a vector that the store cannot take; names the document.
                Documents of earlier batches are in the store. A list is checked whole before anything is written.
            StoreError: The store does not exist, does not fit the model, or was closed.
            Exception: Whatever the iterable or the model raises. It gets an attribute ``report``, as all of these
                and a ``KeyboardInterrupt`` do. Among its ``failed`` are the documents that were read and that the
                database has not confirmed, which may be in the store or not; adding them again is safe.
        """
        return self._add(documents, on_error, show_progress, timeout, Event())

    def _add(
        self,
        documents: DocumentLike | Iterable[DocumentLike],
        on_error: OnError,
        show_progress: bool | None,
        timeout: float | None,
        stop: Event,
    ) -> WriteReport:
        check_choice("on_error", on_error, get_args(OnError))
        given, timeout = listed_documents(documents), checked_timeout(timeout)
        self._opening.opened()
        return self._writing.add(given, on_error, show_progress, timeout, stop)

    def search(self, query: str, limit: int = 10, **options: Unpack[SearchKeywords]) -> Hits:
        """Find the documents that fit a query best.

        Args:
            query: Any text; it is encoded once, with the model's query instruction.
            limit: The most hits to return.
            options: ``mode``, ``fusion``, ``rerank``, ``candidates``, ``filter``, ``explain``, ``min_score`` and
                ``timeout``; `flagvec.search.options.SearchKeywords` says what each means.

        Returns:
            The hits, best first, equal scores by id. If documents with equal vectors end the list, the database
            chooses which of them are in it. A hit's score is the representation's own in a dense or sparse search and
            after a rerank, and the fused one otherwise. Sparse search leaves out documents without a token in common
            with the query, and rerank leaves out those without ColBERT vectors.

        Raises:
            TypeError: The query is not a ``str``, or an option is unknown or of a type that it does not take.
            ValueError: An option is out of range, in conflict with another, or needs a representation that the store
                does not hold; or the filter is one that `flagvec.filters.bounds.bounded_filter` refuses.
            StoreError: The store does not exist, does not fit the model, was closed, or the database refused.
        """
        if not isinstance(query, str):
            raise TypeError(f"query takes a str, not {type(query).__name__}")
        checked = self._options(limit, options, "search")
        self._opening.opened(checked.timeout)
        vectors = encode_query(self.model, query, checked.representations, self._writing.colbert_limit())
        return self._found(vectors, checked, query)

    def search_vectors(self, vectors: M3Output, limit: int = 10, **options: Unpack[SearchKeywords]) -> Hits:
        """Find the documents that fit a query best whose vectors are ready; otherwise as `search`.

        Args:
            vectors: What the model's ``encode_queries`` gave for one query, with all that the search uses.
            limit: The most hits to return.
            options: As in `search`. For dense vectors alone, pass ``mode="dense"``.

        Raises:
            TypeError: Something other than a model's output, or what `search` raises.
            ValueError: Vectors of several queries, of other dimensions than the store's, not of length 1, or without
                what the search uses; or what `search` raises.
            StoreError: As in `search`.
        """
        return self._found_by_vectors(vectors, self._options(limit, options, "search_vectors"))

    def explain(self, query: str, hit: Hit, **options: Unpack[SearchKeywords]) -> Explanation:
        """Show why a hit has its score; `flagvec.explain.explain` says what the explanation holds.

        Args:
            query: What was searched for.
            hit: A hit of this store.
            options: Those of the search that found it. Without any, the hit knows them itself.

        Raises:
            TypeError: As in `search`.
            ValueError: As in `search`.
            StoreError: As in `search`, or the document is no longer in the store.
        """
        if not isinstance(query, str):
            raise TypeError(f"query takes a str, not {type(query).__name__}")
        if options or hit.origin is None:
            checked = self._options(max(options.get("candidates") or 0, 1), options, "explain")
        else:
            checked = hit.origin.options
        self._opening.opened(checked.timeout)
        asked = encode_query(self.model, query, self.schema.representations, self._writing.colbert_limit())
        if not (found := self.vectors(hit.id, timeout=checked.timeout)):
            raise StoreError(f"{hit.id!r} is no longer in {self._backend.name}, so its score cannot be explained")
        legs = {} if checked.ordering else self._legs(asked, checked)

        from flagvec.explain.explaining import explained

        return explained(self.model, query, hit, asked, found[0], checked, legs, self.schema.colbert_codec)

    def _legs(self, query: TextVectors, options: SearchOptions) -> dict[str, Hits]:
        """Return the candidates of each leg of a hybrid search."""
        modes: tuple[Mode, ...] = ("dense", "sparse")
        return {
            mode: self._found(query, replace(options, mode=mode, limit=options.candidates, explain=False))
            for mode in modes
            if mode in options.legs
        }

    def vectors(self, ids: str | Iterable[str], *, timeout: float | None = None) -> list[Record]:
        """Return the documents of these ids with the vectors that a search compares, in the order of the ids.

        ColBERT vectors come as the store keeps them, in half precision or as codes. One that is not there is left out.

        Raises:
            TypeError: Something other than a ``str`` or an iterable of ``str``.
            ValueError: An id that no document can have.
            StoreError: As in `get`.
        """
        wanted, timeout = checked_ids(ids), checked_timeout(timeout)
        self._opening.opened(timeout)
        found = {
            record.document.id: record
            for part in chunked(dict.fromkeys(wanted), _BATCH_SIZE_WITH_COLBERT)
            for record in self._opening.ask("be read", partial(self._backend.vectors, part), timeout)
        }
        return [found[name] for name in wanted if name in found]

    def get(self, ids: str | Iterable[str], *, timeout: float | None = None) -> list[Document]:
        """Return the documents of these ids, in the order of the ids; one that is not there is left out.

        Raises:
            TypeError: Something other than a ``str`` or an iterable of ``str``.
            ValueError: An id that no document can have.
            StoreError: The store does not exist, does not fit the model, was closed, or the database refused.
        """
        wanted, timeout = checked_ids(ids), checked_timeout(timeout)
        self._opening.opened(timeout)
        found = {
            document.id: document
            for part in chunked(dict.fromkeys(wanted), IDS_PER_REQUEST)
            for document in self._opening.ask("be read", partial(self._backend.get, part), timeout)
        }
        return [found[name] for name in wanted if name in found]

    def delete(
        self, ids: str | Iterable[str] | None = None, *, filter: FilterLike | None = None, timeout: float | None = None
    ) -> None:
        """Delete the documents of these ids, or those for which a filter holds.

        Args:
            ids: One id or several; an id that is not there is no error.
            filter: Which documents, in the form of `flagvec.filters.portable` or the database's own.
            timeout: Seconds that a request for up to 1,000 ids, or for the filter, may take.

        Raises:
            TypeError: Both ids and a filter or neither; a value of a type that is not taken.
            ValueError: An id that no document can have; a filter that is empty or that `bounded_filter` refuses.
            StoreError: The store does not exist, does not fit the model, was closed, or the database refused.
        """
        if (ids is None) == (filter is None):
            raise TypeError("delete takes either ids or filter=")
        timeout = checked_timeout(timeout)
        unwanted = [] if ids is None else checked_ids(ids)
        chosen = self._parsed(filter)
        if chosen == All(()) or (isinstance(chosen, NativeFilter) and not chosen.value):
            raise ValueError("an empty filter holds for every document: to delete all, call drop()")
        self._opening.opened(timeout)
        if chosen is not None:
            self._opening.ask("be deleted from", partial(self._backend.delete_where, chosen), timeout)
        for part in chunked(unwanted, IDS_PER_REQUEST):
            self._opening.ask("be deleted from", partial(self._backend.delete, part), timeout)
        self._writing.flush(timeout)

    def count(self, filter: FilterLike | None = None, *, timeout: float | None = None) -> int:
        """Return the number of documents, or of those for which a filter holds. ``len(store)`` counts all.

        Raises:
            TypeError: A filter of a type that is not taken.
            ValueError: A filter that `bounded_filter` refuses.
            StoreError: The store does not exist, does not fit the model, was closed, or the database refused.
        """
        chosen, timeout = self._parsed(filter), checked_timeout(timeout)
        self._opening.opened(timeout)
        return self._opening.ask("be counted", partial(self._backend.count, chosen), timeout)

    def scroll(
        self, filter: FilterLike | None = None, *, batch_size: int = BATCH_SIZE, timeout: float | None = None
    ) -> Iterator[Document]:
        """Iterate over all documents, or those for which a filter holds, each once, in the database's own order.

        A document that is added or replaced meanwhile may come or not.

        Args:
            filter: Which documents, in the form of `flagvec.filters.portable` or the database's own; None for all.
            batch_size: How many documents one request brings, at most. The default is ``max_limit`` if that is less.
            timeout: Seconds that each batch may take.

        Raises:
            TypeError: A filter or ``batch_size`` of a type that is not taken.
            ValueError: A filter that `bounded_filter` refuses, or ``batch_size`` below 1 or above ``max_limit``.
            StoreError: The store does not exist, does not fit the model, was closed, or the database refused.
        """
        return chain.from_iterable(self._batches(self._backend.scroll, filter, batch_size, timeout))

    def scroll_vectors(
        self, filter: FilterLike | None = None, *, batch_size: int | None = None, timeout: float | None = None
    ) -> Iterator[Record]:
        """Iterate over documents with their vectors, otherwise as `scroll` does.

        A record has ``document`` and ``vectors``. ColBERT vectors come as the store keeps them, in half precision or as
        codes. What a document lacks, or what another tool has damaged, is None or empty.

        Args:
            filter: Which documents; None for all.
            batch_size: How many documents one request brings, at most. None chooses by what the store holds of each.
            timeout: Seconds that each batch may take.

        Raises:
            TypeError: As `scroll`.
            ValueError: As `scroll`.
            StoreError: As `scroll`.
        """
        return chain.from_iterable(self._batches(self._backend.scroll_vectors, filter, batch_size, timeout))

    @property
    def writing(self) -> Writing[Any]:
        """The way into the store that `flagvec.ingest.ingest` takes."""
        return self._writing

    def is_native_filter(self, value: Any) -> bool:
        """Return whether a value is a filter in the form of the store's own database."""
        return self._backend.is_native_filter(value)

    async def acreate(self) -> None:
        """Do as `create` does."""
        await asyncio.to_thread(self.create)

    async def adrop(self) -> None:
        """Do as `drop` does."""
        await asyncio.to_thread(self.drop)

    async def aadd(
        self,
        documents: DocumentLike | Iterable[DocumentLike],
        *,
        on_error: OnError = "raise",
        show_progress: bool | None = None,
        timeout: float | None = None,
    ) -> WriteReport:
        """Do as `add` does; an iterable is read in the worker thread.

        Cancelling the await stops this after the request that is being made, and waits for that, ten seconds at most.
        The ``CancelledError`` has the attribute ``report``. If the iterable blocks for longer, the log has it later.
        """
        stop = Event()

        def add() -> WriteReport | CancelledError:
            try:
                return self._add(documents, on_error, show_progress, timeout, stop)
            except CancelledError as stopped:
                # asyncio would raise another error in its place, without the report.
                return stopped

        # Not asyncio.to_thread, because asyncio.run would cancel its task at the end of the loop.
        adding = asyncio.get_running_loop().run_in_executor(None, copy_context().run, add)
        try:
            added = await asyncio.shield(adding)
        except asyncio.CancelledError as cancelled:
            stop.set()
            await self._writing.ended(adding, cancelled)
            raise
        if isinstance(added, CancelledError):  # the iterable raised it
            raise added
        return added

    async def asearch(self, query: str, limit: int = 10, **options: Unpack[SearchKeywords]) -> Hits:
        """Do as `search` does."""
        return await asyncio.to_thread(self.search, query, limit, **options)

    async def asearch_vectors(self, vectors: M3Output, limit: int = 10, **options: Unpack[SearchKeywords]) -> Hits:
        """Do as `search_vectors` does."""
        return await asyncio.to_thread(self.search_vectors, vectors, limit, **options)

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
        self, filter: FilterLike | None = None, *, batch_size: int = BATCH_SIZE, timeout: float | None = None
    ) -> AsyncIterator[Document]:
        """Do as `scroll` does, with ``async for``."""
        batches = await asyncio.to_thread(self._batches, self._backend.scroll, filter, batch_size, timeout)
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            for document in batch:
                yield document

    async def ascroll_vectors(
        self, filter: FilterLike | None = None, *, batch_size: int | None = None, timeout: float | None = None
    ) -> AsyncIterator[Record]:
        """Do as `scroll_vectors` does, with ``async for``."""
        batches = await asyncio.to_thread(self._batches, self._backend.scroll_vectors, filter, batch_size, timeout)
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            for record in batch:
                yield record

    async def aclose(self) -> None:
        """Do as `close` does."""
        await asyncio.to_thread(self.close)

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        # An empty store is still a store: without this, `if store:` would count documents.
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled, because it holds a database that is open in this process: "
            "make the store where it is used"
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # A copy of something that holds a store shares the store, as it shares the model.
        return self

    def _union(self, vectors: M3Output, candidates: int, weights: Weighted) -> Hits:
        """Return all candidates of a weighted search, which are what any of its legs finds, best first."""
        checked = self._options(candidates, {"fusion": weights, "candidates": candidates}, "search_vectors")
        return self._found_by_vectors(vectors, replace(checked, limit=len(checked.legs) * candidates))

    def _found_by_vectors(self, vectors: M3Output, options: SearchOptions) -> Hits:
        self._opening.opened(options.timeout)
        ready = query_vectors(vectors, self.schema, options.representations, self._writing.colbert_limit())
        return self._found(ready, options)

    def _found(self, vectors: TextVectors, options: SearchOptions, query: str | None = None) -> Hits:
        found = self._opening.ask(
            "be searched",
            lambda timeout: self._backend.search(vectors, replace(options, timeout=timeout)),
            options.timeout,
        )
        least = -float("inf") if options.min_score is None else options.min_score
        best = sorted(found, key=lambda hit: (-hit.score, hit.id))[: options.limit]
        origin = Origin(query, options)
        return Hits(replace(hit, origin=origin) for hit in best if hit.score >= least)

    def _batches(
        self,
        scroll: Callable[[Filter | NativeFilter | None, int, Ask], Iterator[list[Item]]],
        filter: FilterLike | None,
        batch_size: int | None,
        timeout: float | None,
    ) -> Iterator[list[Item]]:
        if batch_size is None:
            most = BATCH_SIZE if self.schema.colbert_dimension is None else _BATCH_SIZE_WITH_COLBERT
            batch_size = min(most, self.max_limit)
        # A default must not be refused.
        wanted = min(BATCH_SIZE, self.max_limit) if batch_size == BATCH_SIZE else batch_size
        size = checked_limit("batch_size", wanted, self.max_limit)
        chosen, timeout = self._parsed(filter), checked_timeout(timeout)
        self._opening.opened(timeout)
        return self._while_open(scroll(chosen, size, self._opening.asker("be read", timeout)))

    def _while_open(self, batches: Iterator[list[Item]]) -> Iterator[list[Item]]:
        """Yield the batches; closing the store ends them with an error."""
        for batch in batches:
            yield batch
            self._opening.refuse_closed()

    def _options(self, limit: int, options: SearchKeywords, verb: str) -> SearchOptions:
        return SearchOptions.checked(
            self.schema,
            limit,
            owner=f"{type(self).__name__}.{verb}",
            max_limit=self.max_limit,
            is_native=self._backend.is_native_filter,
            **options,
        )

    def _parsed(self, filter: FilterLike | None) -> Filter | NativeFilter | None:
        return None if filter is None else bounded_filter(filter, self._backend.is_native_filter)
