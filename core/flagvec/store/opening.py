"""`Opening`: a backend from its making to its closing, opened once, by the first verb."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic

from flagvec.errors import StoreError
from flagvec.ingest.report import without_secrets
from flagvec.store.backend import Backend, Row
from flagvec.store.schema import Schema


class Opening(Generic[Row]):
    """Opens a backend when it is first needed, and says what is wrong if it cannot.

    Args:
        backend: The database.
        schema: What the store must hold.
        owner: The name of the store's class, for messages.
    """

    def __init__(self, backend: Backend[Row], schema: Schema, owner: str) -> None:
        self._backend = backend
        self._schema = schema
        self._owner = owner
        self._lock = threading.RLock()
        self._is_open = False
        self._is_closed = False

    def create(self) -> None:
        """Make the store if it is not there, and open it."""
        self.refuse_closed()
        with self._lock, self.errors("be created"):
            if self._backend.describe() is None:
                self._backend.create(self._schema)
        self.opened()

    def drop(self) -> None:
        """Delete the store if it is there."""
        self.refuse_closed()
        with self._lock, self.errors("be deleted"):
            if self._backend.describe() is not None:
                self._backend.drop()
            self._is_open = False

    def close(self) -> None:
        """Close the backend, once."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._backend.close()

    def opened(self) -> Backend[Row]:
        """Return the backend, which is checked and opened by the first call.

        Raises:
            StoreError: The store does not exist, does not fit, cannot be opened, or was closed.
        """
        # Before the lock, because a thread of the parent may have held it during the fork.
        self._backend.check_usable()
        with self._lock:
            self.refuse_closed()
            if not self._is_open:
                with self.errors("be opened"):
                    self._check_and_open()
                self._is_open = True
        return self._backend

    def refuse_closed(self) -> None:
        """Raise a `StoreError` if the store was closed."""
        if self._is_closed:
            raise StoreError(f"{self._backend.name} was closed: make a new {self._owner}")

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Raise what the database refuses as a `StoreError`; `what` completes "the store could not ..."."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            refusal = self._backend.classify(error)
            if refusal is None:
                raise
            raise StoreError(f"{self._backend.name} could not {what}: {without_secrets(refusal.reason)}") from error

    def _check_and_open(self) -> None:
        found = self._backend.describe()
        if found is None:
            raise StoreError(f"{self._backend.name} does not exist: call create() first")
        self._schema.check(found, self._backend.name)
        self._backend.open(self._schema)
