"""`Journal`: which documents each store has acknowledged, in one SQLite file."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from more_itertools import chunked

from flagvec.errors import JournalError
from flagvec.ingest.content import differences

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
    dead_letter_bytes INTEGER
);
CREATE TABLE documents (
    store INTEGER NOT NULL REFERENCES stores,
    id TEXT NOT NULL,
    content BLOB NOT NULL,
    run INTEGER NOT NULL REFERENCES runs,
    PRIMARY KEY (store, id)
) WITHOUT ROWID;
CREATE TABLE refused (
    store INTEGER NOT NULL REFERENCES stores,
    id TEXT NOT NULL,
    content BLOB NOT NULL,
    run INTEGER NOT NULL REFERENCES runs,
    reason TEXT NOT NULL,
    PRIMARY KEY (store, id)
) WITHOUT ROWID;
"""
# SQLite before 3.32 takes at most 999 values in a statement.
IDS_PER_STATEMENT = 900
# Seconds to wait for another process that writes to the same journal.
_LONGEST_LOCK = 30.0


@dataclass(frozen=True, slots=True)
class JournaledStore:
    """A store that a journal knows.

    Args:
        name: What the journal calls it.
        identity: What the database calls it, which differs for a store that was made anew.
        documents: How many documents it has acknowledged.
        number: Its number in the journal's tables.
    """

    name: str
    identity: str
    documents: int
    number: int


# Stands for no store in the table of what was refused: no store can hold these documents.
NO_STORE = JournaledStore("", "", 0, 0)


class Journal:
    """What stores have durably acknowledged, by document id and content, in one SQLite file.

    A file that does not exist is made. Threads may share a journal. Each acknowledgement is one transaction, which
    survives a power loss. ``docs/ingestion.md`` describes the tables. Copy the file while no ingestion runs, or by
    SQLite's ``.backup``.

    Args:
        path: The file.

    Raises:
        JournalError: The file is not a journal, is one of a newer version, or cannot be opened.

    Example:
        >>> with Journal("articles.journal") as journal:
        ...     journal.stores()
        []
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

    def stores(self) -> list[JournaledStore]:
        """Return the stores that it knows, in the order in which they came."""
        with self._reading() as ask:
            return [
                JournaledStore(name, identity, documents, number)
                for number, name, identity, documents in ask(
                    "SELECT store, name, identity, (SELECT count(*) FROM documents WHERE store = stores.store)"
                    " FROM stores ORDER BY store"
                )
            ]

    def store(self, name: str) -> JournaledStore:
        """Return the store of a name.

        Raises:
            JournalError: It knows none of this name; says which it knows.
        """
        known = self.stores()
        for one in known:
            if one.name == name:
                return one
        names = ", ".join(repr(one.name) for one in known) or "none"
        raise JournalError(f"the journal {str(self.path)!r} knows no store {name!r}; it knows {names}")

    def enter(self, name: str, identity: str, vectors: Mapping[str, Any]) -> JournaledStore:
        """Return the store of a name, which is noted if it is new.

        Args:
            name: What the journal calls it.
            identity: What the database calls it.
            vectors: What decides on its vectors, from `flagvec.ingest.content.vectors_of`.

        Raises:
            JournalError: The journal has another store or other vectors under this name; says what differs.
        """
        with self._transaction() as ask:
            for known, text in ask("SELECT identity, vectors FROM stores WHERE name = ?", (name,)):
                changed = [] if known == identity else [f"the store was {known} and is {identity}"]
                changed += differences(json.loads(text), vectors)
                if changed:
                    raise JournalError(
                        f"the journal {str(self.path)!r} is not for {name}: {'; '.join(changed)}. Use another journal, "
                        "or delete this one to write everything anew"
                    )
            ask(
                "INSERT OR IGNORE INTO stores (name, identity, vectors) VALUES (?, ?, ?)",
                (name, identity, json.dumps(vectors, sort_keys=True)),
            )
        return self.store(name)

    def begin_run(self) -> tuple[int, int | None]:
        """Return the number of the last run if it did not end, otherwise that of a new one.

        With it comes the size that the dead letters had when they were last noted, None for a new run.
        """
        with self._transaction() as ask:
            last = "SELECT run, dead_letter_bytes FROM runs WHERE ended IS NULL ORDER BY run DESC LIMIT 1"
            for run, size in ask(last):
                return run, size
            ask("INSERT INTO runs (began) VALUES (?)", (_now(),))
            [(run,)] = ask("SELECT max(run) FROM runs")
            return run, None

    def end_run(self, run: int) -> None:
        """Note that a run has read all of its source and written what it could."""
        with self._transaction() as ask:
            ask("UPDATE runs SET ended = ? WHERE run = ?", (_now(), run))

    def contents(self, store: JournaledStore, ids: Sequence[str], run: int | None = None) -> dict[str, bytes]:
        """Return the acknowledged content of those of the documents that the store has.

        Args:
            store: The store.
            ids: The documents.
            run: Only what this run wrote; None for all.
        """
        return self._by_id("documents", store, ids, run)

    def refused(self, store: JournaledStore, ids: Sequence[str], run: int) -> dict[str, bytes]:
        """Return the content of those of the documents that the store refused for good in this run."""
        return self._by_id("refused", store, ids, run)

    def acknowledge(self, store: JournaledStore, written: Iterable[tuple[str, bytes]], run: int) -> None:
        """Note documents, as pairs of id and content, that the store has durably."""
        rows = [(store.number, name, content, run) for name, content in written]
        with self._transaction():
            self._connection.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?)", rows)
            self._connection.executemany("DELETE FROM refused WHERE store = ? AND id = ?", [row[:2] for row in rows])

    def refuse(
        self, store: JournaledStore, refused: Iterable[tuple[str, bytes, str]], run: int, dead_letter_bytes: int | None
    ) -> None:
        """Note documents, as id, content and reason, that the store refused for good, and how long their file is."""
        rows = [(store.number, name, content, run, reason) for name, content, reason in refused]
        with self._transaction() as ask:
            self._connection.executemany("INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?, ?)", rows)
            ask("UPDATE runs SET dead_letter_bytes = ? WHERE run = ?", (dead_letter_bytes, run))

    def forget(self, store: JournaledStore, ids: Iterable[str]) -> None:
        """Forget documents, so that the next run writes them again."""
        with self._transaction():
            self._connection.executemany(
                "DELETE FROM documents WHERE store = ? AND id = ?", [(store.number, name) for name in ids]
            )

    def pages(self, store: JournaledStore, size: int = IDS_PER_STATEMENT) -> Iterator[dict[str, bytes]]:
        """Yield all documents of a store with their content, in the order of their ids, so many at a time."""
        last = ""
        while True:
            with self._reading() as ask:
                page = dict(
                    ask(
                        "SELECT id, content FROM documents WHERE store = ? AND id > ? ORDER BY id LIMIT ?",
                        (store.number, last, size),
                    )
                )
            if not page:
                return
            yield page
            last = next(reversed(page))

    def _by_id(self, table: str, store: JournaledStore, ids: Sequence[str], run: int | None) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        with self._reading() as ask:
            for part in chunked(ids, IDS_PER_STATEMENT):
                marks = ", ".join("?" * len(part))
                question = f"SELECT id, content FROM {table} WHERE store = ? AND id IN ({marks})"
                if run is None:
                    found.update(ask(question, (store.number, *part)))
                else:
                    found.update(ask(f"{question} AND run = ?", (store.number, *part, run)))
        return found

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
        # With less, a power loss may take the last acknowledgements, though never the file.
        ask("PRAGMA synchronous = FULL")
        if not tables:
            self._connection.executescript(
                f"BEGIN IMMEDIATE; {_TABLES} PRAGMA application_id = {APPLICATION_ID};"
                f" PRAGMA user_version = {LAYOUT}; COMMIT"
            )

    @contextmanager
    def _reading(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        with self._lock, self._named_errors():
            yield self._connection.execute

    @contextmanager
    def _transaction(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        with self._lock, self._named_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection.execute
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise JournalError(f"the journal {str(self.path)!r}: {error}{_remedy(error)}") from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _remedy(error: sqlite3.Error) -> str:
    text = str(error)
    if "full" in text or "disk I/O" in text:
        return ": make room on its disk and run again; what it has acknowledged is kept"
    if "unable to open" in text:
        return ": its directory has to exist and be writable"
    if "locked" in text:
        return ": another process writes to it; wait for its end, or use another journal"
    if "not a database" in text or "malformed" in text:
        return ": use another journal, or delete this one to write everything anew"
    return ""
