"""What the client's exceptions and the errors in Elasticsearch's answers mean: pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from elastic_transport import TlsError, TransportError
from elasticsearch import ApiError
from elasticsearch import __version__ as CLIENT_VERSION

from flagvec.errors import StoreError
from flagvec.ingest.report import FailedWrite
from flagvec.store.backend import Refusal

# A full queue, or a server that is starting or overloaded.
_RETRYABLE = frozenset({429, 502, 503, 504})
# The same by name, because the parts of some answers have no status.
_RETRYABLE_TYPES = frozenset(
    {
        "circuit_breaking_exception",
        "es_rejected_execution_exception",
        "no_shard_available_action_exception",
        "node_disconnected_exception",
        "node_not_connected_exception",
        "unavailable_shards_exception",
    }
)
_BAD_REQUEST, _TOO_LARGE = 400, 413
# An index that refuses one document for these refuses every document.
_OF_THE_INDEX = (
    "index_closed_exception",
    "index_not_found_exception",
    "cluster_block_exception",
    "security_exception",
)
_REMEDIES = {
    r"\bindex_closed_exception": "open the index, by POST /{index}/_open",
    r"flood-stage|read-only-allow-delete": "free disk space or add some; Elasticsearch then lifts the block by itself",
    r"\bcluster_block_exception": "lift the block in the index's settings, index.blocks.*",
    r"\bsecurity_exception": "flagvec's docs/elasticsearch.md lists the privileges that each method needs",
    r"\bversion_conflict_engine_exception": "the document was changed meanwhile: call repair() again",
    # "The mapper type [rank_vectors] ... does not exist", "current license is non-compliant for [Rank Vectors]".
    r"(?i)rank.vectors": ("rank_vectors need an Enterprise licence: choose colbert='compact', which needs none"),
}
# The server describes a full queue in 2,000 characters of its own objects.
_LONGEST_REASON = 300


class IndexRefused(StoreError):
    """Raised when an index refuses every document, or when a name leads to another index than the one opened."""


class PartRefused(Exception):
    """Raised when a part of an answer is an error, because the client raises nothing then.

    Args:
        reason: The server's words.
        retryable: Whether the same request may succeed later.
    """

    def __init__(self, reason: str, retryable: bool) -> None:
        super().__init__(reason, retryable)
        self.reason = reason
        self.retryable = retryable

    def __str__(self) -> str:
        return self.reason


def classify(error: Exception) -> Refusal | None:
    """Return what a client's exception means; None for an exception that is not the client's."""
    match error:
        case IndexRefused():
            return Refusal(str(error), retryable=False)
        case PartRefused():
            return Refusal(error.reason, error.retryable)
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


def refusal_of_all(answer: Mapping[str, Any], sent: int) -> str | None:
    """Return why an index refused each of the items `sent` in a bulk request for good; None if it did not."""
    results = [result for item in answer["items"] for result in item.values()]
    for_good = [
        result["error"]
        for result in results
        if "error" in result and result["error"]["type"] in _OF_THE_INDEX and result["status"] not in _RETRYABLE
    ]
    return error_reason(for_good[0]) if for_good and len(for_good) == sent else None


def passes(error: Any, status: Any = None) -> bool:
    """Return whether an error in an answer, with its status if it has one, may be gone later."""
    return status in _RETRYABLE or (isinstance(error, Mapping) and error.get("type") in _RETRYABLE_TYPES)


def lacks_privilege(error: ApiError) -> bool:
    """Return whether the server refused because the user may not do what was asked."""
    return error.error == "security_exception"


def error_reason(error: Any) -> str:
    """Return the words of an error in an answer in one line: its type, reason and causes, and the remedy if known.

    The words of the server are cut to 300 characters.

    Example:
        >>> error_reason({"type": "document_parsing_exception", "reason": "failed", "caused_by": {"reason": "odd"}})
        'document_parsing_exception: failed: odd'
    """
    if not isinstance(error, Mapping):
        return _with_remedy(str(error), "")
    words = ""
    for word in (error.get("type"), error.get("reason"), *_causes(error)):
        # A level may repeat the words of the level below it.
        if word and word not in words:
            words += f": {word}" if words else word
    return _with_remedy(words, str(error.get("index", "")))


def _with_remedy(words: str, index: str) -> str:
    remedies = (remedy for pattern, remedy in _REMEDIES.items() if re.search(pattern, words))
    remedy = next(remedies, "").format(index=index)
    return f"{words[:_LONGEST_REASON]}: {remedy}" if remedy else words[:_LONGEST_REASON]


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
    return error_reason(found) if found else error.message


def _seconds(value: str | None) -> float:
    # HTTP allows a date as well, which Elasticsearch does not send.
    return float(value) if value and value.isdecimal() else 0.0
