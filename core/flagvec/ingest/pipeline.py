"""From documents to a report: bounded batches, each encoded while the one before is written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Event
from time import perf_counter
from typing import Generic, Literal

from more_itertools import constrained_batches

from flagvec.errors import StoreError, WriteError
from flagvec.ingest.background import Background
from flagvec.ingest.encoded import records_and_failures
from flagvec.ingest.report import FailedWrite, WriteReport, carry_report, without_secrets
from flagvec.ingest.retry import Outcome, Request, Retries, refused, requests, write_request
from flagvec.store.backend import Backend, Refusal, Row
from flagvec.store.documents import Document, InvalidDocument, characters_of
from flagvec.store.vectors import EncodedDocuments

_logger = logging.getLogger(__name__)

OnError = Literal["raise", "report"]

# Seconds. The calling thread writes a batch that took less to encode. With ready vectors, an engine in this process is
# a tenth slower in another thread (benchmarks/stores.py).
WORTH_A_THREAD = 0.03
# The reason of a document that was read and is still on its way. It is reported only if an error ends the work.
_UNCONFIRMED = "add ended before the database confirmed it"
Encode = Callable[[Sequence[Document]], EncodedDocuments]


def write_documents(
    documents: Iterable[Document | InvalidDocument],
    backend: Backend[Row],
    encode: Encode,
    *,
    most_characters: int,
    timeout: float | None,
    on_error: OnError,
    confirm: Callable[[], Refusal | None],
    flush: Callable[[], object],
    done: Callable[[int], object],
    stop: Event,
) -> WriteReport:
    """Encode and write documents in batches, and flush at the end, also after an error.

    If encoding takes time, one batch is encoded while the last request of the one before is written; no more is held.
    Once the database is away or refuses everything, the remaining documents are not encoded and are reported as failed.
    What was written before is then flushed in one attempt.

    Args:
        documents: Read as they are needed, each once. Of documents with one id the last one is written last. With
            ``on_error="raise"`` a list is checked whole before anything is written.
        backend: An open backend.
        encode: Encodes a batch.
        most_characters: How long the texts of a batch may be together. A longer text is a batch of its own.
        timeout: Seconds that one attempt to write a request may take; None for the client's own limit.
        on_error: ``"raise"`` raises for a document that is invalid or has vectors that cannot be stored;
            ``"report"`` puts it into the report.
        confirm: Checks that the database is the one that was opened. Returns why it cannot be written to, or None.
        flush: Makes what was written durable and searchable.
        done: Called with the number of documents whenever some were written or failed.
        stop: When it is set, by this function or by another thread, nothing more is written.

    Raises:
        BaseException: Each has an attribute ``report``, of what became of the documents that were read.
        TypeError: ``"raise"``, and a document is invalid.
        ValueError: ``"raise"``, and a document is invalid or its vectors cannot be stored. None of its batch was
            written.
        WriteError: All was written and `flush` failed, or `documents` raised one.
        CancelledError: Another thread set `stop`.
    """
    writer = Background("flagvec-write")
    run = _Run(backend, encode, timeout, on_error, done, stop, writer)
    is_written = False
    try:
        run.hopeless = confirm()
        with writer:
            run.write_all(documents, most_characters)
        is_written = True
        if run.hopeless is None:
            flush()
        elif run.has_written:
            stop.set()  # so that a database that is away is asked once only
            _flush_after_error(flush, backend.name)
    except BaseException as error:
        if not is_written:
            run.settle_after_interruption()
            if run.has_written or (run.has_sent and run.hopeless is None):
                _flush_after_error(flush, backend.name)
        elif isinstance(error, StoreError):
            reason = f"{error}; the documents were written, but searches may not find them yet: call add([]) to retry"
            raise WriteError(run.report(), reason) from error.__cause__
        if isinstance(error, WriteError):
            # The iterable wrote to another store, whose report must not be lost.
            raise WriteError(run.report(), "documents: a write to another store failed") from error
        carry_report(error, run.report())
        raise
    return run.report()


def _flush_after_error(flush: Callable[[], object], name: str) -> None:
    # The error that ended the work matters more than a second one.
    try:
        flush()
    except Exception as error:
        _logger.warning("%s could not be flushed after an error: %s", name, without_secrets(str(error)))


@dataclass(slots=True)
class _InFlight(Generic[Row]):
    request: Request[Row]
    outcome: Outcome | None = None


class _Run(Generic[Row]):
    """One call of `write_documents`, and what became of its documents so far."""

    def __init__(
        self,
        backend: Backend[Row],
        encode: Encode,
        timeout: float | None,
        on_error: OnError,
        done: Callable[[int], object],
        stop: Event,
        writer: Background,
    ) -> None:
        self.hopeless: Refusal | None = None
        self.has_sent = False
        # A document that was read and is not yet confirmed, the failure of one, or None for one that is in.
        self._outcomes: dict[str, Document | FailedWrite | None] = {}
        self._truncated: set[str] = set()
        self._backend = backend
        self._encode = encode
        self._timeout = timeout
        self._on_error = on_error
        self._done = done
        self._stop = stop
        self._writer = writer
        self._in_flight: _InFlight[Row] | None = None

    @property
    def has_written(self) -> bool:
        """Whether the database confirmed a document."""
        return None in self._outcomes.values()

    def report(self) -> WriteReport:
        """Return what became of the documents that were read."""
        outcomes = {
            name: FailedWrite(name, _UNCONFIRMED, True, outcome) if isinstance(outcome, Document) else outcome
            for name, outcome in self._outcomes.items()
        }
        return WriteReport.of(outcomes, self._truncated)

    def write_all(self, documents: Iterable[Document | InvalidDocument], most_characters: int) -> None:
        if self._on_error == "raise" and isinstance(documents, list):
            self._check_whole(documents)
        records, read = self._backend.limits.records, self._read(documents)
        try:
            for batch in constrained_batches(read, most_characters, records, get_len=characters_of, strict=False):
                # The last of the documents with one id counts, whether it is valid or not.
                latest = {one.id: one for one in batch}.values()
                for one in latest:
                    if isinstance(one, InvalidDocument):
                        self._note_invalid(one)
                self._write_batch([one for one in latest if isinstance(one, Document)])
                self._done(len(batch))
            self._settle()
        except Exception:
            self._settle()
            raise
        except BaseException:
            # An interruption ends the pauses between retries, so that the executor can be left.
            self._stop.set()
            raise

    def settle_after_interruption(self) -> None:
        """Note what became of the request that was in flight, if that is known."""
        with suppress(Exception):
            self._settle()

    def _check_whole(self, documents: Sequence[Document | InvalidDocument]) -> None:
        invalid = [one for one in documents if isinstance(one, InvalidDocument)]
        for one in invalid:
            self._note_invalid(one)
        if invalid:
            raise invalid[0].error

    def _read(self, documents: Iterable[Document | InvalidDocument]) -> Iterator[Document | InvalidDocument]:
        """Yield the documents, and raise for an invalid one unless it is to be reported."""
        for one in documents:
            if isinstance(one, Document):
                self._outcomes[one.id] = one
            elif self._on_error == "raise":
                self._note_invalid(one)
                raise one.error
            yield one

    def _write_batch(self, documents: Sequence[Document]) -> None:
        if self._stop.is_set():
            raise CancelledError
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
        for request in requests(prepared, self._backend):
            self._settle()
            if self.hopeless is not None:
                self._give_up(request.documents)
                continue
            self.has_sent = True
            flight = _InFlight(request)
            if is_slow:
                self._writer.submit(partial(self._send, flight))
                self._in_flight = flight
            else:
                self._send(flight)
                self._note_outcome(flight)

    def _prepared(self, documents: Sequence[Document]) -> Request[Row]:
        encoded = self._encode(documents)
        if self._on_error == "raise":
            encoded.all_valid()
        records, failures = records_and_failures(documents, encoded)
        for failure in failures:
            self._note(failure)
        # A later version of a document may be short.
        self._truncated.difference_update(document.id for document in documents)
        self._truncated.update(documents[position].id for position in encoded.truncated)
        return Request([record.document for record in records], self._backend.prepare(records))

    def _send(self, flight: _InFlight[Row]) -> None:
        flight.outcome = write_request(flight.request, self._backend, self._timeout, Retries(self._stop))

    def _settle(self) -> None:
        """Wait until nothing is in flight, and note what became of it."""
        if (flight := self._in_flight) is None:
            return
        try:
            # If this is interrupted, the request stays in flight.
            self._writer.settle()
        except Exception:
            self._in_flight = None
            raise
        self._in_flight = None
        self._note_outcome(flight)

    def _note_outcome(self, flight: _InFlight[Row]) -> None:
        assert flight.outcome is not None, "it has ended"
        failed = {failure.id: failure for failure in flight.outcome.failed}
        for document in flight.request.documents:
            # If a later version of the document was read meanwhile, that one counts.
            known = self._outcomes[document.id]
            if known is document or known is None:
                self._outcomes[document.id] = failed.get(document.id)
        self.hopeless = flight.outcome.hopeless

    def _give_up(self, documents: Sequence[Document]) -> None:
        assert self.hopeless is not None, "nothing is given up before"
        for document in documents:
            self._note(refused(document, self.hopeless))

    def _note_invalid(self, one: InvalidDocument) -> None:
        self._note(FailedWrite.of(one))

    def _note(self, failure: FailedWrite) -> None:
        self._outcomes[failure.id] = failure
