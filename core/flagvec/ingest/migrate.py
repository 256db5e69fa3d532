"""`migrate`: a store's documents encoded anew into another store, while the first one is in use."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from flagvec.errors import StoreError
from flagvec.ingest.ingest_report import IngestReport
from flagvec.ingest.ingestion import DEAD_LETTERS, PATIENCE, ingest
from flagvec.ingest.journal import Journal

if TYPE_CHECKING:
    from flagvec.store.base import HybridStore

# Each pass after the first reads everything, and encodes only what was written meanwhile.
_MOST_PASSES = 20


@runtime_checkable
class HasAliases(Protocol):
    """A store whose database has aliases."""

    def leads_to(self, name: str) -> str | None:
        """Return the store that a name leads to."""

    def switch_alias(self, alias: str) -> None:
        """Let an alias lead to this store."""


@dataclass(frozen=True, slots=True)
class MigrateReport:
    """What `migrate` has done.

    Args:
        passes: What each pass over the old store did. The last one before the switch found nothing to do.
        documents: How many documents the new store has.
        alias: The alias that leads to the new store now; None if none was asked for.
    """

    passes: tuple[IngestReport, ...] = field(default=())
    documents: int = 0
    alias: str | None = None

    @property
    def encoded(self) -> int:
        """How many documents the model encoded."""
        return sum(one.encoded for one in self.passes)

    @property
    def refused(self) -> int:
        """How many documents the new store does not have, because it refused them in the last pass."""
        return self.passes[-1].failures if self.passes else 0


def migrate(
    source: HybridStore,
    target: HybridStore,
    *,
    journal: Journal | str | os.PathLike[str],
    name: str | None = None,
    alias: str | None = None,
    dead_letters: str | os.PathLike[str] = DEAD_LETTERS,
    patience: float = PATIENCE,
    timeout: float | None = None,
    on_progress: Callable[[int, IngestReport], object] | None = None,
) -> MigrateReport:
    """Encode all documents of a store with the model of another one, and write them there.

    The old store may be searched and written to meanwhile. Further passes over it catch up with what was written and
    deleted, until one finds nothing. Only then is the alias switched, in one atomic request. One more pass
    catches up with what was written to the old store just before. From then on, write by the alias.

    A migration that ended early goes on where it was: call it again with the same arguments.

    Args:
        source: An existing store. If its name is an alias that is about to be switched, open it by its own name, see
            ``leads_to`` of the stores.
        target: Another store, which is created if it does not exist.
        journal: As in `ingest`. It says what the new store has.
        name: What the journal calls the new store; None takes what its messages call it.
        alias: The alias that leads to the new store in the end. It is made if it does not exist.
        dead_letters: As in `ingest`.
        patience: As in `ingest`.
        timeout: As in `ingest`.
        on_progress: Called with the number of the pass, from 1, and its report so far.

    Raises:
        TypeError: An alias is given, and the database has no aliases.
        StoreError: The alias is the name of a store, or the old store was written to during each of 20 passes.
        JournalError: As in `ingest`.
        StoreDownError: As in `ingest`.
    """
    if alias is not None:
        _check_alias(target, alias)
    target.create()
    passes: list[IngestReport] = []
    letters = Path(dead_letters)
    letters_before = letters.stat().st_size if letters.exists() else 0

    def catch_up() -> int:
        number = len(passes) + 1
        if passes and passes[-1].dead_letters is not None:
            # What is still refused is written again by this pass.
            os.truncate(letters, letters_before)
        report = ingest(
            source.scroll(timeout=timeout),
            stores=target if name is None else {name: target},
            journal=journal,
            prune=True,
            dead_letters=letters,
            patience=patience,
            timeout=timeout,
            show_progress=False,
            on_progress=None if on_progress is None else lambda so_far: on_progress(number, so_far),
        )
        passes.append(report)
        return sum(one.written + one.pruned for one in report.stores.values())

    while catch_up():
        if len(passes) == _MOST_PASSES:
            raise StoreError(
                f"the old store was written to during each of {_MOST_PASSES} passes over it: pause its writers for one "
                "pass, and run the migration again"
            )
    if alias is not None:
        target.switch_alias(alias)  # type: ignore[attr-defined]  # _check_alias has seen it
        catch_up()
    return MigrateReport(tuple(passes), target.count(timeout=timeout), alias)


def _check_alias(target: Any, alias: str) -> None:
    """Refuse an alias that cannot be switched, before anything is encoded."""
    if not isinstance(target, HasAliases):
        raise TypeError(
            f"alias={alias!r}: {type(target).__name__} has no aliases; leave alias out, and open the new store by its "
            "own name when the migration has ended"
        )
    if target.leads_to(alias) == alias:
        raise StoreError(
            f"alias={alias!r} is the name of a store and not an alias: choose another alias, or open the new store by "
            "its own name when the migration has ended"
        )
