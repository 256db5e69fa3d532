"""`ingest`: from a source into one store or several, with a journal, so that nothing is lost or encoded again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal, get_args

from flagvec.ingest.dead_letters import DeadLetters
from flagvec.ingest.ingest_report import IngestReport
from flagvec.ingest.journal import Journal
from flagvec.ingest.lane import Rules
from flagvec.ingest.opened import opened_lanes
from flagvec.ingest.run import Run
from flagvec.ingest.seen import SeenIds
from flagvec.ingest.selection import Selection
from flagvec.search.options import check_choice, checked_timeout
from flagvec.store.documents import DocumentLike, InvalidDocument, listed_documents

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder
    from flagvec.store.base import HybridStore

OnRefusal = Literal["dead-letters", "raise"]

# Seconds. A server that is restarted is mostly back within a minute or two.
PATIENCE = 300.0
DEAD_LETTERS = "dead-letters.jsonl"


def ingest(
    documents: DocumentLike | Iterable[DocumentLike | InvalidDocument],
    *,
    stores: HybridStore | Sequence[HybridStore] | Mapping[str, HybridStore],
    model: AbsEmbedder | None = None,
    journal: Journal | str | os.PathLike[str] | None = None,
    on_error: OnRefusal = "dead-letters",
    dead_letters: str | os.PathLike[str] = DEAD_LETTERS,
    skip_unchanged: bool = True,
    prune: bool = False,
    patience: float = PATIENCE,
    timeout: float | None = None,
    show_progress: bool | None = None,
    on_progress: Callable[[IngestReport], object] | None = None,
) -> IngestReport:
    """Encode documents once and write them to one store or several, so that every document ends up in each.

    Documents are read, encoded and written in bounded windows, and memory does not grow with their number. While one
    window is encoded, those before it are written, by a thread for each store.

    With a journal, an ingestion that ended early goes on where it was: call it again with the same arguments. Documents
    that a store has with the same text and metadata are neither encoded nor written. What may be half in is written
    again, which replaces it.

    A store that is away is waited for. If it stays away, the other stores get the rest of the documents, and a
    `StoreDownError` comes at the end. In the main thread, a first Ctrl-C ends the ingestion after the windows that are
    on their way, with a KeyboardInterrupt. A second one ends it at once.

    Args:
        documents: What `HybridStore.add` takes, an `EncodedDocument`, which brings its vectors, or an
            `InvalidDocument`, such as a line that a source could not read. Of documents with one id the last is kept.
        stores: Stores that exist, of one model. A dict gives them the names that the journal and the report use.
            Otherwise these are what the store's messages call it.
        model: Encodes the documents. None takes the stores' own.
        journal: Notes what each store has acknowledged. A path is opened, or made, and closed again. With None, all
            documents are written, and an ingestion that ended early begins anew.
        on_error: What becomes of documents that no store can hold, or that a store refuses for good.
            ``"dead-letters"`` writes them to a file and goes on. ``"raise"`` raises at the first.
        dead_letters: This file, in JSON lines. Lines are added at its end.
        skip_unchanged: Leave out what the journal has with the same content. False encodes and writes everything, and
            only skips what this run wrote before it ended early.
        prune: In the end, delete the documents that the journal has and `documents` no longer had. A source with
            invalid documents prunes nothing. Documents that the journal does not know stay.
        patience: Seconds in which a request is sent again, after growing pauses, while a store is away or busy.
        timeout: Seconds that each attempt to write may take; None for the client's own limit.
        show_progress: Show a progress bar. None shows one in a terminal or notebook after two seconds.
        on_progress: Called in the calling thread with the report so far, after each window that was read.

    Returns:
        What was done, in numbers. Its ``dead_letters`` names the file with what was refused.

    Raises:
        TypeError: Something other than documents or stores; with ``"raise"``, an invalid document.
        ValueError: Two stores of one name or of different models; ``prune`` without a journal; with ``"raise"``, an
            invalid document.
        JournalError: The journal is of another store or model, has documents that the store lacks, is in use by another
            ingestion, or cannot be written.
        StoreError: A store does not exist, does not fit the model, or was closed; with ``"raise"``, a document that a
            store refuses.
        StoreDownError: A store stayed away or refused everything. The others have all documents.
        Exception: Whatever the iterable or the model raises. This and the last three have an attribute ``report``.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> from flagvec_qdrant import QdrantEdgeStore
        >>> store = QdrantEdgeStore(BGEM3FlagModel("bge-m3"), "articles")
        >>> store.create()
        >>> ingest(["Rice is cooked in water."], stores=store, journal="articles.journal").encoded
        1
        >>> ingest(["Rice is cooked in water."], stores=store, journal="articles.journal").encoded
        0
    """
    check_choice("on_error", on_error, get_args(OnRefusal))
    if prune and journal is None:
        raise ValueError("prune=True needs a journal, which knows what earlier runs wrote: pass journal=PATH")
    given, timeout = listed_documents(documents), checked_timeout(timeout)
    with ExitStack() as stack:
        if journal is not None and not isinstance(journal, Journal):
            journal = stack.enter_context(Journal(journal))
        if journal is not None:
            stack.enter_context(journal.used_alone())
        run, since = (0, None) if journal is None else journal.begin_run(DeadLetters.size(dead_letters))
        letters = DeadLetters(dead_letters, since) if on_error == "dead-letters" else None
        rules = Rules(journal, run, letters, timeout, patience, is_resumed=since is not None)
        opened = opened_lanes(stores, model, rules)
        lanes = [stack.enter_context(lane) for lane in opened.lanes]
        seen = stack.enter_context(SeenIds())
        selection = Selection(lanes, opened.contents, rules, seen, skip_unchanged)
        whole = Run(lanes, opened.encoder, selection, rules, on_progress)
        report = whole.do(given, show_progress)
        if prune and journal is not None:
            report = whole.prune(seen)
        if journal is not None:
            journal.end_run(run)
        return report
