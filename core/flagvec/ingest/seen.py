"""`SeenIds`: the ids that a run has read, in bounded memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from types import TracebackType

from more_itertools import chunked

from flagvec.ingest.journal_file import IDS_PER_STATEMENT

# Pages beyond this many kilobytes go to a temporary file.
_MEMORY_KILOBYTES = 32_768


class SeenIds:
    """A set of ids in a temporary file, which ends with the process. It is for one thread, in a ``with`` block."""

    def __init__(self) -> None:
        # An empty name makes a database in a temporary file that SQLite deletes.
        self._connection = sqlite3.connect("", isolation_level=None)
        self._connection.execute(f"PRAGMA cache_size = -{_MEMORY_KILOBYTES}")
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.execute("CREATE TABLE seen (id TEXT PRIMARY KEY) WITHOUT ROWID")

    def among(self, ids: Sequence[str]) -> set[str]:
        """Return those of the ids that are in it."""
        return set(self._found(ids))

    def add(self, ids: Sequence[str]) -> set[str]:
        """Add ids, and return those of them that were in it already."""
        before = self.among(ids)
        self._connection.execute("BEGIN")
        self._connection.executemany("INSERT OR IGNORE INTO seen VALUES (?)", [(name,) for name in ids])
        self._connection.execute("COMMIT")
        return before

    def _found(self, ids: Sequence[str]) -> Iterator[str]:
        for part in chunked(ids, IDS_PER_STATEMENT):
            marks = ", ".join("?" * len(part))
            for (name,) in self._connection.execute(f"SELECT id FROM seen WHERE id IN ({marks})", part):
                yield name

    def __enter__(self) -> SeenIds:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()
