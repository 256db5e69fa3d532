"""flagvec's own errors.

FlagvecError
├── ModelNotFoundError   a model name that is not a directory, a name of the catalogue or a Hub repository
├── CheckpointError      a checkpoint that is damaged, incomplete, or cannot give what was asked for
└── StoreError           a store that is missing, locked, of another schema, or whose database refused a request
    └── WriteError       documents that were not written

Whatever `HybridStore.add` raises after it began to read documents has an attribute ``report``, of a `WriteReport`.

A wrong argument is a plain ``TypeError`` or ``ValueError``, and a missing extra is an ``ImportError``. When a database
refuses, the `StoreError` has its words, and the client's exception as its cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flagvec.ingest.report import WriteReport


class FlagvecError(Exception):
    """The base of all errors here: catch it for everything that flagvec refuses except wrong arguments."""


class ModelNotFoundError(FlagvecError, ValueError):
    """Raised when a model cannot be found; the message names the nearest known names."""


class CheckpointError(FlagvecError, ValueError):
    """Raised when a checkpoint was found but cannot be used as asked; the message says what is wrong with it."""


class StoreError(FlagvecError):
    """Raised when a store cannot be opened, does not match, or its database refuses; the message says what to do.

    Attributes:
        report: What became of the documents, if `add` raised the error; otherwise None.
    """

    report: WriteReport | None = None


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
