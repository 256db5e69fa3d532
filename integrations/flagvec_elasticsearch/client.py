"""`Index`: the requests to one index; and the versions of servers that flagvec works with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch, NotFoundError

from flagvec.errors import StoreError
from flagvec.ingest.report import FailedWrite
from flagvec.store.backend import Ask
from flagvec_elasticsearch.convert import json_line
from flagvec_elasticsearch.errors import error_reason, failed_items
from flagvec_elasticsearch.filters import Query
from flagvec_elasticsearch.queries import ONLY_DOCUMENTS

# A hit, or what ``get`` found.
Found = Mapping[str, Any]

# What a bulk request's answer is cut down to: the items that failed, and why.
_FAILURES = ["items.*._id", "items.*.status", "items.*.error"]
# How long a point in time outlives the last page.
_KEPT_ALIVE = "5m"
_LONGEST_CLOSING = 1.0

_OLDEST = (8, 19)
_OLDEST_OF_9 = (9, 1)
_FIRST_UNKNOWN = (10, 0)
_PACKED_VECTORS = (9, 3)
_ENTERPRISE_LICENCES = ("enterprise", "trial")


class Index:
    """One index of a cluster; each method is one request, except `pages`, `drop` and `bulk`.

    A ``timeout`` is in seconds a request, None for the client's own. The client's exceptions pass through. An answer
    with an error in a part of it raises a `StoreError`, because the client raises nothing then.

    Args:
        client: The caller's client, whose settings stay as they are.
        name: An index, or an alias of one.
    """

    def __init__(self, client: Elasticsearch, name: str) -> None:
        self.client = client
        self.name = name

    def __str__(self) -> str:
        return f"the index {self.name!r}"

    def found(self) -> tuple[str, Mapping[str, Any]] | None:
        """Return the index's own name, even if `name` is an alias, and its mapping; None if there is no such index.

        Raises:
            StoreError: The name is an alias of several indices.
        """
        try:
            found = self.client.indices.get_mapping(index=self.name).body
        except NotFoundError:
            return None
        if len(found) != 1:
            raise StoreError(f"{self} is an alias of {', '.join(sorted(found))}: choose one of them")
        [(name, index)] = found.items()
        return name, index["mappings"]

    def create(self, mappings: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        """Make the index, unless another process has just made it."""
        try:
            self.client.indices.create(index=self.name, mappings=mappings, settings=settings)
        except ApiError as error:
            if error.error != "resource_already_exists_exception":
                raise

    def drop(self) -> None:
        """Delete the index, or the index behind the alias, with all its aliases."""
        if (found := self.found()) is not None:
            self.client.indices.delete(index=found[0])

    def bulk(self, lines: Sequence[bytes], timeout: float | None) -> list[FailedWrite]:
        """Send a bulk request once, and return the items that failed."""
        once = self._within(timeout).options(max_retries=0)
        # This raises if the index is missing. A bulk request would make one, with a mapping of the server's choice.
        once.indices.get_alias(index=self.name)
        # The client's types leave out that it sends bytes as they are.
        body = cast("Any", b"".join(lines))
        return failed_items(once.bulk(index=self.name, operations=body, filter_path=_FAILURES).body)

    def searches(self, bodies: Sequence[Query], timeout: float | None) -> list[list[Found]]:
        """Return the hits of each of several searches, asked for in one request."""
        if not bodies:
            return []
        lines = [json_line(line) for body in bodies for line in ({"allow_partial_search_results": False}, body)]
        # The client's types leave out that it sends bytes as they are.
        searches = cast("Any", b"".join(lines))
        answers = self._within(timeout).msearch(index=self.name, searches=searches)["responses"]
        for answer in answers:
            if "error" in answer:
                raise StoreError(f"{self} could not be searched: {answer['status']}: {error_reason(answer['error'])}")
        return [answer["hits"]["hits"] for answer in answers]

    def documents(self, ids: Sequence[str], timeout: float | None) -> list[Found]:
        """Return text and metadata of those of the documents that are there."""
        answers = self._within(timeout).mget(index=self.name, ids=ids, **ONLY_DOCUMENTS)["docs"]
        for answer in answers:
            if "error" in answer:
                raise StoreError(f"{self} could not be read: {answer['_id']!r}: {error_reason(answer['error'])}")
        return [answer for answer in answers if answer["found"]]

    def count(self, query: Query | None, timeout: float | None) -> int:
        """Return how many documents a query finds; None counts all."""
        answer = self._within(timeout).count(index=self.name, query=query)
        if failures := answer["_shards"].get("failures"):
            raise StoreError(f"{self} could not be counted: {error_reason(failures[0]['reason'])}")
        return int(answer["count"])

    def delete_where(self, query: Query, timeout: float | None) -> None:
        """Delete what a query finds, except documents that are replaced meanwhile."""
        answer = self._within(timeout).delete_by_query(index=self.name, query=query, conflicts="proceed")
        if failed := answer["failures"]:
            reason = error_reason(failed[0]["cause"])
            raise StoreError(f"{self} could not be deleted from: {len(failed)} documents are left: {reason}")

    def refresh(self, timeout: float | None) -> None:
        """Let searches find what was written."""
        self._within(timeout).indices.refresh(index=self.name)

    def pages(self, query: Query | None, size: int, ask: Ask) -> Iterator[list[Found]]:
        """Yield what a query finds now, `size` documents a request; None finds all."""
        point = ask(lambda timeout: self._within(timeout).open_point_in_time(index=self.name, keep_alive=_KEPT_ALIVE))[
            "id"
        ]
        after: list[Any] | None = None

        def page(timeout: float | None) -> Any:
            return self._within(timeout).search(
                pit={"id": point, "keep_alive": _KEPT_ALIVE},
                query=query,
                size=size,
                sort=["_shard_doc"],
                search_after=after,
                track_total_hits=False,
                allow_partial_search_results=False,
                **ONLY_DOCUMENTS,
            )

        try:
            while True:
                answer = ask(page)
                hits = answer["hits"]["hits"]
                if not hits:
                    return
                point, after = answer["pit_id"], hits[-1]["sort"]
                yield hits
        finally:
            # The index or the server may be gone; the server forgets the point in time after its lifetime anyway.
            with suppress(ApiError, TransportError):
                self._within(_LONGEST_CLOSING).close_point_in_time(id=point)

    def server_version(self) -> tuple[int, int]:
        """Return the server's major and minor version, checked by `checked_version`."""
        return checked_version(str(self.client.info()["version"]["number"]))

    def has_enterprise_licence(self) -> bool:
        """Return whether the server's licence includes the ``rrf`` retriever; False if the server does not say."""
        try:
            licence = self.client.license.get()["license"]
        except ApiError:
            return False
        return licence["status"] == "active" and licence["type"] in _ENTERPRISE_LICENCES

    def _within(self, timeout: float | None) -> Elasticsearch:
        return self.client if timeout is None else self.client.options(request_timeout=timeout)


def checked_version(number: str) -> tuple[int, int]:
    """Return the major and minor version in a server's version number.

    Raises:
        StoreError: flagvec does not work with it.

    Example:
        >>> checked_version("8.19.21")
        (8, 19)
    """
    digits = re.match(r"(\d+)\.(\d+)", number)
    version = (int(digits[1]), int(digits[2])) if digits else (0, 0)
    if not _is_supported(version):
        raise StoreError(f"the server is Elasticsearch {number}: flagvec works with 8.19, and with 9.1 and up below 10")
    return version


def takes_packed_vectors(version: tuple[int, int]) -> bool:
    """Return whether a server takes dense vectors as base64 (elastic/elasticsearch pull request 137072)."""
    return version >= _PACKED_VECTORS


def _is_supported(version: tuple[int, ...]) -> bool:
    # 9.0 cannot rescore what a quantised index finds.
    return _OLDEST <= version < _FIRST_UNKNOWN and not (9, 0) <= version < _OLDEST_OF_9
