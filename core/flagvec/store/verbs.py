"""`Verbs`: what every store can be asked, and all of the work that is no database's own."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from threading import Event

from flagvec.filters.portable import All, Filter, FilterLike, NativeFilter, parse_filter
from flagvec.ingest.batches import batches
from flagvec.ingest.pipeline import WriteBehind
from flagvec.ingest.report import WriteReport
from flagvec.ingest.retry import Outcome, Record, write_request
from flagvec.m3_output import M3Output
from flagvec.search.options import Fusion, Mode, Rerank, SearchOptions, checked_timeout, whole_number
from flagvec.store.documents import Document, Hit, as_documents, checked_ids
from flagvec.store.encoding import ColbertLimit, TextVectors, encode_documents, encode_query, query_vectors
from flagvec.store.opening import OpenedDatabase

_logger = logging.getLogger(__name__)

# One batch is encoded while the last request of the one before is written; no more is held. The characters bound what
# ColBERT makes of long documents: 100,000 of them are some 25,000 tokens of English, 100 MB of vectors at 1,024
# dimensions.
CHARACTERS_PER_BATCH = 100_000
CHARACTERS_PER_BATCH_WITHOUT_COLBERT = 1_000_000
IDS_PER_REQUEST = 1_000
# Seconds that it must take to make a batch ready, for it to be written in a thread beside the next. Both are slower so,
# for they take turns at Python's lock, and at the cores where the database is here: ready vectors, which take 20 ms,
# got into Elasticsearch no sooner on two cores, and into engines in this process a tenth later. A fast GPU takes 40 ms.
WORTH_A_THREAD = 0.03


class Verbs(OpenedDatabase):
    """The verbs that wait for their results; `flagvec.store.base.HybridStore` says what a store is."""

    def add(self, documents: str | Document | Iterable[str | Document], *, timeout: float | None = None) -> WriteReport:
        """Encode documents and write them, replacing those of the same id.

        The documents are read, encoded and written in bounded batches, so that a generator is never held whole; each is
        encoded while the one before is written, unless that takes no time. All are found once this returns. Of
        documents with one id the last is kept, in one call as over several.

        What a database cannot take for the moment is sent again, with growing pauses; what it does not take in the end
        is in the report, and one warning is logged. Once it has gone away, or refuses whatever it is sent, the
        documents that are left are not sent, nor encoded but for those of one batch, and reported as failed.

        Args:
            documents: A text or `Document`, or any iterable of them. A bare text gets the id of
                `flagvec.store.documents.text_id`, so that adding it again changes nothing.
            timeout: Seconds that one request to the database may take; None for the client's own limit.

        Returns:
            Which ids are in the store and which are not, and why; empty for no documents.

        Raises:
            TypeError: Something else than texts and documents, or metadata that JSON cannot hold.
            ValueError: A bad id or metadata, or a vector that the store cannot take; names the document. Documents
                of the batches before are in the store, of its own batch none.
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        checked, timeout = as_documents(documents), checked_timeout(timeout)
        self._open()
        is_last = False

        def read() -> Iterator[Document]:
            nonlocal is_last
            yield from checked
            is_last = True

        writing = WriteBehind(partial(self._sent, timeout), WORTH_A_THREAD)
        try:
            with writing:
                for batch in batches(read(), self._MAX_REQUEST_RECORDS, _characters, self._characters_per_batch()):
                    latest = {document.id: document for document in batch}
                    writing.write(latest.keys(), partial(self._prepared, [*latest.values()]), is_last)
        finally:
            if writing.hopeless is None:
                self._commit(timeout)
        report = WriteReport.of(writing.outcomes)
        if report.failed:
            _logger.warning("%s: %s", self._name(), report.summary())
        return report

    def search(
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
        """Find the documents that fit a query best.

        Args:
            query: Any text; it is encoded once, with the model's query instruction.
            limit: The most hits to return.
            mode: ``"dense"``, ``"sparse"`` or ``"hybrid"``, which fuses both. None is hybrid where the store holds
                lexical weights, and else dense.
            fusion: How a hybrid search orders the union of what its legs found. ``"rrf"`` adds the reciprocal ranks,
                1 / (60 + rank), ranks from one. `Weighted` computes the model's own score, of every candidate in full,
                whichever leg found it; a weight of 0 leaves a representation out.
            rerank: ``"colbert"`` orders the candidates by ColBERT alone.
            candidates: How many documents each leg finds before fusion or rerank; 100, or `limit` if that is more.
            filter: Which documents take part, in the form of `flagvec.filters.portable`; None for all.
            explain: Let each hit's ``scores`` hold those of all representations that the search used, not only those
                that ordered the hits. The further ones take one more request to the database, or a larger one.
            timeout: Seconds that a request to the database may take; None for the client's own limit.

        Returns:
            The hits, best first, equal scores by id; of documents with equal vectors at the end of the list, the
            database chooses which are in it. A hit's score is the representation's own in a dense or sparse
            search and after a rerank, and the fused one otherwise; its ``scores`` holds, by representation, those
            that ordered the hits, and none where ranks did (``"rrf"``). Sparse search leaves out documents without a
            token in common with the query, and rerank those without ColBERT vectors.

        Raises:
            TypeError: The query is no ``str``; an option is of a type that it does not take.
            ValueError: An option that is unknown, out of range, in conflict with another, or needs a representation
                that the store does not hold; a filter that `parse_filter` refuses.
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        if not isinstance(query, str):
            raise TypeError(f"query takes a str, not {type(query).__name__}")
        options = SearchOptions.checked(
            self.schema,
            limit=limit,
            mode=mode,
            fusion=fusion,
            rerank=rerank,
            candidates=candidates,
            filter=filter,
            explain=explain,
            timeout=timeout,
        )
        self._open()
        with self._encoding:
            vectors = encode_query(self.model, query, options.representations, self._colbert_limit())
        return self._best_first(vectors, options)

    def search_vectors(
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
        """Find the documents that fit a query best whose vectors are ready; the rest is as in `search`.

        Args:
            vectors: What the model's ``encode_queries`` gave for one query, with all that the search uses.
            limit: The most hits to return.
            mode: As in `search`; for dense vectors alone, say ``"dense"``.
            fusion: As in `search`.
            rerank: As in `search`.
            candidates: As in `search`.
            filter: As in `search`.
            explain: As in `search`.
            timeout: As in `search`.

        Raises:
            TypeError: Something else than a model's output; an option is of a type that it does not take.
            ValueError: Vectors of several queries, of other dimensions than the store's, not of length 1, or without
                what the search uses; an option that `search` refuses.
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        options = SearchOptions.checked(
            self.schema,
            limit=limit,
            mode=mode,
            fusion=fusion,
            rerank=rerank,
            candidates=candidates,
            filter=filter,
            explain=explain,
            timeout=timeout,
        )
        self._open()
        ready = query_vectors(vectors, self.schema, options.representations, self._colbert_limit())
        return self._best_first(ready, options)

    def get(self, ids: str | Iterable[str], *, timeout: float | None = None) -> list[Document]:
        """Return the documents of these ids, in the order of the ids; an id that is not there is left out.

        Raises:
            TypeError: Something else than a ``str`` or an iterable of ``str``.
            ValueError: An id that no document can have.
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        wanted, timeout = checked_ids(ids), checked_timeout(timeout)
        self._open()
        parts = batches(wanted, IDS_PER_REQUEST)
        found = {document.id: document for part in parts for document in self._get(part, timeout)}
        return [found[name] for name in wanted if name in found]

    def delete(
        self, ids: str | Iterable[str] | None = None, *, filter: FilterLike | None = None, timeout: float | None = None
    ) -> None:
        """Delete the documents of these ids, or those that a filter holds for; to find none of them is no error.

        Raises:
            TypeError: Both ids and a filter or neither; a value of a type that is not taken.
            ValueError: An id that no document can have; a filter that is empty or that `parse_filter` refuses.
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        if (ids is None) == (filter is None):
            raise TypeError("delete takes either ids or filter=")
        timeout = checked_timeout(timeout)
        unwanted = [] if ids is None else checked_ids(ids)
        chosen = None if filter is None else parse_filter(filter)
        if chosen == All(()):
            raise ValueError("an empty filter holds for every document: to delete all, delete the store itself")
        self._open()
        if chosen is not None:
            self._delete_where(chosen, timeout)
        for part in batches(unwanted, IDS_PER_REQUEST):
            self._delete(part, timeout)
        self._commit(timeout)

    def count(self, filter: FilterLike | None = None, *, timeout: float | None = None) -> int:
        """Return the number of documents, or of those that a filter holds for.

        Raises:
            TypeError: A filter of a type that is not taken.
            ValueError: A filter that `parse_filter` refuses.
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        chosen, timeout = _parsed(filter), checked_timeout(timeout)
        self._open()
        return self._count(chosen, timeout)

    def scroll(
        self, filter: FilterLike | None = None, *, batch_size: int = 256, timeout: float | None = None
    ) -> Iterator[Document]:
        """Iterate over all documents, or those that a filter holds for, each once, in an order of the database's own.

        Documents that are added or replaced meanwhile may come or not.

        Args:
            filter: Which documents, in the form of `flagvec.filters.portable`; None for all.
            batch_size: How many documents one request brings, at most.
            timeout: Seconds that one request to the database may take; None for the client's own limit.

        Raises:
            TypeError: A filter or ``batch_size`` of a type that is not taken.
            ValueError: A filter that `parse_filter` refuses, or ``batch_size`` below 1.
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        return chain.from_iterable(self._batches(filter, batch_size, timeout))

    def _batches(self, filter: FilterLike | None, batch_size: int, timeout: float | None) -> Iterator[list[Document]]:
        chosen, size = _parsed(filter), whole_number("batch_size", batch_size, at_least=1)
        timeout = checked_timeout(timeout)
        self._open()
        return self._while_open(self._scroll(chosen, size, timeout))

    def _while_open(self, batches: Iterator[list[Document]]) -> Iterator[list[Document]]:
        """Yield the batches; closing the store ends them with an error."""
        for batch in batches:
            yield batch
            self._refuse_closed()

    def _best_first(self, vectors: TextVectors, options: SearchOptions) -> list[Hit]:
        return sorted(self._search(vectors, options), key=lambda hit: (-hit.score, hit.id))[: options.limit]

    def _sent(self, timeout: float | None, records: Sequence[Record], stop: Event) -> Outcome:
        return write_request(records, lambda part: self._write(part, timeout), self._refusal, self._BACKOFF, stop)

    def _prepared(self, documents: Sequence[Document]) -> Iterable[Sequence[Record]]:
        """Encode documents, and return what to send."""
        records = self._records(documents)
        return list(batches(records, self._MAX_REQUEST_RECORDS, self._record_bytes, self._MAX_REQUEST_BYTES))

    def _records(self, documents: Sequence[Document]) -> list[Record]:
        """Encode documents. A store can make of them here what it sends, while the request before is in flight."""
        with self._encoding:
            vectors = encode_documents(
                self.model,
                [document.text for document in documents],
                [f"document {document.id!r}" for document in documents],
                self.schema.representations,
                self._colbert_limit(),
            )
        return list(map(Record, documents, vectors))

    def _colbert_limit(self) -> ColbertLimit:
        if self.schema.colbert_dimension is None:
            return ColbertLimit()
        return ColbertLimit(self.capabilities.max_multivector_rows, self.colbert_overflow)

    def _characters_per_batch(self) -> int:
        if self.schema.colbert_dimension is None:
            return CHARACTERS_PER_BATCH_WITHOUT_COLBERT
        return CHARACTERS_PER_BATCH


def _parsed(filter: FilterLike | None) -> Filter | NativeFilter | None:
    return None if filter is None else parse_filter(filter)


def _characters(document: Document) -> int:
    return len(document.text)
