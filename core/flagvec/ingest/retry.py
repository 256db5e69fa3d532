"""One request to a database: sent, sent again if that may help, and reported document by document."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from threading import Event
from typing import Generic, NamedTuple

from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_attempt, wait_exponential, wait_random
from tenacity.nap import sleep_using_event

from flagvec.ingest.report import FailedWrite, without_secrets
from flagvec.store.backend import Backend, Refusal, Row, WriteLimits
from flagvec.store.documents import Document

_LONGEST_PAUSE = 10.0
# A database may ask for a longer pause than ours, but not for any.
_LONGEST_ASKED_PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class Request(Generic[Row]):
    """Documents of distinct ids, and their rows in the form in which the database takes them, in the same order."""

    documents: Sequence[Document]
    rows: Sequence[Row]

    def __len__(self) -> int:
        return len(self.documents)

    def part(self, start: int, end: int | None = None) -> Request[Row]:
        """Return the documents from `start` on, up to `end` if given."""
        return Request(self.documents[start:end], self.rows[start:end])

    def only(self, ids: Collection[str]) -> Request[Row]:
        """Return the documents of these ids."""
        kept = [position for position, document in enumerate(self.documents) if document.id in ids]
        return Request([self.documents[position] for position in kept], [self.rows[position] for position in kept])


class Outcome(NamedTuple):
    """What became of one request.

    Args:
        failed: The documents that were not written.
        hopeless: Why the next request would fail too; None if it may succeed.
    """

    failed: list[FailedWrite]
    hopeless: Refusal | None


def write_request(request: Request[Row], backend: Backend[Row], timeout: float | None, stop: Event) -> Outcome:
    """Write documents in one request, and in more if that saves some of them.

    Only what failed retryably is sent again, after growing pauses. A request that was refused because of a part of it
    is cut in two, so that in the end only the bad documents have failed.

    Args:
        request: What to write.
        backend: Where they are written.
        timeout: Seconds that each attempt may take; None for the client's own limit.
        stop: When it is set, pauses end and nothing more is sent.

    Raises:
        Exception: What the client raised, if `Backend.classify` does not know it.
        CancelledError: `stop` was set before the end.
    """
    sending = _Sending(request, backend, timeout, stop)
    sending.send_with_retries()
    refusal, pending = sending.refusal, sending.pending
    if refusal is None:
        return Outcome(sending.failed + sending.postponed, hopeless=None)
    if not refusal.divisible or len(pending) == 1:
        failed = [refused(document, refusal) for document in pending.documents]
        return Outcome(sending.failed + failed, None if refusal.divisible else refusal)
    middle = len(pending) // 2
    halves = (pending.part(0, middle), pending.part(middle))
    first, second = (write_request(half, backend, timeout, stop) for half in halves)
    return Outcome(sending.failed + first.failed + second.failed, first.hopeless or second.hopeless)


def pause_before(limits: WriteLimits, last: Callable[[], Refusal | None]) -> Callable[[RetryCallState], float]:
    """Return a function for the seconds to wait before the next attempt; `last` returns why the last one failed."""
    pauses = wait_exponential(limits.first_pause, _LONGEST_PAUSE) + wait_random(0, limits.jitter)

    def pause(state: RetryCallState) -> float:
        refusal = last()
        return max(pauses(state), min(refusal.pause, _LONGEST_ASKED_PAUSE) if refusal else 0.0)

    return pause


def refused(document: Document, refusal: Refusal) -> FailedWrite:
    """Return the failure of one document of a request that was refused as a whole."""
    return FailedWrite(document.id, without_secrets(refusal.reason), refusal.retryable, document)


class _Sending(Generic[Row]):
    """A request between its attempts: what is still to be sent, and what will not be sent again."""

    def __init__(self, request: Request[Row], backend: Backend[Row], timeout: float | None, stop: Event) -> None:
        self.pending = request
        self.failed: list[FailedWrite] = []
        self.postponed: list[FailedWrite] = []
        self.refusal: Refusal | None = None
        self._backend = backend
        self._timeout = timeout
        self._stop = stop

    def send_with_retries(self) -> None:
        limits = self._backend.limits
        retrying = Retrying(
            retry=retry_if_result(bool),
            stop=stop_after_attempt(limits.attempts),
            wait=pause_before(limits, lambda: self.refusal),
            sleep=sleep_using_event(self._stop),
            retry_error_callback=lambda state: False,
        )
        retrying(self._attempt)

    def _attempt(self) -> bool:
        """Send what is pending, and return whether what is left is worth sending again."""
        if self._stop.is_set():
            raise CancelledError
        try:
            failures = self._backend.write(self.pending.rows, self._timeout)
        except Exception as error:
            self.refusal = self._backend.classify(error)
            if self.refusal is None:
                raise
            return self.refusal.retryable
        self.refusal = None
        if not failures:
            self.postponed = []
            return False
        documents = {document.id: document for document in self.pending.documents}
        failures = [FailedWrite(one.id, one.reason, one.retryable, documents.get(one.id)) for one in failures]
        self.failed += [failure for failure in failures if not failure.retryable]
        self.postponed = [failure for failure in failures if failure.retryable]
        self.pending = self.pending.only({failure.id for failure in self.postponed})
        return len(self.pending) > 0
