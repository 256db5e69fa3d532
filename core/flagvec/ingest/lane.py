"""`Lane`: one store's part in an ingestion, with a thread that writes while the next window is encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Event, Lock
from time import monotonic
from typing import Any

from flagvec.errors import StoreError
from flagvec.ingest.background import Background
from flagvec.ingest.dead_letters import DeadLetters
from flagvec.ingest.encoded import records_and_failures
from flagvec.ingest.ingest_report import StoreReport
from flagvec.ingest.journal import Journal, JournaledStore
from flagvec.ingest.report import FailedWrite
from flagvec.ingest.retry import Outcome, Request, Retries, requests, write_request
from flagvec.ingest.seen import SeenIds
from flagvec.m3_output import M3Output
from flagvec.store.documents import Document
from flagvec.store.vectors import EncodedDocuments
from flagvec.store.writing import VectorForm, Writing

# How many windows a store may be behind the one that is being encoded. With two, a store that flushes does not hold up
# the others.
WINDOWS_BEHIND = 2
# Seconds between two flushes. What was written since the last one is encoded again after a kill.
ACKNOWLEDGED_EVERY = 2.0


class DocumentRefusedError(StoreError):
    """Raised with ``on_error="raise"`` when a store refuses a document for good."""


@dataclass(frozen=True)
class Rules:
    """What holds for all stores of an ingestion.

    Args:
        journal: Notes what stores have; None without a journal.
        run: The number of the run in the journal.
        dead_letters: Takes what a store refuses for good. With None, a `DocumentRefusedError` is raised instead.
        timeout: Seconds that an attempt to write may take; None for the client's own limit.
        patience: Seconds in which a request is sent again.
        is_resumed: Whether the run was begun by an earlier call.
        stop: When it is set, nothing more is written.
    """

    journal: Journal | None
    run: int
    dead_letters: DeadLetters | None
    timeout: float | None
    patience: float
    is_resumed: bool
    stop: Event = field(default_factory=Event)


@dataclass(frozen=True, slots=True)
class EncodedWindow:
    """Documents of distinct ids with what a model gave for them.

    Args:
        documents: The documents.
        output: A batch of their vectors, in the same order.
        is_plain: Whether all are from a flagvec model, as `flagvec.store.vectors.validated` asks.
        contents: The hash of each document by its id.
    """

    documents: Sequence[Document]
    output: M3Output
    is_plain: bool
    contents: Mapping[str, bytes]
    _checked: dict[VectorForm, EncodedDocuments] = field(default_factory=dict, init=False)
    _checking: Lock = field(default_factory=Lock, init=False)

    def checked_for(self, writing: Writing[Any]) -> EncodedDocuments:
        """Return what `Writing.checked` gives. Stores of one `Writing.form` share it, so it must not be changed."""
        form = writing.form
        # Another lane waits here, which is shorter than to pack the same ColBERT vectors again.
        with self._checking:
            if form not in self._checked:
                self._checked[form] = writing.checked(self.documents, self.output, self.is_plain)
            return self._checked[form]


class Lane:
    """Writes windows of documents to one store in a thread of its own; use it in a ``with`` block.

    A store that stays away, or refuses everything, is down: what comes after that is left out, and the journal does
    not have it.

    Args:
        name: What the journal, the report and dead letters call the store.
        writing: The way into the store, which is open.
        rules: What holds for all stores.
        known: The store in the journal; None without a journal.

    Attributes:
        down: Why the store takes nothing more; None while it takes documents.
    """

    def __init__(self, name: str, writing: Writing[Any], rules: Rules, known: JournaledStore | None) -> None:
        self.name = name
        self.writing = writing
        self.known = known
        self.down: str | None = None
        self._report = StoreReport()
        self._counting = Lock()
        self._rules = rules
        self._background = Background(f"flagvec-ingest {name}", WINDOWS_BEHIND)
        # What the store has taken since the last flush. Only the lane's thread uses it.
        self._unconfirmed: list[tuple[str, bytes]] = []
        # The first window is acknowledged at once, so that a process that is killed again and again gets on.
        self._confirmed_at = -ACKNOWLEDGED_EVERY

    @property
    def report(self) -> StoreReport:
        """What became of its documents so far."""
        return replace(self._report, down=self.down)

    def count(self, **more: int) -> None:
        """Add to the numbers of the report."""
        with self._counting:
            added = {name: getattr(self._report, name) + number for name, number in more.items()}
            self._report = replace(self._report, **added)

    def unchanged(self, contents: Mapping[str, bytes], skips_earlier_runs: bool) -> set[str]:
        """Return the ids of the documents that the journal has with this content.

        Args:
            contents: The hash of each document by its id.
            skips_earlier_runs: Whether what earlier runs wrote counts too.
        """
        journal, known = self._rules.journal, self.known
        if journal is None or known is None:
            return set()
        has = journal.contents(known, list(contents), None if skips_earlier_runs else self._rules.run)
        return {name for name, content in has.items() if content == contents[name]}

    def refused_before(self, contents: Mapping[str, bytes]) -> set[str]:
        """Return the ids of the documents that the store refused before this run was resumed."""
        rules = self._rules
        if rules.journal is None or self.known is None or not rules.is_resumed:
            return set()
        refused = rules.journal.refused(self.known, list(contents), rules.run)
        return {name for name, content in refused.items() if content == contents[name]}

    def prune(self, seen: SeenIds) -> None:
        """Delete the documents that the journal has and that are not among the ids that were read.

        Raises:
            StoreError: The database refused.
        """
        journal, known, opening = self._rules.journal, self.known, self.writing.opening
        if journal is None or known is None:
            return
        for page in journal.pages(known):
            if unseen := sorted(page.keys() - seen.among(list(page))):
                opening.ask("be deleted from", partial(self.writing.backend.delete, unseen), self._rules.timeout)
                self.writing.flush(self._rules.timeout)
                journal.forget(known, unseen)
                self.count(pruned=len(unseen))

    def write(self, window: EncodedWindow, needed: Sequence[int]) -> None:
        """Let the lane's thread write documents of a window. This waits while it is `WINDOWS_BEHIND` windows behind.

        Args:
            window: Documents and their vectors.
            needed: The positions of those that the store needs, ascending.

        Raises:
            Exception: What the writing of an earlier window raised, such as a `JournalError`.
        """
        self._background.submit(lambda: self._write(window, needed))

    def refuse(self, failures: Sequence[FailedWrite], contents: Mapping[str, bytes]) -> None:
        """Put documents that the store does not take into the dead letters and the journal.

        Raises:
            DocumentRefusedError: There are no dead letters.
        """
        rules = self._rules
        if not failures:
            return
        if rules.dead_letters is None:
            raise DocumentRefusedError(f"{self.name} refuses document {failures[0].id!r}: {failures[0].reason}")
        size = rules.dead_letters.add(failures, self.name)
        if rules.journal is not None and self.known is not None:
            noted = [(one.id, contents[one.id], one.reason) for one in failures]
            rules.journal.refuse(self.known, noted, rules.run, size)
        self.count(refused=len(failures))

    def acknowledge(self) -> None:
        """Let the lane's thread flush what was written, and note it in the journal."""
        self._background.submit(self._acknowledge)

    def settle(self) -> None:
        """Wait until everything is written.

        Raises:
            Exception: What the writing raised.
        """
        self._background.settle()

    def leave(self) -> None:
        """Do not wait for what is on its way."""
        self._background.leave()

    def _write(self, window: EncodedWindow, needed: Sequence[int]) -> None:
        if self.down is not None:
            return
        contents = window.contents
        encoded = window.checked_for(self.writing).part(needed)
        documents = [window.documents[at] for at in needed]
        records, failures = records_and_failures(documents, encoded)
        self.refuse(failures, contents)
        backend = self.writing.backend
        for request in requests(Request([record.document for record in records], backend.prepare(records)), backend):
            retries = Retries(self._rules.stop, monotonic() + self._rules.patience, lambda: self.count(retries=1))
            self._note(request, write_request(request, backend, self._rules.timeout, retries), contents)
            if self.down is not None:
                break
        if monotonic() - self._confirmed_at >= ACKNOWLEDGED_EVERY:
            self._acknowledge()

    def _note(self, request: Request[Any], outcome: Outcome, contents: Mapping[str, bytes]) -> None:
        failed = {failure.id for failure in outcome.failed}
        self._unconfirmed += [(one.id, contents[one.id]) for one in request.documents if one.id not in failed]
        # What a store that is down refused is no fault of the documents: a resumed run writes them.
        if outcome.hopeless is not None:
            self.down = outcome.failed[-1].reason
        elif postponed := [failure for failure in outcome.failed if failure.retryable]:
            self.down = postponed[0].reason
        if self.down is None:
            self.refuse(outcome.failed, contents)

    def _acknowledge(self) -> None:
        rules = self._rules
        if self._unconfirmed:
            try:
                # This run has already waited for a store that is down.
                self.writing.flush(rules.patience if self.down is None else None, rules.stop)
            except StoreError as error:
                self.down = self.down or str(error)
                return
            if rules.journal is not None and self.known is not None:
                rules.journal.acknowledge(self.known, self._unconfirmed, rules.run)
            self.count(written=len(self._unconfirmed))
            self._unconfirmed = []
        self._confirmed_at = monotonic()

    def __enter__(self) -> Lane:
        self._background.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._background.__exit__(*error)
