"""What LlamaIndex's users get where our stores report."""

from __future__ import annotations

from flagvec.errors import StoreError
from flagvec.retrieval.reports import WriteReport


class NodesNotWritten(StoreError):
    """Raised when the database did not take some of the nodes; the others are in the store.

    Args:
        report: Which nodes are in the store, by id, and which are not, and why.

    Example:
        >>> from flagvec.retrieval.reports import FailedWrite
        >>> NodesNotWritten(WriteReport(ok=("a",), failed=(FailedWrite("b", "disk full", retryable=True),)))
        NodesNotWritten("1 of 2 documents were written; 'b': disk full")
    """

    def __init__(self, report: WriteReport) -> None:
        super().__init__(report.summary())
        self.report = report

    def __reduce__(self) -> tuple[type[NodesNotWritten], tuple[WriteReport]]:
        return type(self), (self.report,)
