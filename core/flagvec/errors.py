"""flagvec's own errors.

FlagvecError
├── ModelNotFoundError   a model name that is not a directory, a name of the catalogue or a Hub repository
├── CheckpointError      a checkpoint that is damaged, incomplete, or cannot give what was asked for
├── WorkerError          a worker process of a model on several devices that died
├── NotFiniteError       a text whose vectors are NaN or infinite in every number format
├── JournalError         a journal that cannot be used, or is of another store or model
├── SourceError          a file of documents or vectors that cannot be read or written
└── StoreError           a store that is missing, locked, of another schema, or whose database refused a request
    ├── WriteError       documents that were not written
    └── StoreDownError   a store that went away during an ingestion, which the same call resumes

Whatever `HybridStore.add` raises after it began to read documents has an attribute ``report``, of a `WriteReport`. What
`flagvec.ingest.ingest` raises has one of an `IngestReport`.

A wrong argument is a plain ``TypeError`` or ``ValueError``, and a missing extra is an ``ImportError``. When a database
refuses, the `StoreError` has its message, and the client's exception as its cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flagvec.ingest.ingest_report import IngestReport
    from flagvec.ingest.report import WriteReport


class FlagvecError(Exception):
    """The base of all errors here: catch it for everything that flagvec refuses except wrong arguments."""


class ModelNotFoundError(FlagvecError, ValueError):
    """Raised when a model cannot be found; the message names the nearest known names."""


class CheckpointError(FlagvecError, ValueError):
    """Raised when a checkpoint was found but cannot be used as asked; the message says what is wrong with it."""


class WorkerError(FlagvecError):
    """Raised when worker processes of a model on several devices die; the message says how."""


class NotFiniteError(FlagvecError, ValueError):
    """Raised when a model gives NaN or infinite numbers for a text, in float32 too.

    Args:
        positions: The positions of these texts, ascending.
        texts: How many texts the call had; None for a stream.
    """

    def __init__(self, positions: Sequence[int], texts: int | None) -> None:
        super().__init__(positions, texts)
        self.positions = tuple(positions)
        self.texts = texts

    def __str__(self) -> str:
        first, more = ", ".join(map(str, self.positions[:3])), len(self.positions) - 3
        named = f"{first} and {more:,} more" if more > 0 else first
        plural, of = "s" if len(self.positions) > 1 else "", "" if self.texts is None else f"of {self.texts:,}, "
        return (
            f"the result of text{plural} {named} ({of}counted from 0) is NaN or infinite, also in float32: leave the "
            f"text{plural} out, or get the checkpoint's files again"
        )


class JournalError(FlagvecError):
    """Raised when a journal cannot be read or written, or is of another store or model; the message says what to do."""


class SourceError(FlagvecError, ValueError):
    """Raised when a file of documents or vectors cannot be read or written; the message names it."""


class StoreError(FlagvecError):
    """Raised when a store cannot be opened, does not match, or its database refuses; the message says what to do.

    Attributes:
        report: What became of the documents, if `add` or `ingest` raised the error; otherwise None.
        is_away: Whether the database did not answer or was too busy, so that the same call may succeed later.
    """

    report: WriteReport | IngestReport | None = None
    is_away: bool = False


class WriteError(StoreError):
    """Raised when documents were not written, or when the database did not confirm all of them in the end.

    Args:
        report: Which documents are in the store and which are not, and why. ``report.failed_documents`` has the
            documents themselves.
        reason: What went wrong, if it is not in the report.
    """

    report: WriteReport

    def __init__(self, report: WriteReport, reason: str = "") -> None:
        super().__init__(report, reason)
        self.report = report
        self.reason = reason

    def __str__(self) -> str:
        return "; ".join(part for part in (self.reason, self.report.summary()) if part)


class StoreDownError(StoreError):
    """Raised when a store stayed away, or refused everything, for longer than an ingestion waits for it.

    What stores have acknowledged is in the journal, and the same call goes on from there.

    Args:
        stores: Why each store that is down takes nothing more, by its name.
    """

    report: IngestReport
    is_away = True

    def __init__(self, stores: Mapping[str, str]) -> None:
        super().__init__(stores)
        self.stores = dict(stores)

    def __str__(self) -> str:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in self.stores.items())
        return f"{reasons}. Run the same ingestion again once this is mended: with a journal it goes on where it ended"
