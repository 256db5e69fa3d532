"""`Run`: one ingestion, from the documents that are read to the lanes that write them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import suppress
from dataclasses import dataclass
from threading import Event
from time import monotonic

from more_itertools import constrained_batches

from flagvec.errors import StoreDownError
from flagvec.ingest.content import Contents
from flagvec.ingest.encoded import Encoder
from flagvec.ingest.ingest_report import IngestReport
from flagvec.ingest.interruption import first_interrupt
from flagvec.ingest.journal import NO_STORE
from flagvec.ingest.lane import Lane, Rules
from flagvec.ingest.report import FailedWrite, carry_report
from flagvec.ingest.seen import SeenIds
from flagvec.progress import progress_bar
from flagvec.store.documents import Document, DocumentLike, InvalidDocument, checked_documents
from flagvec.store.writing import CHARACTERS_PER_BATCH, CHARACTERS_PER_BATCH_WITHOUT_COLBERT

_logger = logging.getLogger(__name__)

# So much is compared with the journal at once.
DOCUMENTS_COMPARED = 900
CHARACTERS_COMPARED = 4_000_000
# More documents let a model make fuller batches.
DOCUMENTS_PER_WINDOW = 1_024


@dataclass(frozen=True, slots=True)
class Wanted:
    """A document that some stores need.

    Args:
        document: A checked document.
        content: Its hash.
        lanes: Those that need it.
    """

    document: Document
    content: bytes
    lanes: Sequence[Lane]


class Run:
    """One call of `flagvec.ingest.ingest`.

    Args:
        lanes: One for each store.
        encoder: Encodes windows for all of them.
        contents: Hashes documents.
        rules: What holds for all stores.
        seen: An empty set of ids.
        skip_unchanged: Whether documents that the journal has from earlier runs are left out.
        on_progress: Gets the report so far after each window that was read.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        encoder: Encoder,
        contents: Contents,
        rules: Rules,
        seen: SeenIds,
        skip_unchanged: bool,
        on_progress: Callable[[IngestReport], object] | None,
    ) -> None:
        self._lanes = lanes
        self._encoder = encoder
        self._contents = contents
        self._rules = rules
        self._seen = seen
        self._skip_unchanged = skip_unchanged
        self._on_progress = on_progress
        self._began = monotonic()
        self._interrupted = Event()
        self._read = self._invalid = self._duplicates = self._truncated = 0
        self._is_complete = False

    def do(
        self, documents: Iterable[DocumentLike | InvalidDocument], show_progress: bool | None, prune: bool
    ) -> IngestReport:
        """Do as `flagvec.ingest.ingest` says, and return the report."""
        total = len(documents) if isinstance(documents, Sized) else None
        try:
            with first_interrupt(self._interrupted), progress_bar(total, "ingest", "document", show_progress) as bar:
                self._write_all(documents, bar.update)
                self._acknowledge_all()
                self._end(prune)
        except BaseException as error:
            if isinstance(error, Exception):
                # What was encoded is written and noted, so that it need not be encoded again.
                self._acknowledge_what_can_be()
            else:
                self._rules.stop.set()
                for lane in self._lanes:
                    lane.leave()
            carry_report(error, self.report(), "ingest")
            raise
        return self.report()

    def report(self) -> IngestReport:
        """Return what was done so far."""
        letters = self._rules.dead_letters
        stores = {lane.name: lane.report for lane in self._lanes}
        has_letters = self._invalid or any(store.refused for store in stores.values())
        return IngestReport(
            stores=stores,
            read=self._read,
            invalid=self._invalid,
            duplicates=self._duplicates,
            encoded=self._encoder.documents,
            characters=self._encoder.characters,
            truncated=self._truncated,
            seconds=monotonic() - self._began,
            is_complete=self._is_complete,
            dead_letters=letters.path if letters is not None and has_letters else None,
        )

    def _write_all(self, documents: Iterable[DocumentLike | InvalidDocument], done: Callable[[int], object]) -> None:
        wanted = self._wanted(documents, done)
        has_colbert = any("colbert" in lane.writing.representations for lane in self._lanes)
        most = CHARACTERS_PER_BATCH if has_colbert else CHARACTERS_PER_BATCH_WITHOUT_COLBERT
        for window in constrained_batches(wanted, most, DOCUMENTS_PER_WINDOW, get_len=_characters, strict=False):
            # Of two versions of a document in one window the last counts.
            self._write({one.document.id: one for one in window})
            if self._is_over():
                break

    def _write(self, window: Mapping[str, Wanted]) -> None:
        documents = [one.document for one in window.values()]
        output, is_plain = self._encoder.output(documents)
        self._truncated += len(output.truncated)
        contents = {name: one.content for name, one in window.items()}
        for lane in self._lanes:
            if lane.down is None:
                encoded = lane.writing.checked(documents, output, is_plain)
                kept = [at for at, one in enumerate(window.values()) if lane in one.lanes]
                if kept:
                    lane.write([documents[at] for at in kept], encoded.part(kept), contents)

    def _wanted(
        self, documents: Iterable[DocumentLike | InvalidDocument], done: Callable[[int], object]
    ) -> Iterator[Wanted]:
        """Yield the documents that a store needs."""
        for part in constrained_batches(
            checked_documents(documents), CHARACTERS_COMPARED, DOCUMENTS_COMPARED, get_len=_length, strict=False
        ):
            self._read += len(part)
            self._note_invalid([one for one in part if isinstance(one, InvalidDocument)])
            yield from self._changed([one for one in part if isinstance(one, Document)])
            done(len(part))
            if self._on_progress is not None:
                self._on_progress(self.report())
            if self._is_over():
                return

    def _changed(self, documents: Sequence[Document]) -> Iterator[Wanted]:
        latest = {one.id: one for one in documents}
        again = self._seen.add(list(latest))
        self._duplicates += len(documents) - len(latest) + len(again)
        contents = {name: self._contents.of(document) for name, document in latest.items()}
        wanting: dict[str, list[Lane]] = {name: [] for name in latest}
        for lane in self._lanes:
            if lane.down is None:
                for name in self._needed(lane, latest, contents, again):
                    wanting[name].append(lane)
        for name, lanes in wanting.items():
            if lanes:
                yield Wanted(latest[name], contents[name], lanes)

    def _needed(
        self, lane: Lane, latest: Mapping[str, Document], contents: Mapping[str, bytes], again: Collection[str]
    ) -> Iterator[str]:
        """Yield the ids of the documents that a store neither has nor refuses."""
        unchanged = lane.unchanged(contents, self._skip_unchanged) - set(again)
        lane.count(unchanged=len(unchanged))
        left_out = unchanged | (lane.refused_before(contents) - set(again))
        refused = []
        for name, document in latest.items():
            if name in left_out:
                continue
            try:
                lane.writing.backend.check(document)
            except ValueError as error:
                refused.append(FailedWrite(name, str(error), False, document))
            else:
                yield name
        lane.refuse(refused, contents)

    def _note_invalid(self, invalid: Sequence[InvalidDocument]) -> None:
        rules = self._rules
        if not invalid:
            return
        if rules.dead_letters is None:
            raise invalid[0].error
        self._invalid += len(invalid)
        if rules.journal is not None:
            noted = rules.journal.refused(NO_STORE, [one.id for one in invalid], rules.run)
            invalid = [one for one in invalid if one.id not in noted]
        failures = [FailedWrite(one.id, str(one.error), False, one.document) for one in invalid]
        size = rules.dead_letters.add(failures, None)
        if rules.journal is not None:
            rules.journal.refuse(NO_STORE, [(one.id, b"", str(one.error)) for one in invalid], rules.run, size)

    def _acknowledge_all(self) -> None:
        for lane in self._lanes:
            lane.acknowledge()
        for lane in self._lanes:
            lane.settle()

    def _acknowledge_what_can_be(self) -> None:
        for lane in self._lanes:
            # The first error matters more than a second one.
            with suppress(Exception):
                lane.acknowledge()
            with suppress(Exception):
                lane.settle()

    def _end(self, prune: bool) -> None:
        if self._interrupted.is_set():
            raise KeyboardInterrupt
        if down := {lane.name: lane.down for lane in self._lanes if lane.down is not None}:
            raise StoreDownError(down)
        journal = self._rules.journal
        if journal is not None:
            if prune and self._invalid:
                _logger.warning("nothing was pruned, because %d documents of the source are invalid", self._invalid)
            elif prune:
                for lane in self._lanes:
                    lane.prune(self._seen)
            journal.end_run(self._rules.run)
        self._is_complete = True

    def _is_over(self) -> bool:
        return self._interrupted.is_set() or all(lane.down for lane in self._lanes)


def _length(one: Document | InvalidDocument) -> int:
    return len(one.text) if isinstance(one, Document) else 0


def _characters(one: Wanted) -> int:
    # A document that brings its vectors is not encoded, but they are held as those of the others are.
    return len(one.document.text)
