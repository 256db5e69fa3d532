"""`Journal`: which documents each store has acknowledged, in one SQLite file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from flagvec.errors import JournalError
from flagvec.ingest.content import differences
from flagvec.ingest.journal_file import IDS_PER_STATEMENT, Ask, JournalFile


@dataclass(frozen=True, slots=True)
class JournaledStore:
    """A store that a journal knows.

    Args:
        name: What the journal calls it.
        identity: What the database calls it, which differs for a store that was made anew.
        documents: How many documents it has acknowledged.
        number: Its number in the journal's tables.
        vectors: What decides on its vectors, from `flagvec.ingest.content.vectors_of`.
    """

    name: str
    identity: str
    documents: int
    number: int
    vectors: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Begun:
    """What is about to be encoded.

    Args:
        batch: The number under which `Journal.keep` keeps vectors of those that are encoded now.
        second: The ids of those that a killed process had begun, and whose vectors are not kept.
        kept: Where the vectors of the others that it had begun are: the batch, and the place in it, by id.
        batches: The vectors of these batches, as `Journal.keep` was given them.
    """

    batch: int
    second: frozenset[str]
    kept: Mapping[str, tuple[int, int]]
    batches: Mapping[int, bytes]


# In the table of what was refused, this is for documents that no store can hold.
NO_STORE = JournaledStore("", "", 0, 0)


class Journal:
    """What stores have durably acknowledged, by document id and content, in one SQLite file.

    A file that does not exist is made. Threads may share a journal. Each acknowledgement is one transaction, which
    survives a power loss. ``docs/ingestion.md`` describes the tables. Copy the file while no ingestion runs, or by
    SQLite's ``.backup``.

    Args:
        path: The file.

    Attributes:
        path: The file.

    Raises:
        JournalError: The file is not a journal, is one of a newer version, or cannot be opened. Every method raises it
            if the file cannot be read or written.

    Example:
        >>> with Journal("articles.journal") as journal:
        ...     journal.stores()
        []
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file = JournalFile(path)

    def close(self) -> None:
        """Close the file. Closing twice does nothing."""
        self._file.close()

    def used_alone(self) -> AbstractContextManager[None]:
        """Keep other ingestions out during a ``with`` block. It ends with the process, however that ends.

        Raises:
            JournalError: Another ingestion uses the journal, in this process or in another.
        """
        return self._file.used_alone()

    def stores(self) -> list[JournaledStore]:
        """Return the stores that it knows, in the order in which they came."""
        counted = "SELECT count(*) FROM documents WHERE store = stores.store"
        with self._file.reading() as ask:
            return [
                JournaledStore(name, identity, documents, number, json.loads(vectors))
                for number, name, identity, vectors, documents in ask(
                    f"SELECT store, name, identity, vectors, ({counted}) FROM stores ORDER BY store"
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
        with self._file.transaction() as ask:
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

    def begin_run(self, dead_letter_bytes: int) -> tuple[int, int | None]:
        """Return the number of a run: the last one if it did not end, otherwise a new one.

        The second value is the size of the dead letters, as the last run noted it, or None for a new run.

        Args:
            dead_letter_bytes: The size of the dead letters, which is noted for a new run.
        """
        last = "SELECT run, dead_letter_bytes FROM runs WHERE ended IS NULL ORDER BY run DESC LIMIT 1"
        with self._file.transaction() as ask:
            for run, size in ask(last):
                return run, size
            ask("INSERT INTO runs (began, dead_letter_bytes) VALUES (?, ?)", (_now(), dead_letter_bytes))
            [(run,)] = ask("SELECT max(run) FROM runs")
            return run, None

    def end_run(self, run: int) -> None:
        """Note that a run has read all of its source and written what it could."""
        with self._file.transaction() as ask:
            ask("UPDATE runs SET ended = ? WHERE run = ?", (_now(), run))
            ask("DELETE FROM begun")
            ask("DELETE FROM kept")

    def begin(self, documents: Sequence[tuple[str, bytes, int]]) -> Begun:
        """Note documents that are about to be encoded, as id, content and the number of stores that need them.

        A document's place in the new batch is that in the given order.
        """
        contents = {name: content for name, content, _ in documents}
        question = "SELECT id, content, batch, place FROM begun WHERE id IN"
        of_batches = "SELECT batch, vectors FROM kept WHERE batch IN"
        with self._file.transaction(is_durable=False) as ask:
            [(last,)] = ask("SELECT max(batch) FROM begun")
            batch = (last or 0) + 1
            before = {
                name: (of, place)
                for name, content, of, place in self._file.of_ids(ask, question, contents)
                if content == contents[name]
            }
            numbers = {of for of, _ in before.values()}
            batches = {of: vectors for of, vectors in self._file.of_ids(ask, of_batches, numbers)}
            kept = {name: where for name, where in before.items() if where[0] in batches}
            rows = [(*one, *kept.get(one[0], (batch, place))) for place, one in enumerate(documents)]
            self._file.for_each("INSERT OR REPLACE INTO begun VALUES (?, ?, ?, ?, ?)", rows)
        return Begun(batch, frozenset(before.keys() - kept.keys()), kept, batches)

    def keep(self, begun: Begun, vectors: bytes) -> None:
        """Keep the vectors of a batch that was begun, until all stores have its documents."""
        with self._file.transaction(is_durable=False) as ask:
            ask("INSERT INTO kept VALUES (?, ?)", (begun.batch, vectors))

    def contents(self, store: JournaledStore, ids: Sequence[str], run: int | None = None) -> dict[str, bytes]:
        """Return the acknowledged content of those of the documents that the store has.

        Args:
            store: The store.
            ids: The documents.
            run: Only what this run wrote; None for all.
        """
        question = "SELECT id, content FROM documents WHERE store = ? AND run >= ? AND id IN"
        with self._file.reading() as ask:
            return dict(self._file.of_ids(ask, question, ids, store.number, run or 0))  # type: ignore[arg-type]  # pairs

    def refused(self, store: JournaledStore, ids: Sequence[str], run: int) -> dict[str, bytes]:
        """Return the content of those of the documents that the store refused for good in this run."""
        question = "SELECT id, content FROM refused WHERE store = ? AND run = ? AND id IN"
        with self._file.reading() as ask:
            return dict(self._file.of_ids(ask, question, ids, store.number, run))  # type: ignore[arg-type]  # pairs

    def acknowledge(self, store: JournaledStore, written: Iterable[tuple[str, bytes]], run: int) -> None:
        """Note documents, as pairs of id and content, that the store has durably."""
        rows = [(store.number, name, content, run) for name, content in written]
        with self._file.transaction() as ask:
            self._file.for_each("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?)", rows)
            self._file.for_each("DELETE FROM refused WHERE store = ? AND id = ?", [row[:2] for row in rows])
            self._settle(ask, [row[1:3] for row in rows])

    def refuse(
        self, store: JournaledStore, refused: Iterable[tuple[str, bytes, str]], run: int, dead_letter_bytes: int
    ) -> None:
        """Note documents, as id, content and reason, that the store refused for good, and how long their file is."""
        rows = [(store.number, name, content, run, reason) for name, content, reason in refused]
        with self._file.transaction() as ask:
            self._file.for_each("INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?, ?)", rows)
            ask("UPDATE runs SET dead_letter_bytes = ? WHERE run = ?", (dead_letter_bytes, run))
            self._settle(ask, [row[1:3] for row in rows])

    def forget(self, store: JournaledStore, ids: Iterable[str]) -> None:
        """Forget documents, so that the next run writes them again."""
        rows = [(store.number, name) for name in ids]
        with self._file.transaction():
            self._file.for_each("DELETE FROM documents WHERE store = ? AND id = ?", rows)

    def forget_store(self, name: str) -> None:
        """Forget a store with all its documents, because it was deleted; a name that is not known does nothing."""
        with self._file.transaction() as ask:
            for (number,) in ask("SELECT store FROM stores WHERE name = ?", (name,)).fetchall():
                for table in ("documents", "refused", "stores"):
                    ask(f"DELETE FROM {table} WHERE store = ?", (number,))

    def pages(self, store: JournaledStore, size: int = IDS_PER_STATEMENT) -> Iterator[dict[str, bytes]]:
        """Yield all documents of a store with their content, in the order of their ids, so many at a time."""
        question = "SELECT id, content FROM documents WHERE store = ? AND id > ? ORDER BY id LIMIT ?"
        last = ""
        while True:
            with self._file.reading() as ask:
                page = dict(ask(question, (store.number, last, size)))
            if not page:
                return
            yield page
            last = next(reversed(page))

    def _settle(self, ask: Ask, documents: Iterable[Sequence[Any]]) -> None:
        """Note that one store less needs these documents, which are pairs of id and content."""
        self._file.for_each("UPDATE begun SET stores = stores - 1 WHERE id = ? AND content = ?", documents)
        ask("DELETE FROM begun WHERE stores <= 0")
        ask("DELETE FROM kept WHERE batch NOT IN (SELECT batch FROM begun)")

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
