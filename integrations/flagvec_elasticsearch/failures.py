"""What Elasticsearch's refusals and a client's exceptions mean for a write: pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from elastic_transport import TlsError, TransportError
from elasticsearch import ApiError

from flagvec.errors import StoreError
from flagvec.ingest.report import FailedWrite
from flagvec.ingest.retry import Refusal

# The same may succeed later: a full queue, or a server that is starting, overloaded or out of reach.
_RETRYABLE = frozenset({429, 502, 503, 504})
_BAD_REQUEST, _TOO_LARGE = 400, 413
# A full queue is described in 2,000 characters, of the server's own objects.
_LONGEST_REASON = 300


def failed_items(answer: Mapping[str, Any]) -> list[FailedWrite]:
    """Return what a bulk request did not do, from its answer; to delete what is not there is no failure."""
    results = [result for item in answer["items"] for result in item.values()]
    return [
        FailedWrite(result["_id"], error_reason(result["error"]), result["status"] in _RETRYABLE)
        for result in results
        if "error" in result
    ]


def error_reason(error: Any) -> str:
    """Return the words of an error of Elasticsearch, with those of what is behind it, in one line.

    Example:
        >>> error_reason({"type": "document_parsing_exception", "reason": "failed", "caused_by": {"reason": "odd"}})
        'document_parsing_exception: failed: odd'
    """
    if not isinstance(error, Mapping):
        return str(error)[:_LONGEST_REASON]
    words = [error.get("type"), error.get("reason"), *_causes(error)]
    # Each level may repeat what is below it.
    return ": ".join(dict.fromkeys(str(word) for word in words if word))[:_LONGEST_REASON]


def _causes(error: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the reasons behind an error: of the shards that failed, or from cause to cause."""
    for root in error.get("root_cause", [])[:1]:
        yield root.get("reason")
    while cause := error.get("caused_by"):
        yield cause.get("reason")
        error = cause


def answered_reason(error: ApiError) -> str:
    """Return the words in which Elasticsearch refused a request."""
    body = error.body
    return error_reason(body.get("error", body)) if isinstance(body, Mapping) else error.message


def is_about_rank_vectors(error: ApiError) -> bool:
    """Return whether an index was refused for its ``rank_vectors``, which not every server and licence has."""
    # "The mapper type [rank_vectors] ... does not exist", "current license is non-compliant for [Rank Vectors]".
    return re.search("rank.vectors", answered_reason(error), re.IGNORECASE) is not None


def refusal(error: Exception) -> Refusal | None:
    """Return what an exception says of the write that raised it; None if it is none of the client's or flagvec's."""
    match error:
        case ApiError():
            return _answered(error)
        case TlsError():
            return Refusal(_transport_reason(error), retryable=False)
        case TransportError():
            reason = _transport_reason(error)
            return Refusal(reason, retryable="Pool is closed" not in reason)
        case StoreError():
            return Refusal(str(error), retryable=False)
    return None


def _answered(error: ApiError) -> Refusal:
    status = error.meta.status
    if status == _TOO_LARGE:
        # The server says nothing more. A request of several documents is divided until the large one is alone.
        remedy = "split the document, or raise that setting"
        return Refusal(f"413: over the server's http.max_content_length: {remedy}", retryable=False, divisible=True)
    return Refusal(
        f"{status}: {answered_reason(error)}",
        retryable=status in _RETRYABLE,
        divisible=status == _BAD_REQUEST,
        pause=_seconds(error.meta.headers.get("retry-after")),
    )


def _transport_reason(error: TransportError) -> str:
    causes = "; ".join(str(cause) for cause in error.errors)
    return f"{type(error).__name__}: {error.message}" + (f" ({causes})" if causes else "")


def _seconds(value: str | None) -> float:
    # It may also be a date, as no Elasticsearch writes it.
    return float(value) if value and value.isdecimal() else 0.0
