"""`OpenedDatabase`: a store object from its making to its closing."""

from __future__ import annotations

import logging
import threading
from pathlib import PurePath
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from flagvec.errors import StoreError
from flagvec.search.options import check_choice
from flagvec.store.backend import Database
from flagvec.store.encoding import ColbertOverflow
from flagvec.store.schema import Schema
from flagvec.store.turns import turn_of

if TYPE_CHECKING:
    from typing_extensions import Self

    from flagvec.embedder import AbsEmbedder

_logger = logging.getLogger(__name__)


class OpenedDatabase(Database):
    """A database that is made by `create`, opened once by the first verb, and closed by `close`."""

    def __init__(
        self, model: AbsEmbedder, *, colbert: bool = True, colbert_overflow: ColbertOverflow = "error"
    ) -> None:
        check_choice("colbert_overflow", colbert_overflow, get_args(ColbertOverflow))
        self.model = model
        self.schema = Schema.of(model, colbert=colbert)
        self.colbert_overflow = colbert_overflow
        self._encoding = turn_of(model)
        self._opening = threading.Lock()
        self._is_open = False
        self._is_closed = False

    def create(self) -> None:
        """Make the schema; on a store that is there already, check that it fits.

        Raises:
            StoreError: The store exists with another schema, is in use elsewhere, or was closed.
        """
        self._refuse_closed()
        if self._found_schema() is None:
            self._create()
        self._open()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} holds a database that is open in this process, which cannot be pickled: make the "
            "store where it is used"
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # As of a model: a copy of what holds a store shares it.
        return self

    def close(self) -> None:
        """Free what the store object holds; the documents stay. Closing twice is no error."""
        if not self._is_closed:
            self._close()
        self._is_closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> None:
        """Check, once, that the store is there and fits."""
        self._refuse_closed()
        with self._opening:
            if not self._is_open:
                self._check_and_connect()
                self._is_open = True

    def _check_and_connect(self) -> None:
        found = self._found_schema()
        if found is None:
            raise StoreError(f"{self._name()} does not exist: call create() first")
        self.schema.check(found, self._name())
        if PurePath(found.model).name != PurePath(self.schema.model).name:
            _logger.warning(
                "%s was made with the model %r and is used with %r: unless these are one, the vectors do not match",
                self._name(),
                found.model,
                self.schema.model,
            )
        self._connect()

    def _refuse_closed(self) -> None:
        if self._is_closed:
            raise StoreError(f"{self._name()} was closed: make a new {type(self).__name__}")
