"""`RayReport`: what a run on Ray has done, in numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class RayReport:
    """What became of the documents. A batch that Ray gave to another actor counts once.

    Args:
        written: How many are in the store or in complete files.
        failed: How many no store can hold, or the store refused for good. They are in the dead letters.
        skipped: How many were there already with the same text and metadata.
        truncated: How many were longer than the model reads, so that the rest was not encoded.
        dead_letters: The file with those that failed; None if there are none.
    """

    written: int = 0
    failed: int = 0
    skipped: int = 0
    truncated: int = 0
    dead_letters: Path | None = None

    def plus(self, other: RayReport) -> RayReport:
        """Return the sum of both, with the file of this one."""
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in COUNTS})

    def summary(self) -> str:
        """Return one line with the numbers."""
        line = f"{self.written:,} written, {self.failed:,} failed, {self.skipped:,} skipped"
        return line + (f", {self.truncated:,} truncated" if self.truncated else "")


COUNTS = [field.name for field in fields(RayReport) if field.name != "dead_letters"]


def to_row(report: RayReport, letters: bytes) -> dict[str, list[Any]]:
    """Return what an actor gives back for a batch: its numbers, and its dead letters in JSON lines."""
    return {**{name: [getattr(report, name)] for name in COUNTS}, "letters": [letters]}


def from_row(row: Mapping[str, Any]) -> RayReport:
    """Return the numbers in a row that `to_row` made and Ray gives back."""
    counts: dict[str, Any] = {name: int(row[name]) for name in COUNTS}
    return RayReport(**counts)


def collected(rows: Iterable[Mapping[str, Any]], dead_letters: Path) -> RayReport:
    """Return the sum of the rows of all batches, and add their dead letters to the end of a file."""
    total = RayReport()
    for row in rows:
        total = total.plus(from_row(row))
        if row["letters"]:
            with dead_letters.open("ab") as file:
                file.write(row["letters"])
            total = replace(total, dead_letters=dead_letters)
    return total
