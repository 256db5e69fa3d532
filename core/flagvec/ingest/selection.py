"""`Selection`: which of the documents that are read a store needs, because the journal does not have them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from more_itertools import constrained_batches

from flagvec.ingest.content import Contents
from flagvec.ingest.journal import NO_STORE
from flagvec.ingest.lane import Lane, Rules
from flagvec.ingest.report import FailedWrite
from flagvec.ingest.seen import SeenIds
from flagvec.store.documents import Document, DocumentLike, InvalidDocument, characters_of, checked_documents

# Documents and characters that are compared with the journal at once.
DOCUMENTS_COMPARED = 900
CHARACTERS_COMPARED = 4_000_000


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


class Selection:
    """Reads documents and selects those that a store needs.

    Args:
        lanes: One for each store.
        contents: Hashes documents.
        rules: What holds for all stores.
        seen: An empty set of ids, which gets those that are read.
        skip_unchanged: Whether documents that the journal has from earlier runs are left out.

    Attributes:
        read: How many documents and invalid ones were read.
        invalid: How many were invalid.
        duplicates: How many had an id that came before.
    """

    def __init__(
        self, lanes: Sequence[Lane], contents: Contents, rules: Rules, seen: SeenIds, skip_unchanged: bool
    ) -> None:
        self.read = self.invalid = self.duplicates = 0
        self._lanes = lanes
        self._contents = contents
        self._rules = rules
        self._seen = seen
        self._skip_unchanged = skip_unchanged

    def wanted(
        self, documents: Iterable[DocumentLike | InvalidDocument], done: Callable[[int], object]
    ) -> Iterator[Wanted]:
        """Yield the documents that a store needs, in their order.

        Args:
            documents: Read as they are needed.
            done: Called with the number of documents in each part that was read, after the part was yielded.

        Raises:
            TypeError: There are no dead letters, and a document is invalid.
            ValueError: There are no dead letters, and a document is invalid.
        """
        for part in constrained_batches(
            checked_documents(documents), CHARACTERS_COMPARED, DOCUMENTS_COMPARED, get_len=characters_of, strict=False
        ):
            self.read += len(part)
            self._note_invalid([one for one in part if isinstance(one, InvalidDocument)])
            yield from self._changed([one for one in part if isinstance(one, Document)])
            done(len(part))

    def _changed(self, documents: Sequence[Document]) -> Iterator[Wanted]:
        latest = {one.id: one for one in documents}
        again = self._seen.add(list(latest))
        self.duplicates += len(documents) - len(latest) + len(again)
        contents = {name: self._contents.of(document) for name, document in latest.items()}
        lanes: dict[str, list[Lane]] = {}
        for lane in self._lanes:
            if lane.down is None:
                for name in self._needed(lane, latest, contents, again):
                    lanes.setdefault(name, []).append(lane)
        for name, document in latest.items():
            if name in lanes:
                yield Wanted(document, contents[name], lanes[name])

    def _needed(
        self, lane: Lane, latest: Mapping[str, Document], contents: Mapping[str, bytes], again: Collection[str]
    ) -> Iterator[str]:
        """Yield the ids of the documents that a store neither has nor refuses.

        Those that come again are always among them: what the journal has may be older than what is on its way.
        """
        unchanged = lane.unchanged(contents, self._skip_unchanged).difference(again)
        lane.count(unchanged=len(unchanged))
        left_out = unchanged | lane.refused_before(contents).difference(again)
        refused = []
        for name in latest:
            if name in left_out:
                continue
            try:
                lane.writing.backend.check(latest[name])
            except ValueError as error:
                refused.append(FailedWrite(name, str(error), False, latest[name]))
            else:
                yield name
        lane.refuse(refused, contents)

    def _note_invalid(self, invalid: Sequence[InvalidDocument]) -> None:
        rules = self._rules
        if not invalid:
            return
        self.invalid += len(invalid)
        if rules.dead_letters is None:
            raise invalid[0].error
        if rules.journal is not None:
            noted = rules.journal.refused(NO_STORE, [one.id for one in invalid], rules.run)
            invalid = [one for one in invalid if one.id not in noted]
        failures = [FailedWrite.of(one) for one in invalid]
        size = rules.dead_letters.add(failures, None)
        if rules.journal is not None:
            rules.journal.refuse(NO_STORE, [(one.id, b"", one.reason) for one in failures], rules.run, size)
