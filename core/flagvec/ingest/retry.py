"""One request of documents to a database: sent, sent again where that may help, and reported document by document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import partial
from itertools import chain
from threading import Event
from typing import NamedTuple

from tenacity import Retrying, retry_if_result, stop_after_attempt, wait_exponential, wait_random
from tenacity.nap import sleep, sleep_using_event

from flagvec.ingest.report import FailedWrite, without_secrets
from flagvec.store.documents import Document
from flagvec.store.encoding import TextVectors

# A database may ask for a longer pause than the back-off's own, but not for any.
_LONGEST_PAUSE = 60.0


@dataclass(slots=True, eq=False)
class Record:
    """A document with its vectors, valid for every store.

    It is not frozen, as one is made for every document: a frozen one takes twice as long.
    """

    document: Document
    vectors: TextVectors


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request failed as a whole, as an adapter reads it from its client's exception.

    Args:
        reason: The database's words.
        retryable: Whether the same request may succeed later.
        divisible: Whether a part of the request may succeed: it is too large, or one document in it is bad.
        pause: Seconds that the database asked to wait; 0 if it did not say.
    """

    reason: str
    retryable: bool
    divisible: bool = False
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often a request is sent and how long the pauses between are.

    Args:
        attempts: The most times that it is sent.
        first_pause: Seconds before the second attempt; each later pause is twice as long.
        longest_pause: Seconds that a pause is not doubled beyond.
        jitter: Each pause is longer by up to this many seconds, at random, so that clients do not return together.
    """

    attempts: int = 6
    first_pause: float = 0.5
    longest_pause: float = 10.0
    jitter: float = 0.5


class Outcome(NamedTuple):
    """What became of one request: the documents that failed, and why the next one would fail too, if it would."""

    failed: list[FailedWrite]
    hopeless: Refusal | None


Write = Callable[[Sequence[Record]], list[FailedWrite]]
Classify = Callable[[Exception], Refusal | None]


def write_request(
    records: Sequence[Record], write: Write, classify: Classify, backoff: Backoff, stop: Event | None = None
) -> Outcome:
    """Write records in one request, and in more where that saves some of them.

    Exactly what failed retryably is sent again, with pauses that grow; a request that was refused for a part of it is
    cut in two, so that in the end only the bad documents have failed.

    Args:
        records: Records of distinct ids.
        write: Sends one request and returns the documents that the database refused one by one.
        classify: Says what an exception of `write` means; None for one that is no answer to the request.
        backoff: How often to try.
        stop: Ends pauses when it is set, and nothing is sent any more; None for never.

    Returns:
        The failures; hopeless, with the reason, if the database is away or refuses whatever it is sent.

    Raises:
        Exception: What `write` raised and `classify` gave None for.
        CancelledError: `stop` was set before the end.
    """
    request = _Request(records, write, classify, stop)
    # Nearly every request is taken at once, in less time than it takes to set up what would send it again.
    if request.attempt():
        _send_again(request, backoff, stop)
    if request.refusal is None:
        return Outcome(request.refused + request.postponed, hopeless=None)
    pending = request.pending
    if not request.refusal.divisible or len(pending) == 1:
        failed = [refused(record.document.id, request.refusal) for record in pending]
        return Outcome(request.refused + failed, None if request.refusal.divisible else request.refusal)
    middle = len(pending) // 2
    halves = (pending[:middle], pending[middle:])
    first, second = (write_request(half, write, classify, backoff, stop) for half in halves)
    return Outcome(request.refused + first.failed + second.failed, first.hopeless or second.hopeless)


def refused(document_id: str, refusal: Refusal) -> FailedWrite:
    """Return the failure of one document of a request that was refused as a whole."""
    return FailedWrite(document_id, without_secrets(refusal.reason), refusal.retryable)


def _send_again(request: _Request, backoff: Backoff, stop: Event | None) -> None:
    """Send a request, whose first attempt did not do, until there is nothing left that is worth sending again."""
    # The first attempt is made and counts; the others, none of which gives None, follow without end.
    attempts = chain([True], iter(request.attempt, None))
    pauses = wait_exponential(backoff.first_pause, backoff.longest_pause) + wait_random(0, backoff.jitter)
    retrying = Retrying(
        retry=retry_if_result(bool),
        stop=stop_after_attempt(backoff.attempts),
        wait=lambda state: max(pauses(state), request.asked_pause),
        sleep=sleep if stop is None else sleep_using_event(stop),
        retry_error_callback=lambda state: False,
    )
    retrying(partial(next, attempts))


class _Request:
    """A request between its attempts: what is still to be sent, and what will not be sent again."""

    def __init__(self, records: Sequence[Record], write: Write, classify: Classify, stop: Event | None) -> None:
        self.pending = list(records)
        self.refused: list[FailedWrite] = []
        self.postponed: list[FailedWrite] = []
        self.refusal: Refusal | None = None
        self._write = write
        self._classify = classify
        self._stop = stop

    @property
    def asked_pause(self) -> float:
        """Seconds that the database asked to wait."""
        return min(self.refusal.pause, _LONGEST_PAUSE) if self.refusal else 0.0

    def attempt(self) -> bool:
        """Send what is pending; return whether what is left is worth sending again."""
        if self._stop is not None and self._stop.is_set():
            raise CancelledError
        try:
            failures = self._write(self.pending)
        except Exception as error:
            self.refusal = self._classify(error)
            if self.refusal is None:
                raise
            return self.refusal.retryable
        self.refusal = None
        self.refused += [failure for failure in failures if not failure.retryable]
        self.postponed = [failure for failure in failures if failure.retryable]
        left = {failure.id for failure in self.postponed}
        self.pending = [record for record in self.pending if record.document.id in left] if left else []
        return bool(self.pending)
