"""Waiting for a database that is away."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_before_delay, wait_exponential, wait_random

from flagvec.cli.exits import message_of, say

Result = TypeVar("Result")

# Seconds between two attempts to reach a store, at most.
_LONGEST_PAUSE = 10.0


def patient(call: Callable[[], Result], patience: float) -> Result:
    """Return what a call to a database returns. While the database is away, it is made again, with a line that says so.

    Args:
        call: May be made several times.
        patience: Seconds in which it is made again.

    Raises:
        StoreError: The database stayed away, or refused.
    """

    def say_why(state: RetryCallState) -> None:
        if state.attempt_number == 1 and state.outcome is not None:
            reason = message_of(cast("Exception", state.outcome.exception()))
            say(f"{reason}; waiting up to {patience:g} seconds (--patience)")

    retrying = Retrying(
        retry=retry_if_exception(lambda error: getattr(error, "is_away", False)),
        stop=stop_before_delay(patience),
        wait=wait_exponential(0.5, _LONGEST_PAUSE) + wait_random(0, 0.5),
        before_sleep=say_why,
        reraise=True,
    )
    return retrying(call)
