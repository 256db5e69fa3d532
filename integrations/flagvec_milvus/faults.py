"""What Milvus' and its client's errors mean for a write, and keeping quiet about those that are reported."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from flagvec.ingest.retry import Refusal
from flagvec_milvus.untyped import (
    DataNotMatchException,
    ErrorCode,
    MilvusException,
    ParamError,
    RpcError,
    StatusCode,
)

# Codes of servers, and one that Milvus Lite alone still uses.
_INVALID_PARAMETER = 1100
_UNAVAILABLE = 2
_ILLEGAL_ARGUMENT = 5
_PASSING_STATUS = (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.ABORTED)
# The client's exceptions bear a server's code, or that of a connection.
_PASSING = (ErrorCode.RATE_LIMIT, _UNAVAILABLE, *_PASSING_STATUS)
_LOGGERS = ("pymilvus.decorators", "pymilvus.client.connection_manager")
_NO_CONNECTION = "should create connection first"

_is_reported: ContextVar[bool] = ContextVar("flagvec_milvus_is_reported", default=False)


def refusal(error: Exception) -> Refusal | None:
    """Return what an exception of a write says of its request; None where it is no answer to it.

    - A server that is away, slow or limits the rate, and what it calls retriable and no fault of the input, may pass.
    - A request that is too large, or holds something that is not taken, may be taken in parts.
    """
    if isinstance(error, RpcError):
        code = error.code()
        return Refusal(
            reason=f"{code.name}: {error.details()}",
            retryable=code in _PASSING_STATUS,
            divisible=code is StatusCode.RESOURCE_EXHAUSTED,
        )
    if not isinstance(error, MilvusException):
        return None
    is_input = (
        error.is_input_error
        or error.code == _INVALID_PARAMETER
        or error.compatible_code == _ILLEGAL_ARGUMENT
        or isinstance(error, (ParamError, DataNotMatchException))
    )
    passes = error.retriable or error.code in _PASSING
    return Refusal(reason=error.message, retryable=passes and not is_input, divisible=is_input)


def is_closed_client(error: MilvusException) -> bool:
    """Return whether a call failed because its client was closed."""
    return _NO_CONNECTION in error.message


@contextmanager
def reported() -> Iterator[None]:
    """Within this block, in this thread, leave out pymilvus' own log of each failed call: the report tells of it."""
    token = _is_reported.set(True)
    try:
        yield
    finally:
        _is_reported.reset(token)


for _name in _LOGGERS:
    logging.getLogger(_name).addFilter(lambda record: not _is_reported.get())
