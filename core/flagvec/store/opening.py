"""`Opening`: a backend from its making to its closing, opened by the first verb and wherever its name leads later."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import Any, Generic
from weakref import WeakSet

from tenacity import RetryCallState, stop_after_attempt

from flagvec.errors import StoreError
from flagvec.ingest.report import without_secrets
from flagvec.late_interaction.storage import ColbertChoice
from flagvec.store.asking import Patience, Refused, ask
from flagvec.store.backend import Ask, Backend, Refusal, Result, Row
from flagvec.store.colbert_kept import schema_in_force, schema_to_create
from flagvec.store.schema import Schema

_logger = logging.getLogger(__name__)

# Seconds. A search in a collection of another model does not fail, so that failures alone would not show it.
CONFIRMED_FOR = 60.0

_openings: WeakSet[Opening[Any]] = WeakSet()


class Opening(Generic[Row]):
    """Opens a backend when it is first needed, notices if its name leads elsewhere, and says what is wrong.

    An alias that is switched to a newly built store of the same model is the usual way to replace a store while it is
    in use. So if the name leads to another store that fits the model, this goes on there, with one line in the log. If
    that store does not fit, or is gone, every verb raises a `StoreError` until it is back.

    What the name leads to is asked before documents are added, after a read failed, and before a read if the last
    answer is older than `CONFIRMED_FOR`.

    Args:
        backend: The database.
        schema: What the store must hold.
        owner: The name of the store's class, for messages.
        colbert: The form in which it keeps ColBERT vectors.

    Attributes:
        schema: What the store holds. Its ``colbert_storage`` is known once the store is open.
    """

    def __init__(self, backend: Backend[Row], schema: Schema, owner: str, colbert: ColbertChoice = True) -> None:
        self.schema = schema
        self._wanted = schema
        self._backend = backend
        self._owner = owner
        self._colbert = colbert
        self._lock = threading.RLock()
        self._is_open = False
        self._is_closed = False
        self._identity: str | None = None
        self._confirmed_at = 0.0
        _openings.add(self)

    def create(self) -> None:
        """Make the store if it is not there, and open it."""
        self.refuse_closed()
        with self._lock:
            if self._asked("be created", lambda timeout: self._backend.describe(), Patience(None)) is None:
                self._once("be created", self._create)
                # What is open was deleted by someone else.
                self._is_open = False
        self.opened()

    def described(self) -> Schema | None:
        """Return what is in the database, or None if nothing is there; opens nothing."""
        with self._lock:
            return self.ask_unopened("be opened", self._backend.describe)

    def ask_unopened(self, what: str, request: Callable[[], Result]) -> Result:
        """Make a request that needs no open backend, and repeat it if that may help; see `ask`."""
        self.refuse_closed()
        return self._asked(what, lambda timeout: request(), Patience(None))

    def drop(self) -> None:
        """Delete the store if it is there."""
        self.refuse_closed()
        with self._lock:
            if self._asked("be deleted", lambda timeout: self._backend.describe(), Patience(None)) is not None:
                self._once("be deleted", self._backend.drop)
            self._is_open = False

    def close(self) -> None:
        """Close the backend, once."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._backend.close()

    def opened(self, timeout: float | None = None) -> None:
        """Check and open the backend, unless it is open.

        Args:
            timeout: Seconds that this may take; None for ten. A single attempt may take the client's own limit.

        Raises:
            StoreError: The store does not exist, does not fit, cannot be opened, or was closed.
        """
        self._backend.check_usable()
        with self._lock:
            self.refuse_closed()
            if not self._is_open:
                patience = Patience(timeout)
                # Asked first: if the name comes to lead elsewhere in between, the next question shows it.
                identity = self._asked("be opened", self._backend.identity, patience)
                self._asked("be opened", lambda timeout: self._check_and_open(), patience)
                self._is_open = True
                self._identified(identity)

    def refuse_closed(self) -> None:
        """Raise a `StoreError` if the store was closed."""
        if self._is_closed:
            raise StoreError(f"{self._backend.name} was closed: make a new {self._owner}")

    def ask(
        self,
        what: str,
        request: Callable[[float | None], Result],
        timeout: float | None,
        stop: Event | None = None,
    ) -> Result:
        """Make a request that may be made twice, of an open backend, and repeat it if that may help.

        Args:
            what: Completes "the store could not ...".
            request: Makes the request once, in so many seconds; None is for the client's own limit.
            timeout: Seconds that all of it may take. With None an attempt may take the client's own limit, and none
                begins after ten seconds.
            stop: When it is set, pauses end and the request is not repeated.

        Raises:
            StoreError: The database refused, or the name leads nowhere or to a store that does not fit.
        """
        patience = Patience(timeout)
        if monotonic() - self._confirmed_at > CONFIRMED_FOR:
            # Asked once, because a database that does not answer this may still answer the request.
            self._confirmed_at = monotonic()
            self._follow_if_told(patience, is_over=lambda state: True)
        before = self._identity
        try:
            return ask(self._backend, request, patience, stop=stop)
        except Refused as refused:
            is_away, error, cause = refused.refusal.retryable, self._error(what, refused), refused.__cause__
        except StoreError as refused:
            is_away, error, cause = False, refused, refused.__cause__
        if not is_away:
            try:
                self._follow_if_told(patience)
            except StoreError as moved:
                raise moved from cause
        if self._identity == before:
            raise error from cause
        return self._asked(what, request, patience)

    def asker(self, what: str, timeout: float | None) -> Ask:
        """Return a function that makes requests as `ask` does, all of what the name leads to now.

        It raises a `StoreError` once the name is known to lead elsewhere.
        """
        before = self._identity

        def asked_there(request: Callable[[float | None], Result]) -> Result:
            result = self.ask(what, request, timeout)
            if self._identity != before:
                raise self._error(what, f"it led to {before} at first and leads to {self._identity} now: begin again")
            return result

        return asked_there

    def confirm(self, timeout: float | None, stop: Event) -> Refusal | None:
        """Ask what the name leads to, before documents are added, as often as a write is tried.

        Args:
            timeout: Seconds that each attempt may take; None for the client's own limit.
            stop: When it is set, pauses end and nothing more is asked.

        Returns:
            Why the database cannot be asked, so that nothing can be written; None if it can be asked.

        Raises:
            StoreError: The name leads nowhere, or to a store that does not fit.
        """
        is_over = stop_after_attempt(self._backend.limits.attempts)
        try:
            identity = ask(
                self._backend,
                lambda _: self._backend.identity(timeout),
                Patience(timeout),
                is_over=is_over,
                stop=stop,
            )
        except Refused as refused:
            return refused.refusal
        self._follow(identity, Patience(None))
        return None

    def _follow_if_told(self, patience: Patience, is_over: Callable[[RetryCallState], bool] | None = None) -> None:
        """Do as `_follow` does, unless the database does not say what the name leads to."""
        try:
            identity = ask(self._backend, self._backend.identity, patience, is_over=is_over)
        except Refused:
            return  # the next request raises the reason
        self._follow(identity, patience)

    def _follow(self, identity: str | None, patience: Patience) -> None:
        """Open what the name leads to now, if that is not what is open."""
        with self._lock:
            self.refuse_closed()
            before = self._identity
            if identity == before:
                self._confirmed_at = monotonic()
                return
            self._is_open = False
            if identity is None:
                raise StoreError(
                    f"{self._backend.name} is gone: it was deleted or renamed after this store opened it; call "
                    "create() to make an empty one"
                )
            try:
                self._asked("be opened", lambda timeout: self._check_and_open(), patience)
            except StoreError as error:
                raise StoreError(
                    f"{self._backend.name} led to {before} when this store opened it, and leads to {identity} now: "
                    f"{error}"
                ) from error
            self._is_open = True
            self._identified(identity)
        _logger.info(
            "%s led to %s and leads to %s now, which fits the model too: going on there",
            self._backend.name,
            before,
            identity,
        )

    def _identified(self, identity: str | None) -> None:
        self._identity = identity
        self._confirmed_at = monotonic()

    def _asked(self, what: str, request: Callable[[float | None], Result], patience: Patience) -> Result:
        try:
            return ask(self._backend, request, patience)
        except Refused as refused:
            raise self._error(what, refused) from refused.__cause__

    def _once(self, what: str, request: Callable[[], object]) -> None:
        try:
            request()
        except StoreError:
            raise
        except Exception as error:
            if (refusal := self._backend.classify(error)) is None:
                raise
            raise self._error(what, without_secrets(refusal.reason)) from error

    def _error(self, what: str, reason: object) -> StoreError:
        error = StoreError(f"{self._backend.name} could not {what}: {reason}")
        error.is_away = isinstance(reason, Refused) and reason.refusal.retryable
        return error

    def _create(self) -> None:
        backend = self._backend
        backend.create(schema_to_create(self._wanted, self._colbert, backend.compares_colbert, backend.name))

    def _check_and_open(self) -> None:
        backend, found = self._backend, self._backend.describe()
        if found is None:
            raise StoreError(f"{backend.name} does not exist: call create() first")
        self._wanted.check(found, backend.name)
        schema = schema_in_force(self._wanted, found, self._colbert, backend.compares_colbert, backend.name)
        backend.open(schema)
        self.schema = schema


def _renew_locks() -> None:
    # Another thread of the parent may have held one, and is not there to release it.
    for opening in _openings:
        opening._lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_renew_locks)
