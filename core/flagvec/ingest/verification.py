"""`verify`: whether a store has what its journal says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from more_itertools import chunked

from flagvec.ingest.content import Contents
from flagvec.ingest.journal import Journal
from flagvec.ingest.seen import SeenIds

if TYPE_CHECKING:
    from flagvec.store.base import HybridStore

_DOCUMENTS_READ = 900


@dataclass(frozen=True, slots=True)
class Verification:
    """How a store differs from its journal.

    Args:
        documents: How many documents the store has.
        missing: The ids that the journal has and the store has not.
        changed: The ids of the documents whose text or metadata differ.
        unknown: The ids that the store has and the journal has not: written by other means, or by an ingestion that
            ended before it was acknowledged.
    """

    documents: int
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs."""
        return not (self.missing or self.changed or self.unknown)


def verify(store: HybridStore, journal: Journal, *, name: str | None = None, forget: bool = False) -> Verification:
    """Compare a store with its journal, document by document.

    It reads the texts and metadata of the whole store. Its memory grows with the differences only.

    Args:
        store: An existing store.
        journal: Has to know it.
        name: What the journal calls it. None takes what the store's messages call it.
        forget: Take what is missing or changed out of the journal, so that the next ingestion writes it again.

    Raises:
        JournalError: The journal knows no store of this name.
        StoreError: The store cannot be read.
    """
    known = journal.store(store.writing.backend.name if name is None else name)
    hashes = Contents(known.vectors)
    changed: list[str] = []
    unknown: list[str] = []
    documents = 0
    # Searches of some databases do not find yet what a process that was killed wrote.
    store.writing.opening.opened()
    store.writing.flush(None)
    with SeenIds() as seen:
        for part in chunked(store.scroll(), _DOCUMENTS_READ):
            found = {document.id: hashes.of(document) for document in part}
            documents += len(found)
            seen.add(list(found))
            expected = journal.contents(known, list(found))
            unknown += [one for one in found if one not in expected]
            changed += [one for one, content in expected.items() if content != found[one]]
        missing = [one for page in journal.pages(known) for one in page.keys() - seen.among(list(page))]
    if forget:
        journal.forget(known, [*missing, *changed])
    return Verification(documents, tuple(sorted(missing)), tuple(sorted(changed)), tuple(sorted(unknown)))
