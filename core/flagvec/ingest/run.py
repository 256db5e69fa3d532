"""`Run`: one ingestion, from the documents that are read to the lanes that write them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from contextlib import suppress
from threading import Event
from time import monotonic

from flagvec.errors import StoreDownError
from flagvec.ingest.encoded import EncodedDocument, Encoder, from_bytes, to_bytes
from flagvec.ingest.ingest_report import IngestReport
from flagvec.ingest.interruption import first_interrupt
from flagvec.ingest.lane import WINDOWS_BEHIND, EncodedWindow, Lane, Rules
from flagvec.ingest.report import carry_report
from flagvec.ingest.seen import SeenIds
from flagvec.ingest.selection import Selection, Wanted
from flagvec.ingest.windows import Windows
from flagvec.m3_output import M3Output
from flagvec.progress import progress_bar
from flagvec.store.documents import Document, DocumentLike, InvalidDocument

_logger = logging.getLogger(__name__)


class Run:
    """One call of `flagvec.ingest.ingest`.

    Args:
        lanes: One for each store.
        encoder: Encodes windows for all of them.
        selection: Reads documents and selects those that a store needs.
        rules: What holds for all stores.
        on_progress: Called with the report so far whenever documents were read.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        encoder: Encoder,
        selection: Selection,
        rules: Rules,
        on_progress: Callable[[IngestReport], object] | None,
    ) -> None:
        self._lanes = lanes
        self._encoder = encoder
        self._selection = selection
        self._rules = rules
        self._on_progress = on_progress
        self._began = monotonic()
        self._interrupted = Event()
        self._truncated = 0
        self._is_complete = False

    def do(self, documents: Iterable[DocumentLike | InvalidDocument], show_progress: bool | None) -> IngestReport:
        """Read, encode and write documents, and return the report.

        Raises:
            BaseException: As `flagvec.ingest.ingest` says. It carries the report.
        """
        total = len(documents) if isinstance(documents, Sized) else None
        try:
            with first_interrupt(self._interrupted), progress_bar(total, "ingest", "document", show_progress) as bar:
                self._write_all(documents, bar.update)
                self._acknowledge_all()
                self._end()
        except BaseException as error:
            if isinstance(error, Exception):
                # What was encoded is written and noted, so that it need not be encoded again.
                self._acknowledge_what_can_be()
            else:
                self._leave()
            carry_report(error, self.report(), "ingest")
            raise
        return self.report()

    def prune(self, seen: SeenIds) -> IngestReport:
        """Delete what the journal has and was not read, after `do`, and return the report.

        Raises:
            StoreError: A database refused.
        """
        if self._selection.invalid:
            _logger.warning("nothing was pruned: %d documents of the source are invalid", self._selection.invalid)
            return self.report()
        for lane in self._lanes:
            lane.prune(seen)
        return self.report()

    def report(self) -> IngestReport:
        """Return what was done so far."""
        letters, selection = self._rules.dead_letters, self._selection
        stores = {lane.name: lane.report for lane in self._lanes}
        has_letters = selection.invalid or any(store.refused for store in stores.values())
        return IngestReport(
            stores=stores,
            read=selection.read,
            invalid=selection.invalid,
            duplicates=selection.duplicates,
            encoded=self._encoder.documents,
            characters=self._encoder.characters,
            truncated=self._truncated,
            seconds=monotonic() - self._began,
            is_complete=self._is_complete,
            dead_letters=letters.path if letters is not None and has_letters else None,
        )

    def _write_all(self, documents: Iterable[DocumentLike | InvalidDocument], done: Callable[[int], object]) -> None:
        windows = Windows(self._encoder.most_characters)
        wanted = self._selection.wanted(self._until_over(documents), lambda more: self._progressed(done, more))
        for window in windows.of(wanted, _characters):
            # Of two versions of a document in one window the last counts.
            latest = {one.document.id: one for one in window}
            with windows.timed():
                encoded = self._encoded(latest)
            self._write(latest, *encoded)
            if self._is_over():
                return

    def _until_over(
        self, documents: Iterable[DocumentLike | InvalidDocument]
    ) -> Iterable[DocumentLike | InvalidDocument]:
        for one in documents:
            if self._is_over():
                return
            yield one

    def _progressed(self, done: Callable[[int], object], more: int) -> None:
        done(more)
        if self._on_progress is not None:
            self._on_progress(self.report())

    def _encoded(self, window: Mapping[str, Wanted]) -> tuple[list[Document], M3Output, bool]:
        """Return the documents of a window with the answer of `Encoder.output`.

        What a killed process had begun is encoded a second time. Its vectors are kept, so that there is no third time.
        """
        documents, journal = [one.document for one in window.values()], self._rules.journal
        if journal is None:
            return documents, *self._encoder.output(documents)
        begun = journal.begin([(name, one.content, len(one.lanes)) for name, one in window.items()])
        batches = {batch: from_bytes(vectors) for batch, vectors in begun.batches.items()}
        kept = {name: batches[batch][place] for name, (batch, place) in begun.kept.items()}
        # A store that has joined since may need more.
        kept = {name: vectors for name, vectors in kept.items() if self._encoder.suffices(vectors)}
        documents = [
            EncodedDocument(one.id, one.text, one.metadata, kept[one.id]) if one.id in kept else one
            for one in documents
        ]
        if not begun.second:
            return documents, *self._encoder.output(documents)
        # Nothing else may run now, so that the moment between encoding and keeping is short.
        for lane in self._lanes:
            lane.settle()
        output, is_plain = self._encoder.output(documents)
        journal.keep(begun, to_bytes(output))
        return documents, output, is_plain

    def _write(
        self, window: Mapping[str, Wanted], documents: Sequence[Document], output: M3Output, is_plain: bool
    ) -> None:
        self._truncated += len(output.truncated)
        contents = {name: one.content for name, one in window.items()}
        encoded = EncodedWindow(documents, output, is_plain, contents)
        for lane in self._lanes:
            needed = [at for at, one in enumerate(window.values()) if lane in one.lanes]
            if needed and lane.down is None:
                lane.write(encoded, needed)

    def _acknowledge_all(self) -> None:
        for lane in self._lanes:
            lane.acknowledge()
        for lane in self._lanes:
            lane.settle()

    def _acknowledge_what_can_be(self) -> None:
        for lane in self._lanes:
            # Each window on its way may raise. The first error matters more than all of these.
            for step in (*[lane.settle] * WINDOWS_BEHIND, lane.acknowledge, lane.settle):
                with suppress(Exception):
                    step()

    def _leave(self) -> None:
        self._rules.stop.set()
        for lane in self._lanes:
            lane.leave()

    def _end(self) -> None:
        if self._interrupted.is_set():
            raise KeyboardInterrupt
        if down := {lane.name: lane.down for lane in self._lanes if lane.down is not None}:
            raise StoreDownError(down)
        self._is_complete = True

    def _is_over(self) -> bool:
        return self._interrupted.is_set() or all(lane.down for lane in self._lanes)


def _characters(one: Wanted) -> int:
    # A document that brings its vectors is not encoded, but they are held as those of the others are.
    return len(one.document.text)
