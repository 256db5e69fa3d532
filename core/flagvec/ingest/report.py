"""What became of the documents that were given to ``add``."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flagvec.errors import WriteError

if TYPE_CHECKING:
    from flagvec.ingest.ingest_report import IngestReport
    from flagvec.store.documents import Document, InvalidDocument

_SHOWN_FAILURES = 3
# Groups are what stays. A password in a URL may have "/" and "@" in it; "token:" alone is a word of parsers.
_SECRETS = re.compile(
    r"""
    (://) (?: [^\s/@:"]* : (?!\d{1,5}[/?\#]) (?:(?!://)[^\s"])* | [^\s/@"]+ ) (?=@)
    |
    ( (?: (?: api[-_]?key | passw(?:or)?d | pwd | secret(?:[-_]?(?:access[-_]?)?key)? | authorization
            | (?:access|refresh|auth|id|session|bearer)[-_]?token ) (?: \\?["'] )? \s*[:=]
        | \btoken (?: \\?["']\s*: | \s*= ) )
      \s* (?: b?\\?["'] )? (?: (?:bearer|basic|apikey)\s+ )? )
    (?: (?<=") [^"]+ | (?<=') [^']+ | (?: [^\s'"&,;] | [,;](?=[^\s'"]) )+ )
    |
    ( \bbearer\s+ ) (?! (?:token|auth|scheme|header|realm|error|is|was|of)[\w=]* ) [^\s'",;]+
    |
    ( \b(?-i: Basic | ApiKey )\s+ ) (?-i: (?= [\w+/-]* [A-Z\d=] ) ) [\w+/-]{6,} =*
    """,
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class FailedWrite:
    """A document that was not written.

    Args:
        id: The document's id, or its position if the id itself is invalid.
        reason: Why, in the database's words if the database refused it.
        retryable: Whether the same document may be taken later. It was tried several times already.
        document: The document, to be mended or added again; None if it was not one.
    """

    id: str
    reason: str
    retryable: bool
    document: Document | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, invalid: InvalidDocument) -> FailedWrite:
        """Return the failure of a document that no store can hold."""
        return cls(invalid.id, str(invalid.error), False, invalid.document)


@dataclass(frozen=True, slots=True, repr=False)
class WriteReport:
    """What became of the documents that were given to ``add``. Each id is either in `ok` or in `failed`.

    Args:
        ok: The ids of the documents that the database took, in the order in which they first came. Searches find them,
            unless the `WriteError` with this report says that the last step failed.
        failed: The documents that are not in the store, or only in an older version. If an error ended ``add``, also
            those that were read and not confirmed by the database, which may be in the store.
        truncated: The ids of those in `ok` whose text was longer than the model reads; the rest was not encoded.

    Example:
        >>> WriteReport(ok=("a", "b"), failed=(FailedWrite("c", "too large", retryable=False),))
        WriteReport(2 written, 1 failed (first: 'c': too large))
    """

    ok: tuple[str, ...]
    failed: tuple[FailedWrite, ...]
    truncated: tuple[str, ...] = ()

    def __repr__(self) -> str:
        parts = [f"{len(self.ok):,} written"]
        if self.failed:
            first = self.failed[0]
            parts.append(f"{len(self.failed):,} failed (first: {first.id!r:.80}: {first.reason:.100})")
        if self.truncated:
            parts.append(f"{len(self.truncated):,} truncated")
        return f"WriteReport({', '.join(parts)})"

    @classmethod
    def of(cls, outcomes: Mapping[str, FailedWrite | None], truncated: set[str] | frozenset[str]) -> WriteReport:
        """Return the report of each id's failure, None if it was written, and of the ids that were truncated."""
        ok = tuple(name for name, failure in outcomes.items() if failure is None)
        return cls(
            ok=ok,
            failed=tuple(failure for failure in outcomes.values() if failure is not None),
            truncated=tuple(name for name in ok if name in truncated) if truncated else (),
        )

    @property
    def failed_documents(self) -> list[Document]:
        """The documents that were not written, to be mended or added again."""
        return [failure.document for failure in self.failed if failure.document is not None]

    def raise_for_failures(self) -> None:
        """Do nothing if every document was written.

        Raises:
            WriteError: Some were not; says how many, and why the first ones were not. Its ``report`` is this.
        """
        if self.failed:
            raise WriteError(self)

    def summary(self) -> str:
        """Return one line: how many documents were written and how many not, with the reasons of the first."""
        written = f"{len(self.ok)} of {len(self.ok) + len(self.failed)} documents were written"
        shown = [f"{failure.id!r}: {failure.reason}" for failure in self.failed[:_SHOWN_FAILURES]]
        more = [f"and {len(self.failed) - len(shown)} more"] if len(self.failed) > len(shown) else []
        return "; ".join([written, *shown, *more])


def carry_report(error: BaseException, report: WriteReport | IngestReport, verb: str = "add") -> None:
    """Give an exception the attribute ``report``, and from Python 3.11 on a note with the report's summary."""
    # The class may refuse attributes, as a frozen dataclass does, or have a property of this name.
    with suppress(AttributeError):
        BaseException.__setattr__(error, "report", report)
        if sys.version_info >= (3, 11):
            error.add_note(f"{verb}: {report.summary()}; the attribute `report` of this error has more")


def carried_report(error: BaseException) -> WriteReport:
    """Return what `carry_report` gave to an exception; an empty report if it gave nothing."""
    report = getattr(error, "report", None)
    return report if isinstance(report, WriteReport) else WriteReport((), ())


def without_secrets(text: str) -> str:
    """Return a message without the passwords, tokens and keys in it.

    Example:
        >>> without_secrets("cannot reach https://user:secret@db:9200")
        'cannot reach https://***@db:9200'
    """
    return _SECRETS.sub(lambda found: f"{found[found.lastindex or 0]}***", text)
