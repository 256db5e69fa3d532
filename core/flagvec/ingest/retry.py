"""One request to a database: sent, sent again if that may help, and reported document by document."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from threading import Event
from time import monotonic
from typing import Generic, NamedTuple

from more_itertools import constrained_batches
from tenacity import RetryCallState, Retrying, retry_if_result, wait_exponential, wait_random
from tenacity.nap import sleep_using_event

from flagvec.ingest.report import FailedWrite, without_secrets
from flagvec.store.backend import Backend, Refusal, Row, WriteLimits
from flagvec.store.documents import Document

_LONGEST_PAUSE = 10.0
# A database may ask for a longer pause than ours, but not for any.
_LONGEST_ASKED_PAUSE = 60.0
# With a deadline, a request of several documents is cut in two after so many attempts. A database that is overloaded
# may take the halves, and one that is away is then asked for one document only.
_ATTEMPTS_BEFORE_CUT = 3


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


def requests(prepared: Request[Row], backend: Backend[Row]) -> Iterator[Request[Row]]:
    """Yield what was prepared in requests of bounded number and size."""
    limits, start = backend.limits, 0
    for rows in constrained_batches(
        prepared.rows, limits.bytes, limits.records, get_len=backend.row_bytes, strict=False
    ):
        yield prepared.part(start, start + len(rows))
        start += len(rows)


@dataclass(frozen=True, slots=True)
class Retries:
    """How long a request is sent again.

    Args:
        stop: When it is set, pauses end and nothing more is sent.
        deadline: No attempt begins after this time of `time.monotonic`. None bounds the attempts by the backend's
            ``limits.attempts`` instead.
        retried: Called before each attempt but the first.
    """

    stop: Event
    deadline: float | None = None
    retried: Callable[[], None] = lambda: None

    def is_over(self, state: RetryCallState, attempts: int, is_divisible: bool) -> bool:
        """Return whether no further attempt may be made after a pause that would begin now."""
        if self.deadline is None:
            return state.attempt_number >= attempts
        if is_divisible and state.attempt_number >= _ATTEMPTS_BEFORE_CUT:
            return True
        return monotonic() + state.upcoming_sleep >= self.deadline

    def cuts(self) -> bool:
        """Return whether a request that was refused for the moment is cut in two, to be sent in smaller parts."""
        return self.deadline is not None and monotonic() < self.deadline


def write_request(request: Request[Row], backend: Backend[Row], timeout: float | None, retries: Retries) -> Outcome:
    """Write documents in one request, and in more if that saves some of them.

    Only what failed retryably is sent again, after growing pauses. A request that was refused because of a part of it
    is cut in two. So in the end only the bad documents have failed.

    Args:
        request: What to write.
        backend: Where it is written.
        timeout: Seconds that each attempt may take; None for the client's own limit.
        retries: How long and how often it is sent again.

    Raises:
        Exception: What the client raised, if `Backend.classify` does not know it.
        CancelledError: ``retries.stop`` was set before the end.
    """
    sending = _Sending(request, backend, timeout, retries)
    sending.send_with_retries()
    refusal, pending = sending.refusal, sending.pending
    if refusal is None:
        return Outcome(sending.failed + sending.postponed, hopeless=None)
    is_cut = len(pending) > 1 and (refusal.divisible or (refusal.retryable and retries.cuts()))
    if not is_cut:
        failed = [refused(document, refusal) for document in pending.documents]
        return Outcome(sending.failed + failed, None if refusal.divisible else refusal)
    middle = len(pending) // 2
    first = write_request(pending.part(0, middle), backend, timeout, retries)
    rest = pending.part(middle)
    if first.hopeless is not None and retries.deadline is not None:
        second = Outcome([refused(document, first.hopeless) for document in rest.documents], first.hopeless)
    else:
        second = write_request(rest, backend, timeout, retries)
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

    def __init__(self, request: Request[Row], backend: Backend[Row], timeout: float | None, retries: Retries) -> None:
        self.pending = request
        self.failed: list[FailedWrite] = []
        self.postponed: list[FailedWrite] = []
        self.refusal: Refusal | None = None
        self._backend = backend
        self._timeout = timeout
        self._retries = retries

    def send_with_retries(self) -> None:
        limits, retries = self._backend.limits, self._retries
        retrying = Retrying(
            retry=retry_if_result(bool),
            stop=lambda state: retries.is_over(
                state, limits.attempts, self.refusal is not None and len(self.pending) > 1
            ),
            wait=pause_before(limits, lambda: self.refusal),
            sleep=sleep_using_event(retries.stop),
            before_sleep=lambda state: retries.retried(),
            retry_error_callback=lambda state: False,
        )
        retrying(self._attempt)

    def _attempt(self) -> bool:
        """Send what is pending, and return whether what is left is worth sending again."""
        if self._retries.stop.is_set():
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
