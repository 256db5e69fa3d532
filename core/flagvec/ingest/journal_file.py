"""`JournalFile`: the SQLite file under a journal: its tables, its transactions, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from more_itertools import chunked

from flagvec.errors import JournalError

LAYOUT = 1
# "flgv" in ASCII, by which the program `file` and this module know a journal.
APPLICATION_ID = 0x666C6776
_TABLES = """
CREATE TABLE stores (
    store INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    identity TEXT NOT NULL,
    vectors TEXT NOT NULL
);
CREATE TABLE runs (
    run INTEGER PRIMARY KEY,
    began TEXT NOT NULL,
    ended TEXT,
    dead_letter_bytes INTEGER NOT NULL
);
CREATE TABLE documents (
    store INTEGER NOT NULL,
    id TEXT NOT NULL,
    content BLOB NOT NULL,
    run INTEGER NOT NULL,
    PRIMARY KEY (store, id)
) WITHOUT ROWID;
CREATE TABLE refused (
    store INTEGER NOT NULL,
    id TEXT NOT NULL,
    content BLOB NOT NULL,
    run INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (store, id)
) WITHOUT ROWID;
CREATE TABLE begun (
    id TEXT PRIMARY KEY,
    content BLOB NOT NULL,
    stores INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    place INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX begun_batches ON begun (batch);
CREATE TABLE kept (
    batch INTEGER PRIMARY KEY,
    vectors BLOB NOT NULL
);
"""
# SQLite before 3.32 takes at most 999 values in a statement.
IDS_PER_STATEMENT = 900
# Of the empty file beside the journal that an ingestion locks. The journal itself cannot be locked, because SQLite
# loses its own locks if a process opens and closes the file a second time.
LOCK_ENDING = ".lock"
# Seconds to wait for another process that writes to the same journal.
_LONGEST_LOCK = 30.0

Ask = Callable[..., sqlite3.Cursor]


class JournalFile:
    """One SQLite file, which threads may share. A file that does not exist is made.

    Args:
        path: The file.

    Raises:
        JournalError: The file is not a journal, is one of a newer version, or cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = threading.RLock()
        with self._named_errors():
            self._connection = sqlite3.connect(
                self.path, timeout=_LONGEST_LOCK, isolation_level=None, check_same_thread=False
            )
        try:
            with self._named_errors():
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file. Closing twice does nothing."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def used_alone(self) -> Iterator[None]:
        """Keep other ingestions out, in this process and in others. The operating system ends this with the process.

        Raises:
            JournalError: Another one has it, or its file cannot be made.
        """
        lock = FileLock(f"{self.path.resolve()}{LOCK_ENDING}", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise JournalError(
                f"the journal {str(self.path)!r} is in use by another ingestion, and one at a time may use it, because "
                "two would encode the same documents: wait for its end, or use another journal"
            ) from None
        except OSError as error:
            raise JournalError(f"the journal {str(self.path)!r} cannot be locked: {error}") from error
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def reading(self) -> Iterator[Ask]:
        """Yield a function that runs a query.

        Raises:
            JournalError: The file cannot be read.
        """
        with self._lock, self._named_errors():
            yield self._connection.execute

    @contextmanager
    def transaction(self, is_durable: bool = True) -> Iterator[Ask]:
        """Yield a function that runs statements. The end of the block commits them, and an error undoes them all.

        Args:
            is_durable: Whether the commit survives a power loss. If not, it survives only the end of the process.

        Raises:
            JournalError: The file cannot be read or written.
        """
        with self._lock, self._named_errors():
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection.execute
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def for_each(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement for each row, inside a `transaction`."""
        self._connection.executemany(statement, rows)

    def of_ids(self, ask: Ask, question: str, ids: Iterable[str | int], *values: Any) -> Iterator[Sequence[Any]]:
        """Yield the rows of a query that ends in ``id IN``. `values` are for the placeholders before that."""
        for part in chunked(ids, IDS_PER_STATEMENT):
            yield from ask(f"{question} ({', '.join('?' * len(part))})", (*values, *part))

    def _prepare(self) -> None:
        ask = self._connection.execute
        [(application,)], [(layout,)] = ask("PRAGMA application_id").fetchall(), ask("PRAGMA user_version").fetchall()
        [(tables,)] = ask("SELECT count(*) FROM sqlite_master").fetchall()
        if application != APPLICATION_ID and (tables or application):
            raise JournalError(f"{str(self.path)!r} is a SQLite file, but not a journal of flagvec: name another file")
        if tables and layout != LAYOUT:
            raise JournalError(
                f"the journal {str(self.path)!r} has layout {layout}, and this version of flagvec reads {LAYOUT}: "
                "update flagvec, or use another journal"
            )
        # In this mode a reader never waits for a writer, and a transaction is one write to one file.
        ask("PRAGMA journal_mode = WAL")
        if not tables:
            self._connection.executescript(
                f"BEGIN IMMEDIATE; {_TABLES} PRAGMA application_id = {APPLICATION_ID};"
                f" PRAGMA user_version = {LAYOUT}; COMMIT"
            )

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise JournalError(f"the journal {str(self.path)!r}: {error}{_remedy(error)}") from error


def _remedy(error: sqlite3.Error) -> str:
    remedies = {
        "full": "make room on its disk and run again; what it has acknowledged is kept",
        "disk I/O": "make room on its disk and run again; what it has acknowledged is kept",
        "unable to open": "its directory has to exist and be writable",
        "locked": "another process writes to it; wait for its end, or use another journal",
        "not a database": "name another file",
        "malformed": "use another journal, or delete this one to write everything anew",
    }
    for words, remedy in remedies.items():
        if words in str(error):
            return f": {remedy}"
    return ""
