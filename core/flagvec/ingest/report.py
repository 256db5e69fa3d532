"""What became of the documents that were written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from flagvec.errors import WriteError

_SHOWN_FAILURES = 3
# The user and password of a URL, and the value of a header or option that carries a secret.
_SECRETS = re.compile(
    r"""(://)[^/@\s]+(?=@)
    | ((?:api[-_]?key|password|authorization|\btoken(?==))["']?\s*[:=]\s*["']?
      (?:(?:bearer|basic|apikey)\s)?)[^\s'",]+""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class FailedWrite:
    """A document that the database did not take.

    Args:
        id: The document's id.
        reason: Why, in the database's words.
        retryable: Whether the same document may well be taken later; it was tried several times already.
    """

    id: str
    reason: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What became of the documents that were given to ``add``; each id is in it once.

    Args:
        ok: The ids of the documents that are in the store, in the order in which they first came.
        failed: The documents that are not, or of which an older version still is.

    Example:
        >>> WriteReport(ok=("a", "b"), failed=()).ok
        ('a', 'b')
    """

    ok: tuple[str, ...]
    failed: tuple[FailedWrite, ...]

    @classmethod
    def of(cls, outcomes: Mapping[str, FailedWrite | None]) -> WriteReport:
        """Return the report of each id's failure, or None where it was written."""
        return cls(
            ok=tuple(name for name, failure in outcomes.items() if failure is None),
            failed=tuple(failure for failure in outcomes.values() if failure is not None),
        )

    def raise_for_failures(self) -> None:
        """Do nothing if every document was written.

        Raises:
            WriteError: Some were not; says how many, and of the first ones why. Its ``report`` is this.
        """
        if self.failed:
            raise WriteError(self)

    def summary(self) -> str:
        """Return one line: how many documents were written and how many not, and of the first of these why not."""
        written = f"{len(self.ok)} of {len(self.ok) + len(self.failed)} documents were written"
        shown = [f"{failure.id!r}: {failure.reason}" for failure in self.failed[:_SHOWN_FAILURES]]
        more = [f"and {len(self.failed) - len(shown)} more"] if len(self.failed) > len(shown) else []
        return "; ".join([written, *shown, *more])


def without_secrets(text: str) -> str:
    """Return a message without the passwords, tokens and keys that it spells out.

    Example:
        >>> without_secrets("cannot reach https://user:secret@db:9200")
        'cannot reach https://***@db:9200'
    """
    return _SECRETS.sub(lambda found: f"{found[1] or found[2]}***", text)
