"""One request to a database: sent, sent again if that may help, and reported document by document."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from threading import Event
from typing import Generic, NamedTuple

from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_attempt, wait_exponential, wait_random
from tenacity.nap import sleep_using_event

from flagvec.ingest.report import FailedWrite, without_secrets
from flagvec.store.backend import Backend, Refusal, Row
from flagvec.store.documents import Document

_LONGEST_PAUSE = 10.0
# A database may ask for a longer pause than ours, but not for any.
_LONGEST_ASKED_PAUSE = 60.0


@dataclass(slots=True)
class Prepared(Generic[Row]):
    """A document, and its row in the form in which the database takes it."""

    document: Document
    row: Row


class Outcome(NamedTuple):
    """What became of one request.

    Args:
        failed: The documents that were not written.
        hopeless: Why the next request would fail too; None if it may succeed.
    """

    failed: list[FailedWrite]
    hopeless: Refusal | None


def write_request(
    prepared: Sequence[Prepared[Row]], backend: Backend[Row], timeout: float | None, stop: Event
) -> Outcome:
    """Write documents in one request, and in more if that saves some of them.

    Only what failed retryably is sent again, after growing pauses. A request that was refused because of a part of it
    is cut in two, so that in the end only the bad documents have failed.

    Args:
        prepared: Documents of distinct ids.
        backend: Where they are written.
        timeout: Seconds that each attempt may take; None for the client's own limit.
        stop: When it is set, pauses end and nothing more is sent.

    Raises:
        Exception: What the client raised, if `Backend.classify` does not know it.
        CancelledError: `stop` was set before the end.
    """
    request = _Request(prepared, backend, timeout, stop)
    request.send_with_retries()
    refusal, pending = request.refusal, request.pending
    if refusal is None:
        return Outcome(request.failed + request.postponed, hopeless=None)
    if not refusal.divisible or len(pending) == 1:
        failed = [refused(one.document, refusal) for one in pending]
        return Outcome(request.failed + failed, None if refusal.divisible else refusal)
    middle = len(pending) // 2
    first, second = (write_request(half, backend, timeout, stop) for half in (pending[:middle], pending[middle:]))
    return Outcome(request.failed + first.failed + second.failed, first.hopeless or second.hopeless)


def refused(document: Document, refusal: Refusal) -> FailedWrite:
    """Return the failure of one document of a request that was refused as a whole."""
    return FailedWrite(document.id, without_secrets(refusal.reason), refusal.retryable, document)


class _Request(Generic[Row]):
    """A request between its attempts: what is still to be sent, and what will not be sent again."""

    def __init__(
        self, prepared: Sequence[Prepared[Row]], backend: Backend[Row], timeout: float | None, stop: Event
    ) -> None:
        self.pending = list(prepared)
        self.failed: list[FailedWrite] = []
        self.postponed: list[FailedWrite] = []
        self.refusal: Refusal | None = None
        self._backend = backend
        self._timeout = timeout
        self._stop = stop

    def send_with_retries(self) -> None:
        limits = self._backend.limits
        pauses = wait_exponential(limits.first_pause, _LONGEST_PAUSE) + wait_random(0, limits.jitter)

        def pause(state: RetryCallState) -> float:
            asked = self.refusal.pause if self.refusal else 0.0
            return max(pauses(state), min(asked, _LONGEST_ASKED_PAUSE))

        retrying = Retrying(
            retry=retry_if_result(bool),
            stop=stop_after_attempt(limits.attempts),
            wait=pause,
            sleep=sleep_using_event(self._stop),
            retry_error_callback=lambda state: False,
        )
        retrying(self._attempt)

    def _attempt(self) -> bool:
        """Send what is pending, and return whether what is left is worth sending again."""
        if self._stop.is_set():
            raise CancelledError
        try:
            failures = self._backend.write([one.row for one in self.pending], self._timeout)
        except Exception as error:
            self.refusal = self._backend.classify(error)
            if self.refusal is None:
                raise
            return self.refusal.retryable
        self.refusal = None
        if not failures:
            self.pending, self.postponed = [], []
            return False
        documents = {one.document.id: one.document for one in self.pending}
        failures = [FailedWrite(one.id, one.reason, one.retryable, documents.get(one.id)) for one in failures]
        self.failed += [failure for failure in failures if not failure.retryable]
        self.postponed = [failure for failure in failures if failure.retryable]
        left = {failure.id for failure in self.postponed}
        self.pending = [one for one in self.pending if one.document.id in left]
        return bool(self.pending)
