"""What the errors of qdrant-client say of a request that was to write."""

from __future__ import annotations

import grpc  # type: ignore[import-untyped]  # ships no types
import httpx
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from flagvec.ingest.retry import Refusal

_LONGEST_REASON = 500
_RETRYABLE_STATUSES = {408, 429, 502, 503, 504}
# A request of which a part may be taken: too large, or with something in it that is not valid.
_DIVISIBLE_STATUSES = {400, 413, 422}
_RETRYABLE_CODES = {
    grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED,
}  # fmt: skip
_DIVISIBLE_CODES = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE}
_CONNECTION_ERRORS = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError)


def refusal_of(error: Exception) -> Refusal | None:
    """Return what an exception of a writing call means, over REST as over gRPC; None for one that is no answer."""
    match error:
        case ResourceExhaustedResponse():
            return Refusal(_reason(error), retryable=True, pause=float(error.retry_after_s))
        case UnexpectedResponse():
            status = error.status_code
            return Refusal(_reason(error), status in _RETRYABLE_STATUSES, divisible=status in _DIVISIBLE_STATUSES)
        case ResponseHandlingException() if isinstance(error.source, _CONNECTION_ERRORS):
            return Refusal(f"{type(error.source).__name__}: {_reason(error.source)}", retryable=True)
        case grpc.RpcError() if isinstance(error, grpc.Call):
            code = error.code()
            reason = f"{code.name}: {' '.join(str(error.details()).split())[:_LONGEST_REASON]}"
            return Refusal(reason, code in _RETRYABLE_CODES, divisible=code in _DIVISIBLE_CODES)
    return None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:_LONGEST_REASON]
