"""What the exceptions of pymilvus and gRPC mean, and a log without the failures that flagvec reports itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from grpc import RpcError, StatusCode
from pymilvus.exceptions import DataNotMatchException, ErrorCode, MilvusException, ParamError

from flagvec.store.backend import Refusal

_PASSING_STATUS = (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.ABORTED)
_CONNECT_FAILED = 2
_PASSING = (ErrorCode.RATE_LIMIT, _CONNECT_FAILED, *_PASSING_STATUS)
_INVALID_PARAMETER = 1100
# The second is what Milvus Lite uses for an illegal argument.
_ILLEGAL_ARGUMENT = (5, 6)

_is_reported: ContextVar[bool] = ContextVar("flagvec_milvus_is_reported", default=False)


def classify(error: Exception) -> Refusal | None:
    """Return what an exception means, as `Backend.classify` does.

    A server that is away, slow or limits the rate may take the request later. A request that is too large, or that
    holds something invalid, may be taken in parts.
    """
    if isinstance(error, RpcError):
        status = error.code()
        return Refusal(
            f"{status.name}: {error.details()}",
            retryable=status in _PASSING_STATUS,
            divisible=status is StatusCode.RESOURCE_EXHAUSTED,
        )
    if not isinstance(error, MilvusException):
        return None
    if "should create connection first" in error.message:
        return Refusal("its client was closed: make a new MilvusClient and store", retryable=False)
    is_input = (
        error.is_input_error
        or error.code == _INVALID_PARAMETER
        or error.compatible_code in _ILLEGAL_ARGUMENT
        or isinstance(error, (ParamError, DataNotMatchException))
    )
    passes = error.retriable or error.code in _PASSING
    return Refusal(_plain(error.message or str(error)), retryable=passes and not is_input, divisible=is_input)


@contextmanager
def client_log_off() -> Iterator[None]:
    """Leave out pymilvus' own log of calls that fail in this block and thread.

    pymilvus logs each with a traceback, but here each becomes a `StoreError` or a line of a report.
    """
    token = _is_reported.set(True)
    try:
        yield
    finally:
        _is_reported.reset(token)


def _plain(message: str) -> str:
    """Return a message in one line, without gRPC's debug strings and the arrows below a wrong expression."""
    message = message.partition(", channel_state=")[0].partition(", debug=")[0]
    lines = [line.strip() for line in message.splitlines()]
    return "; ".join(line for line in lines if line.strip("^"))


for _name in ("pymilvus.decorators", "pymilvus.client.connection_manager"):
    logging.getLogger(_name).addFilter(lambda record: not _is_reported.get())
