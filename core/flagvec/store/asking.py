"""Requests that may be made twice, and are, while the database refuses them for the moment."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from time import monotonic

from tenacity import RetryCallState, Retrying, retry_if_exception
from tenacity.nap import sleep_using_event

from flagvec.errors import StoreError
from flagvec.ingest.report import without_secrets
from flagvec.ingest.retry import pause_before
from flagvec.store.backend import Backend, Refusal, Result, Row

# Seconds. A server that restarts, or a cluster that elects another leader, is mostly back within a few seconds. Proxies
# and browsers give up after 30 to 60 seconds, and should get the database's own error before.
PATIENCE = 10.0
# Some clients take a timeout of 0 for no timeout.
_SHORTEST_TIMEOUT = 0.001


class Refused(Exception):
    """Raised when the database refused a request for good, or for too long. Its cause is the client's last exception.

    Args:
        refusal: Why it refused the last time.
        attempts: How often the request was made.
        seconds: How long that took.
    """

    def __init__(self, refusal: Refusal, attempts: int, seconds: float) -> None:
        super().__init__(refusal, attempts, seconds)
        self.refusal = refusal
        self.attempts = attempts
        self.seconds = seconds

    def __str__(self) -> str:
        reason = without_secrets(self.refusal.reason)
        if not self.refusal.retryable:
            return reason
        times = "once" if self.attempts == 1 else f"{self.attempts} times"
        tried = f"{reason} (tried {times} in {self.seconds:.1f} s)"
        if not self.refusal.pause:
            return tried
        return f"{tried}: the database asks to wait for {self.refusal.pause:g} s: do so, or pass a larger timeout"


class Patience:
    """The time that a verb may spend on requests, with their repetitions and the pauses between them.

    Args:
        timeout: Seconds for everything. With None, each attempt takes as long as the client allows, and none begins
            after `PATIENCE`.
    """

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._started = monotonic()

    @property
    def spent(self) -> float:
        """The seconds since the verb began."""
        return monotonic() - self._started

    def of_attempt(self) -> float | None:
        """Return the seconds that an attempt which begins now may take; None for the client's own limit."""
        return None if self._timeout is None else max(self._timeout - self.spent, _SHORTEST_TIMEOUT)

    def ends_within(self, pause: float) -> bool:
        """Return whether the time is over after a pause of so many seconds."""
        return self.spent + pause >= (PATIENCE if self._timeout is None else self._timeout)


def ask(
    backend: Backend[Row],
    request: Callable[[float | None], Result],
    patience: Patience,
    *,
    is_over: Callable[[RetryCallState], bool] | None = None,
    stop: Event | None = None,
) -> Result:
    """Return the result of a request, which is repeated while the database refuses it for the moment.

    The pauses grow as those between writes do, and are at least as long as the database asks. If the next pause would
    end too late, it is not begun.

    Args:
        backend: Says what an exception means.
        request: Makes the request once, in so many seconds; None is for the client's own limit.
        patience: How long it may take.
        is_over: Ends the attempts instead of `patience`.
        stop: When it is set, pauses end and the request is not repeated.

    Raises:
        Refused: The database refused for good or for too long.
        StoreError: What the request raises.
        Exception: What the client raised, if `Backend.classify` does not know it.
    """
    refusal: Refusal | None = None
    failures: list[Exception] = []

    def is_refused_for_the_moment(error: BaseException) -> bool:
        nonlocal refusal
        refusal = None
        if isinstance(error, Exception) and not isinstance(error, StoreError):
            refusal = backend.classify(error)
        return refusal is not None and refusal.retryable

    # Making the retries takes a fifth of the time of an embedded search, so they are made when one failed.
    try:
        return request(patience.of_attempt())
    except Exception as error:
        failures.append(error)

    def attempt() -> Result:
        if failures:
            raise failures.pop()
        return request(patience.of_attempt())

    stop = stop or Event()
    is_over = is_over or (lambda state: patience.ends_within(state.upcoming_sleep))
    retrying = Retrying(
        retry=retry_if_exception(is_refused_for_the_moment),
        wait=pause_before(backend.limits, lambda: refusal),
        stop=lambda state: stop.is_set() or is_over(state),
        sleep=sleep_using_event(stop),
        reraise=True,
    )
    try:
        return retrying(attempt)
    except Exception as error:
        if refusal is None:
            raise
        raise Refused(refusal, retrying.statistics["attempt_number"], patience.spent) from error
