"""`IngestReport`: what an ingestion has done, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StoreReport:
    """What became of the documents in one store.

    Args:
        written: How many the store has acknowledged durably. One that came twice counts twice.
        unchanged: How many were left out, because the journal has them with the same content.
        refused: How many the store refused for good. They are in the dead letters.
        retries: How often a request was sent again.
        pruned: How many were deleted, because the source no longer has them.
        down: Why the store takes nothing more; None while it takes documents.
    """

    written: int = 0
    unchanged: int = 0
    refused: int = 0
    retries: int = 0
    pruned: int = 0
    down: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class IngestReport:
    """What `flagvec.ingest.ingest` has done. It grows with the stores and not with the documents.

    Args:
        stores: What became of the documents in each store, by its name.
        read: How many documents and invalid lines the source gave.
        invalid: How many of them no store can hold. They are in the dead letters.
        duplicates: How many had an id that came before. The last one of an id is in the store.
        encoded: How many documents the model encoded.
        characters: How many characters these had.
        truncated: How many of them were longer than the model reads, so that the rest was not encoded.
        seconds: How long it took.
        is_complete: Whether the whole source was read, and each store has acknowledged or refused all of it.
        dead_letters: The file with what was refused; None if nothing was.
    """

    stores: Mapping[str, StoreReport] = field(default_factory=dict)
    read: int = 0
    invalid: int = 0
    duplicates: int = 0
    encoded: int = 0
    characters: int = 0
    truncated: int = 0
    seconds: float = 0.0
    is_complete: bool = False
    dead_letters: Path | None = None

    def __repr__(self) -> str:
        return f"IngestReport({self.summary()})"

    @property
    def failures(self) -> int:
        """How many documents no store can hold, and how many each store refused for good, together."""
        return self.invalid + sum(store.refused for store in self.stores.values())

    def summary(self) -> str:
        """Return one line with the numbers that are not zero, and the file with what was refused."""
        ends = "" if self.is_complete else ", and the run is not complete"
        parts = [f"{self.read:,} documents read, {self.encoded:,} encoded{ends}"]
        for name, store in self.stores.items():
            counts = {
                "written": store.written,
                "unchanged": store.unchanged,
                "refused": store.refused,
                "pruned": store.pruned,
            }
            said = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count or what == "written")
            parts.append(f"{name}: {said}" + (f", down: {store.down}" if store.down else ""))
        parts += [f"{count:,} {what}" for what, count in self._other_counts().items() if count]
        if self.dead_letters is not None:
            parts.append(f"dead letters in {self.dead_letters}")
        return "; ".join(parts)

    def _other_counts(self) -> dict[str, int]:
        return {"invalid": self.invalid, "duplicate ids": self.duplicates, "truncated": self.truncated}
