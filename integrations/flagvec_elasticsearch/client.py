"""`Index`: the requests to one index."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from elastic_transport import TransportError
from elasticsearch import ApiError, AuthorizationException, Elasticsearch, NotFoundError

from flagvec.errors import StoreError
from flagvec.ingest.report import FailedWrite
from flagvec.store.backend import Ask
from flagvec_elasticsearch.convert import json_line
from flagvec_elasticsearch.errors import (
    IndexRefused,
    PartRefused,
    error_reason,
    failed_items,
    lacks_privilege,
    passes,
    refusal_of_all,
)
from flagvec_elasticsearch.filters import Query
from flagvec_elasticsearch.queries import ONLY_DOCUMENTS

_logger = logging.getLogger(__name__)

# A hit, or what ``get`` found.
Found = Mapping[str, Any]

# What a bulk request's answer is cut down to: the items that failed, and why.
_FAILURES = ["items.*._id", "items.*.status", "items.*.error"]
# What is read of an index to open it. These need no privilege but view_index_metadata.
_DESCRIBED = ["*.mappings", "*.settings.index.uuid", "*.settings.index.version"]
# How long a point in time outlives the last page.
_KEPT_ALIVE = "5m"
_LONGEST_CLOSING = 1.0

_ENTERPRISE_LICENCES = ("enterprise", "trial")


@dataclass(frozen=True, slots=True)
class FoundIndex:
    """The index behind a name.

    Args:
        name: Its own name, even if it was found by an alias.
        uuid: Differs from that of every other index, also of an earlier one of the same name.
        mapping: Its mapping.
        created: Which versions of Elasticsearch may have created it, in the server's words.
    """

    name: str
    uuid: str
    mapping: Mapping[str, Any]
    created: str

    @property
    def identity(self) -> str:
        """The name and the uuid in one string."""
        return _identity(self.name, self.uuid)


class Index:
    """One index of a cluster; each method is one request, except `pages`, `drop` and `bulk`.

    A ``timeout`` is in seconds a request, None for the client's own. The client's exceptions pass through. An answer
    with an error in a part of it raises a `PartRefused`, except in `bulk`.

    Args:
        client: The caller's client, whose settings stay as they are.
        name: An index, or an alias of one.

    Attributes:
        opened: The index that searches and writes are meant for. They are refused if the name leads to another; with
            None they are not.
    """

    def __init__(self, client: Elasticsearch, name: str) -> None:
        self.client = client
        self.name = name
        self.opened: FoundIndex | None = None

    def __str__(self) -> str:
        return f"the index {self.name!r}"

    def found(self) -> FoundIndex | None:
        """Return the index that the name leads to; None if it leads nowhere.

        Raises:
            StoreError: The name is an alias of several indices.
        """
        try:
            found = self.client.indices.get(index=self.name, filter_path=_DESCRIBED, human=True).body
        except NotFoundError:
            return None
        if len(found) != 1:
            raise StoreError(f"{self} is an alias of {', '.join(sorted(found))}: choose one of them")
        [(name, index)] = found.items()
        settings = index["settings"]["index"]
        created = settings["version"].get("created_string", "")
        return FoundIndex(name, settings["uuid"], index.get("mappings", {}), created)

    def identity(self, timeout: float | None) -> str | None:
        """Return the names and uuids of the indices that the name leads to; None if it leads nowhere."""
        try:
            return self._identity_now(self._within(timeout))
        except NotFoundError:
            return None

    def leads_to(self, name: str) -> str | None:
        """Return the index that a name or an alias leads to; None if nothing has this name.

        Raises:
            StoreError: It is an alias of several.
        """
        try:
            found = sorted(self.client.indices.get_settings(index=name, name="index.uuid").body)
        except NotFoundError:
            return None
        if len(found) != 1:
            raise StoreError(f"the name {name!r} is an alias of {', '.join(found)}: choose one of them")
        return str(found[0])

    def switch_alias(self, alias: str) -> None:
        """Let an alias lead to the open index, in one atomic request. It is made if it does not exist.

        Raises:
            StoreError: It is the name of an index, or an alias of several.
        """
        assert self.opened is not None, "the store was opened"
        before = self.leads_to(alias)
        if before == alias:
            raise StoreError(
                f"the alias {alias!r} cannot be made, because an index has this name: choose another alias, or delete "
                "the index"
            )
        added = {"add": {"index": self.opened.name, "alias": alias}}
        removed = [] if before is None else [{"remove": {"index": before, "alias": alias}}]
        self.client.indices.update_aliases(actions=[*removed, added])

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
            self.client.indices.delete(index=found.name)

    def bulk(self, lines: Sequence[bytes], timeout: float | None) -> list[FailedWrite]:
        """Send a bulk request once, and return the items that failed.

        Raises:
            IndexRefused: The index refused all of them, or the name leads to another index than `opened`.
        """
        once = self._within(timeout).options(max_retries=0)
        # This raises if the index is missing. A bulk request would make one, with a mapping of the server's choice.
        self._refuse_another(self._identity_now(once))
        is_alias = self.opened is not None and self.opened.name != self.name
        # The client's types leave out that it sends bytes as they are.
        body = cast("Any", b"".join(lines))
        # With require_alias, an alias that was removed in this very moment is no reason to make an index either.
        answer = once.bulk(index=self.name, operations=body, filter_path=_FAILURES, require_alias=is_alias).body
        if reason := refusal_of_all(answer, len(lines)):
            raise IndexRefused(f"{self} refused everything: {reason}")
        return failed_items(answer)

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
                reason = f"{answer['status']}: {error_reason(answer['error'])}"
                raise PartRefused(reason, passes(answer["error"], answer["status"]))
        found = [answer["hits"]["hits"] for answer in answers]
        self._refuse_hits_of_others(hit for hits in found for hit in hits)
        return found

    def documents(self, ids: Sequence[str], timeout: float | None) -> list[Found]:
        """Return text and metadata of those of the documents that are there."""
        answers = self._within(timeout).mget(index=self.name, ids=ids, **ONLY_DOCUMENTS)["docs"]
        for answer in answers:
            if "error" in answer:
                raise PartRefused(f"{answer['_id']!r}: {error_reason(answer['error'])}", passes(answer["error"]))
        return [answer for answer in answers if answer["found"]]

    def count(self, query: Query | None, timeout: float | None) -> int:
        """Return how many documents a query finds; None counts all."""
        answer = self._within(timeout).count(index=self.name, query=query)
        if failures := answer["_shards"].get("failures"):
            reason = failures[0]["reason"]
            raise PartRefused(error_reason(reason), passes(reason))
        return int(answer["count"])

    def delete_where(self, query: Query, timeout: float | None) -> None:
        """Delete what a query finds, except documents that are replaced meanwhile."""
        answer = self._within(timeout).delete_by_query(index=self.name, query=query, conflicts="proceed")
        if failed := answer["failures"]:
            reason = f"{len(failed)} documents are left: {error_reason(failed[0]['cause'])}"
            raise PartRefused(reason, all(passes(one["cause"], one.get("status")) for one in failed))

    def refresh(self, timeout: float | None) -> None:
        """Let searches find what was written, unless the user lacks the privilege; then the server does it later."""
        try:
            self._within(timeout).indices.refresh(index=self.name)
        except AuthorizationException as error:
            if not lacks_privilege(error):
                raise
            _logger.warning(
                "%s: the user lacks the index privilege 'maintenance', so searches find what was written after the "
                "index's refresh_interval, which is a second by default",
                self,
            )

    def pages(self, query: Query | None, size: int, ask: Ask, read: Query = ONLY_DOCUMENTS) -> Iterator[list[Found]]:
        """Yield what a query finds now, `size` documents a request; None finds all. `read` chooses the fields."""
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
                **_parameters(read),
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

    def has_enterprise_licence(self) -> bool:
        """Return whether the server's licence includes the ``rrf`` retriever; False if the server does not say."""
        try:
            licence = self.client.license.get()["license"]
        except ApiError:
            return False
        return licence["status"] == "active" and licence["type"] in _ENTERPRISE_LICENCES

    def _identity_now(self, client: Elasticsearch) -> str:
        found = client.indices.get_settings(index=self.name, name="index.uuid").body
        return ", ".join(_identity(name, found[name]["settings"]["index"]["uuid"]) for name in sorted(found))

    def _refuse_another(self, identity: str) -> None:
        if self.opened is not None and identity != self.opened.identity:
            raise IndexRefused(f"{self} leads to {identity} now, and was opened as {self.opened.identity}")

    def _refuse_hits_of_others(self, hits: Iterable[Found]) -> None:
        if self.opened is not None and (others := {hit["_index"] for hit in hits} - {self.opened.name}):
            raise IndexRefused(f"{self} leads to {', '.join(sorted(others))} now, and was opened as {self.opened.name}")

    def _within(self, timeout: float | None) -> Elasticsearch:
        if timeout is None:
            return self.client
        # The client gives each of its own repetitions the same time again.
        return self.client.options(request_timeout=timeout, retry_on_timeout=False)


def _parameters(read: Query) -> dict[str, Any]:
    # The client's methods call it source.
    return {name.lstrip("_"): value for name, value in read.items()}


def _identity(name: str, uuid: str) -> str:
    return f"{name!r} (uuid {uuid})"
