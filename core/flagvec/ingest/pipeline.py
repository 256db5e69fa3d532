"""From documents to a report: bounded batches, each encoded while the one before is written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from threading import Event
from time import perf_counter
from typing import Generic, Literal

from more_itertools import constrained_batches

from flagvec.ingest.report import FailedWrite, WriteReport
from flagvec.ingest.retry import Outcome, Request, refused, write_request
from flagvec.store.backend import Backend, Record, Refusal, Row
from flagvec.store.documents import Document, InvalidDocument
from flagvec.store.vectors import EncodedDocuments

_logger = logging.getLogger(__name__)

OnError = Literal["raise", "report"]

# Seconds. The calling thread writes a batch that took less to encode. With ready vectors, an engine in this process is
# a tenth slower in another thread (benchmarks/stores.py).
WORTH_A_THREAD = 0.03
Encode = Callable[[Sequence[Document]], EncodedDocuments]


def write_documents(
    documents: Iterable[Document | InvalidDocument],
    backend: Backend[Row],
    encode: Encode,
    *,
    most_characters: int,
    timeout: float | None,
    on_error: OnError,
    flush: Callable[[], object],
    done: Callable[[int], object],
) -> WriteReport:
    """Encode and write documents in batches, and flush at the end, also after an error.

    If encoding takes time, one batch is encoded while the last request of the one before is written; no more is held.
    Once the database is away or refuses everything, the remaining documents are not encoded and are reported as failed.

    Args:
        documents: Read as they are needed, each once. Of documents with one id the last one is written last.
        backend: An open backend.
        encode: Encodes a batch.
        most_characters: How long the texts of a batch may be together. A longer text is a batch of its own.
        timeout: Seconds that one attempt to write a request may take; None for the client's own limit.
        on_error: ``"raise"`` raises for a document that is invalid or has vectors that cannot be stored;
            ``"report"`` puts it into the report.
        flush: Makes what was written durable and searchable.
        done: Called with the number of documents whenever some were written or failed.

    Raises:
        TypeError: ``"raise"``, and a document is invalid.
        ValueError: ``"raise"``, and a document is invalid or its vectors cannot be stored. None of its batch was
            written.
    """
    run = _Run(backend, encode, timeout, on_error, done)
    try:
        with ThreadPoolExecutor(1, "flagvec-write") as writer:
            run.write_all(run.valid(documents), most_characters, writer)
    except BaseException:
        if run.hopeless is None:
            # The error that ended the work matters more than a second one.
            try:
                flush()
            except Exception:
                _logger.warning("%s could not be flushed after an error", backend.name, exc_info=True)
        raise
    if run.hopeless is None:
        flush()
    return WriteReport.of(run.outcomes, run.truncated)


class _Run(Generic[Row]):
    """One call of `write_documents`, and what became of its documents so far."""

    def __init__(
        self,
        backend: Backend[Row],
        encode: Encode,
        timeout: float | None,
        on_error: OnError,
        done: Callable[[int], object],
    ) -> None:
        self.outcomes: dict[str, FailedWrite | None] = {}
        self.truncated: set[str] = set()
        self.hopeless: Refusal | None = None
        self._backend = backend
        self._encode = encode
        self._timeout = timeout
        self._on_error = on_error
        self._done = done
        self._stop = Event()
        self._in_flight: Future[Outcome] | None = None

    def valid(self, documents: Iterable[Document | InvalidDocument]) -> Iterator[Document | InvalidDocument]:
        """Yield the documents, and raise for an invalid one unless it is to be reported."""
        for one in documents:
            if isinstance(one, InvalidDocument) and self._on_error == "raise":
                raise one.error
            yield one

    def write_all(
        self, documents: Iterable[Document | InvalidDocument], most_characters: int, writer: ThreadPoolExecutor
    ) -> None:
        records = self._backend.limits.records
        try:
            for batch in constrained_batches(documents, most_characters, records, get_len=_characters, strict=False):
                # The last of the documents with one id counts, whether it is valid or not.
                latest = {one.id: one for one in batch}.values()
                for one in latest:
                    if isinstance(one, InvalidDocument):
                        self._note(FailedWrite(one.id, str(one.error), False, one.document))
                self._write_batch([one for one in latest if isinstance(one, Document)], writer)
                self._done(len(batch))
            self._settle()
        except Exception:
            self._settle()
            raise
        except BaseException:
            # An interruption ends the pauses between retries, so that the executor can be left.
            self._stop.set()
            raise

    def _write_batch(self, documents: Sequence[Document], writer: ThreadPoolExecutor) -> None:
        if self.hopeless is not None:
            self._give_up(documents)
            return
        started = perf_counter()
        try:
            prepared = self._prepared(documents)
        except Exception:
            self._settle()
            if self.hopeless is None:
                raise
            self._give_up(documents)
            return
        is_slow = perf_counter() - started >= WORTH_A_THREAD
        for request in self._requests(prepared):
            self._settle()
            if self.hopeless is not None:
                self._give_up(request.documents)
                continue
            for document in request.documents:
                self.outcomes[document.id] = None
            send = partial(write_request, request, self._backend, self._timeout, self._stop)
            if is_slow:
                self._in_flight = writer.submit(copy_context().run, send)
            else:
                self._note_outcome(send())

    def _prepared(self, documents: Sequence[Document]) -> Request[Row]:
        encoded = self._encode(documents)
        vectors = encoded.all_valid() if self._on_error == "raise" else encoded.vectors
        for position, reason in encoded.refused.items():
            self._note(FailedWrite(documents[position].id, reason, False, documents[position]))
        records = [
            Record(document, one)
            for position, (document, one) in enumerate(zip(documents, vectors, strict=True))
            if position not in encoded.refused
        ]
        # A later version of a document may be short.
        self.truncated.difference_update(document.id for document in documents)
        self.truncated.update(documents[position].id for position in encoded.truncated)
        return Request([record.document for record in records], self._backend.prepare(records))

    def _requests(self, prepared: Request[Row]) -> Iterator[Request[Row]]:
        """Yield what was prepared in requests of bounded number and size."""
        limits, start = self._backend.limits, 0
        for rows in constrained_batches(
            prepared.rows, limits.bytes, limits.records, get_len=self._backend.row_bytes, strict=False
        ):
            yield prepared.part(start, start + len(rows))
            start += len(rows)

    def _settle(self) -> None:
        """Wait until nothing is in flight, and note what became of it."""
        if self._in_flight is not None:
            flight, self._in_flight = self._in_flight, None
            self._note_outcome(flight.result())

    def _note_outcome(self, outcome: Outcome) -> None:
        for failure in outcome.failed:
            self._note(failure)
        self.hopeless = outcome.hopeless

    def _give_up(self, documents: Sequence[Document]) -> None:
        assert self.hopeless is not None, "nothing is given up before"
        for document in documents:
            self._note(refused(document, self.hopeless))

    def _note(self, failure: FailedWrite) -> None:
        self.outcomes[failure.id] = failure


def _characters(document: Document | InvalidDocument) -> int:
    return len(document.text) if isinstance(document, Document) else 0
