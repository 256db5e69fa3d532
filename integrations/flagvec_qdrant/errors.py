"""What an exception of qdrant-client means, over REST, over gRPC and in local mode."""

from __future__ import annotations

import re

import grpc
import httpx
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from flagvec.store.backend import Refusal

_LONGEST_REASON = 500
_RETRYABLE_STATUSES = {408, 429, 502, 503, 504}
# Part of such a request may be taken: the request is too large, or something in it is invalid.
_DIVISIBLE_STATUSES = {400, 413, 422}
_RETRYABLE_CODES = {
    grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED,
}  # fmt: skip
_DIVISIBLE_CODES = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE}
_CONNECTION_ERRORS = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError)
# Servers and local mode say so in different words.
_NO_COLLECTION = re.compile(r"Collection .+ (doesn't exist|not found)", re.DOTALL)
# Local mode answers with a ValueError.
_NO_LOCAL_COLLECTION = re.compile(r"Collection .+ not found", re.DOTALL)
# Local mode answers with a RuntimeError, REST with one inside another exception, and gRPC with a ValueError, or with a
# RuntimeError before its first request.
_CLOSED = re.compile(r"instance is closed|client has been closed|Client was closed|on closed channel")
_CLOSED_REASON = "its client was closed: make a new QdrantClient and store"
# What a server in strict mode says of a filter on a field without an index.
_NO_INDEX = "Index required but not found"
# What a server in strict mode says of a request that costs more than it allows in a minute.
_OVER_RATE_LIMIT = "request larger than rate limiter capacity"


def refusal_of(error: Exception) -> Refusal | None:
    """Return what an exception means, in the server's own sentence; None if it is not about the server or client."""
    match error:
        case ResourceExhaustedResponse():
            return Refusal(_one_line(str(error)), retryable=True, pause=float(error.retry_after_s))
        case UnexpectedResponse():
            status = error.status_code
            return _refusal(_sentence(error), status in _RETRYABLE_STATUSES, status in _DIVISIBLE_STATUSES)
        case ResponseHandlingException() if isinstance(error.source, _CONNECTION_ERRORS):
            return Refusal(_one_line(f"{type(error.source).__name__}: {error.source}"), retryable=True)
        case RuntimeError() | ValueError() | ResponseHandlingException() if _CLOSED.search(str(error)):
            return Refusal(_CLOSED_REASON, retryable=False)
        case ResponseHandlingException():
            return Refusal(_one_line(f"{type(error.source).__name__}: {error.source}"), retryable=False)
        case grpc.RpcError() if isinstance(error, grpc.Call):
            code = error.code()
            reason = _with_remedy(_one_line(error.details() or code.name))
            return _refusal(reason, code in _RETRYABLE_CODES, code in _DIVISIBLE_CODES)
        case ValueError() if _NO_LOCAL_COLLECTION.fullmatch(str(error)):
            return Refusal(str(error), retryable=False)
    return None


def is_missing(error: Exception) -> bool:
    """Return whether an exception says that there is no such collection."""
    refusal = refusal_of(error)
    return refusal is not None and _NO_COLLECTION.search(refusal.reason) is not None


def _refusal(reason: str, retryable: bool, divisible: bool) -> Refusal:
    # The server gives such a request the status of one that may succeed later, but it never does.
    is_over = _OVER_RATE_LIMIT in reason
    return Refusal(reason, retryable and not is_over, divisible or is_over)


def _sentence(error: UnexpectedResponse) -> str:
    try:
        return _with_remedy(_one_line(error.structured()["status"]["error"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        # Not Qdrant's JSON: the answer of a proxy, or one line about the API key.
        text = error.content.decode(errors="replace")
        return _one_line(f"{error.status_code} {error.reason_phrase}: {text}")


def _with_remedy(reason: str) -> str:
    return f"{reason} To create it, name the field in filter_fields={{...}}" if _NO_INDEX in reason else reason


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST_REASON]
