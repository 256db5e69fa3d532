"""`Writing`: how a store adds documents: checked, encoded, written in batches, and reported."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence, Sized
from concurrent.futures import CancelledError
from threading import Event
from typing import TYPE_CHECKING, Generic, NamedTuple

from flagvec.ingest.encoded import ready_codes
from flagvec.ingest.pipeline import OnError, write_documents
from flagvec.ingest.report import WriteReport, carried_report, carry_report
from flagvec.late_interaction.storage import ColbertStorage
from flagvec.m3_output import M3Output
from flagvec.progress import progress_bar
from flagvec.store.backend import Backend, Row
from flagvec.store.documents import Document, DocumentLike, InvalidDocument, checked_documents
from flagvec.store.encoding import OUTPUT_KEYS, characters_per_batch, encode_documents, pack
from flagvec.store.opening import Opening
from flagvec.store.vectors import ColbertLimit, ColbertOverflow, EncodedDocuments, validated

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

_logger = logging.getLogger(__name__)

# Seconds. An iterable that blocks must not keep a cancelled `aadd` from ending.
LONGEST_CANCELLING = 10.0

# An `add` in another thread. Its result is the error if that is a CancelledError, which no future can hold.
Adding = asyncio.Future[WriteReport | CancelledError]


class VectorForm(NamedTuple):
    """What decides on the vectors that a store gets of one output of a model.

    Args:
        representations: What it holds, of ``dense``, ``sparse`` and ``colbert``.
        limit: How many ColBERT vectors of one text it takes.
        storage: What packs them; None if they are not packed.
    """

    representations: tuple[str, ...]
    limit: ColbertLimit
    storage: ColbertStorage | None


class Writing(Generic[Row]):
    """Gets documents into a store.

    Args:
        model: Encodes the documents.
        backend: The database.
        opening: Opens it, and says what it holds.
        colbert_overflow: What happens to a document of more ColBERT vectors than the store takes.

    Attributes:
        backend: The argument.
        opening: The argument.
    """

    def __init__(
        self,
        model: AbsEmbedder,
        backend: Backend[Row],
        opening: Opening[Row],
        colbert_overflow: ColbertOverflow,
    ) -> None:
        self.backend = backend
        self.opening = opening
        self._model = model
        self._colbert_overflow = colbert_overflow

    def add(
        self,
        documents: Iterable[DocumentLike | InvalidDocument],
        on_error: OnError,
        show_progress: bool | None,
        timeout: float | None,
        stop: Event,
    ) -> WriteReport:
        """Do as `HybridStore.add` does with checked arguments, until another thread sets `stop`."""
        checked: Iterable[Document | InvalidDocument] = self._checked(documents)
        if on_error == "raise" and isinstance(documents, Sequence):
            checked = list(checked)
        total = len(documents) if isinstance(documents, Sized) else None
        with progress_bar(total, "add", "document", show_progress) as bar:
            report = write_documents(
                checked,
                self.backend,
                self._encoded,
                most_characters=characters_per_batch(self._model, "colbert" in self.representations),
                timeout=timeout,
                on_error=on_error,
                confirm=lambda: self.opening.confirm(timeout, stop),
                flush=lambda: self.flush(timeout, stop),
                done=bar.update,
                stop=stop,
            )
        self._warn(report)
        if on_error == "raise":
            report.raise_for_failures()
        return report

    async def ended(self, adding: Adding, cancelled: asyncio.CancelledError) -> None:
        """Wait until an `add` that is being stopped has ended, and give its report to the error that cancelled it."""
        try:
            await asyncio.wait([adding], timeout=LONGEST_CANCELLING)
        finally:  # a second cancellation ends the wait
            if adding.done():
                carry_report(cancelled, _report_of(adding))
            else:
                adding.add_done_callback(self._log_end)

    def _log_end(self, adding: Adding) -> None:
        summary = _report_of(adding).summary()
        _logger.warning("%s: an add that was cancelled has ended: %s", self.backend.name, summary)

    def flush(self, timeout: float | None, stop: Event | None = None) -> None:
        """Make what was written durable and searchable."""
        self.opening.ask("be flushed", self.backend.flush, timeout, stop)

    def checked(self, documents: Sequence[Document], output: M3Output, is_plain: bool) -> EncodedDocuments:
        """Return the part of a model's output that the store holds, checked for it.

        Args:
            documents: What was encoded.
            output: A batch with at least `representations`.
            is_plain: As in `flagvec.store.vectors.validated`.
        """
        kept = M3Output(
            {OUTPUT_KEYS[name]: output[OUTPUT_KEYS[name]] for name in self.representations}, truncated=output.truncated
        )
        encoded = validated(kept, _named(documents), self.colbert_limit(), is_plain=is_plain)
        if (storage := self.opening.schema.colbert_storage) is not None:
            pack(encoded, storage)
            for document, vectors in zip(documents, encoded.vectors, strict=True):
                if (codes := ready_codes(document, storage)) is not None:
                    vectors.colbert_codes = codes
        return encoded

    @property
    def representations(self) -> tuple[str, ...]:
        """What the store holds, of ``dense``, ``sparse`` and ``colbert``."""
        return self.opening.schema.representations

    @property
    def form(self) -> VectorForm:
        """The form of the open store's vectors."""
        return VectorForm(self.representations, self.colbert_limit(), self.opening.schema.colbert_storage)

    def colbert_limit(self) -> ColbertLimit:
        """Return how many ColBERT vectors of one text the open store takes."""
        schema = self.opening.schema
        if schema.colbert_dimension is None:
            return ColbertLimit()
        return ColbertLimit(self.backend.max_colbert_rows(schema), self._colbert_overflow)

    def _checked(self, documents: Iterable[DocumentLike | InvalidDocument]) -> Iterator[Document | InvalidDocument]:
        for one in checked_documents(documents):
            if isinstance(one, Document):
                try:
                    self.backend.check(one)
                except ValueError as error:
                    one = InvalidDocument(one.id, error, one)
            yield one

    def _encoded(self, documents: Sequence[Document]) -> EncodedDocuments:
        return encode_documents(
            self._model,
            [document.text for document in documents],
            _named(documents),
            self.representations,
            self.colbert_limit(),
            self.opening.schema.colbert_storage,
        )

    def _warn(self, report: WriteReport) -> None:
        if report.failed:
            _logger.warning("%s: %s", self.backend.name, report.summary())
        if report.truncated:
            _logger.warning(
                "%s: %d of %d texts were longer than the %s tokens that the model reads, and the rest of them was not "
                "encoded: split them, or make the model with a larger passage_max_length (at most %s); "
                "report.truncated has their ids",
                self.backend.name,
                len(report.truncated),
                len(report.ok),
                getattr(self._model, "passage_max_length", "?"),
                getattr(self._model, "max_length", "?"),
            )


def _named(documents: Sequence[Document]) -> list[str]:
    return [f"document {document.id!r}" for document in documents]


def _report_of(adding: Adding) -> WriteReport:
    ended = adding.exception() or adding.result()
    return ended if isinstance(ended, WriteReport) else carried_report(ended)
