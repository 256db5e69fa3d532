"""The errors of flagvec's own making.

FlagvecError
├── ModelNotFoundError   a model name that is no directory, no catalogue name and no Hub repository
├── CheckpointError      a checkpoint that is damaged, incomplete, or cannot give what was asked for
└── StoreError           a store that is locked, missing, or was made with another schema
    └── WriteError       documents that a database did not take

A wrong argument is a plain ``TypeError`` or ``ValueError``, a missing extra an ``ImportError``; errors of a
database's own pass through as its client raises them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flagvec.ingest.report import WriteReport


class FlagvecError(Exception):
    """Catch this for everything that flagvec itself refuses beyond wrong arguments."""


class ModelNotFoundError(FlagvecError, ValueError):
    """Raised when a model cannot be found; the message names the nearest known names."""


class CheckpointError(FlagvecError, ValueError):
    """Raised when a checkpoint was found but cannot be used as asked; the message says what is wrong with it."""


class StoreError(FlagvecError):
    """Raised when a store cannot be opened or does not match; the message says how it differs and what to do."""


class WriteError(StoreError):
    """Raised when documents were not written.

    Args:
        report: Which documents are in the store and which are not, and why.
    """

    def __init__(self, report: WriteReport) -> None:
        super().__init__(report)
        self.report = report

    def __str__(self) -> str:
        return self.report.summary()
