"""What the client's exceptions and the errors in Elasticsearch's answers mean: pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from elastic_transport import TlsError, TransportError
from elasticsearch import ApiError
from elasticsearch import __version__ as CLIENT_VERSION

from flagvec.ingest.report import FailedWrite
from flagvec.store.backend import Refusal

# A full queue, or a server that is starting or overloaded.
_RETRYABLE = frozenset({429, 502, 503, 504})
_BAD_REQUEST, _TOO_LARGE = 400, 413
# The server describes a full queue in 2,000 characters of its own objects.
_LONGEST_REASON = 300


def classify(error: Exception) -> Refusal | None:
    """Return what a client's exception means; None for an exception that is not the client's."""
    match error:
        case ApiError():
            status = error.meta.status
            return Refusal(
                f"{status}: {_answered_reason(error)}",
                retryable=status in _RETRYABLE,
                divisible=status in (_BAD_REQUEST, _TOO_LARGE),
                pause=_seconds(error.meta.headers.get("retry-after")),
            )
        case TransportError():
            causes = "; ".join(str(cause) for cause in error.errors)
            reason = f"{type(error).__name__}: {error.message}" + (f" ({causes})" if causes else "")
            # Sending again helps neither against a bad certificate nor through a client that was closed.
            return Refusal(reason, retryable=not isinstance(error, TlsError) and "Pool is closed" not in reason)
    return None


def failed_items(answer: Mapping[str, Any]) -> list[FailedWrite]:
    """Return what a bulk request did not do, from its answer; deleting a document that is not there is no failure."""
    results = [result for item in answer["items"] for result in item.values()]
    return [
        FailedWrite(result["_id"], error_reason(result["error"]), result["status"] in _RETRYABLE)
        for result in results
        if "error" in result
    ]


def error_reason(error: Any) -> str:
    """Return the words of an error in an answer, with those of its causes, in one line of at most 300 characters.

    Example:
        >>> error_reason({"type": "document_parsing_exception", "reason": "failed", "caused_by": {"reason": "odd"}})
        'document_parsing_exception: failed: odd'
    """
    if not isinstance(error, Mapping):
        return str(error)[:_LONGEST_REASON]
    words = ""
    for word in (error.get("type"), error.get("reason"), *_causes(error)):
        # A level may repeat the words of the level below it.
        if word and word not in words:
            words += f": {word}" if words else word
    return words[:_LONGEST_REASON]


def _causes(error: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the reason of the first shard that failed, then the reasons from cause to cause."""
    for root in error.get("root_cause", [])[:1]:
        yield root.get("reason")
    while cause := error.get("caused_by"):
        yield cause.get("reason")
        error = cause


def _answered_reason(error: ApiError) -> str:
    if error.meta.status == _TOO_LARGE:  # its answer has no body
        return "the request is over the server's http.max_content_length: split the document, or raise that setting"
    if error.message == "media_type_header_exception":
        client = ".".join(map(str, CLIENT_VERSION))
        return (
            f"the server, which is older, does not speak with the client elasticsearch {client}: "
            "pip install 'elasticsearch>=8.19,<9'"
        )
    found = error.body.get("error") if isinstance(error.body, Mapping) else None
    reason = error_reason(found) if found else error.message
    # "The mapper type [rank_vectors] ... does not exist", "current license is non-compliant for [Rank Vectors]".
    if re.search("rank.vectors", reason, re.IGNORECASE):
        return f"{reason}; rank_vectors need an Enterprise licence: choose colbert_field='binary', or leave it out"
    return reason


def _seconds(value: str | None) -> float:
    # HTTP allows a date as well, which Elasticsearch does not send.
    return float(value) if value and value.isdecimal() else 0.0
