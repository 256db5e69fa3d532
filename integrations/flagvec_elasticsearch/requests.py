"""`Index`: one index, asked through a client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch, NotFoundError

from flagvec.errors import StoreError
from flagvec.ingest.report import FailedWrite
from flagvec.store.documents import Document
from flagvec_elasticsearch import convert, queries
from flagvec_elasticsearch.failures import answered_reason, error_reason, failed_items, is_about_rank_vectors
from flagvec_elasticsearch.filters import Query

# Of a bulk request's answer no more than which items failed, and why.
_FAILURES = ["items.*._id", "items.*.status", "items.*.error"]
# How long a point in time outlives the last page that was asked of it.
_KEPT_ALIVE = "5m"


class Index:
    """One index of a cluster; each method but `pages` is one request, two for a `bulk`.

    A ``timeout`` is in seconds a request, None for the client's own. Errors of the client pass through.

    Args:
        client: The caller's client, which is not changed.
        name: An index or an alias of one.
    """

    def __init__(self, client: Elasticsearch, name: str) -> None:
        self.client = client
        self.name = name

    def __str__(self) -> str:
        return f"the index {self.name!r}"

    def mapping(self) -> Mapping[str, Any] | None:
        """Return the index's mapping; None if there is no such index.

        Raises:
            StoreError: The name is an alias of several indices.
        """
        try:
            found = self.client.indices.get_mapping(index=self.name).body
        except NotFoundError:
            return None
        if len(found) != 1:
            raise StoreError(f"{self} is an alias of {', '.join(sorted(found))}: choose one of them")
        [index] = found.values()
        return cast("Mapping[str, Any]", index["mappings"])

    def create(self, mappings: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        """Make the index; if another process just did, that is no error.

        Raises:
            StoreError: The server or its licence has no ``rank_vectors``, which the mapping has.
        """
        try:
            self.client.indices.create(index=self.name, mappings=mappings, settings=settings)
        except ApiError as error:
            if error.error == "resource_already_exists_exception":
                return
            if not is_about_rank_vectors(error):
                raise
            raise StoreError(
                f"{self} cannot have rank_vectors, which take an Enterprise licence: {answered_reason(error)}; choose "
                "colbert_field='binary', or leave it out"
            ) from error

    def bulk(self, body: bytes, timeout: float | None) -> list[FailedWrite]:
        """Send a bulk request once, and return the items that failed.

        Raises:
            StoreError: The index is gone; Elasticsearch would make another, with a mapping of its own devising.
        """
        once = self._within(timeout).options(max_retries=0)
        if not once.indices.exists(index=self.name):
            raise StoreError(f"{self} does not exist any more")
        # The client's types do not know that it sends bytes as they are.
        answer = once.bulk(index=self.name, operations=cast("Any", body), filter_path=_FAILURES)
        return failed_items(answer.body)

    def searches(self, bodies: Sequence[Query], timeout: float | None) -> list[list[Mapping[str, Any]]]:
        """Return the hits of each of several searches, asked for in one request.

        Raises:
            StoreError: Elasticsearch refused one of them; says why.
        """
        if not bodies:
            return []
        # The client's types do not know that it sends bytes as they are.
        searches = cast("Any", convert.searches_body(bodies))
        answers = self._within(timeout).msearch(index=self.name, searches=searches)["responses"]
        for answer in answers:
            if "error" in answer:
                raise StoreError(f"{self} refused a search: {answer['status']}: {error_reason(answer['error'])}")
        return [queries.hits(answer) for answer in answers]

    def documents(self, ids: Sequence[str], timeout: float | None) -> list[Document]:
        """Return those of the documents that are there.

        Raises:
            StoreError: One could not be looked for; says why.
        """
        answer = self._within(timeout).mget(index=self.name, ids=ids, **queries.ONLY_DOCUMENTS)
        for found in answer["docs"]:
            if "error" in found:
                raise StoreError(f"{self}: {found['_id']!r} was not read: {error_reason(found['error'])}")
        return [convert.to_document(found) for found in answer["docs"] if found["found"]]

    def count(self, query: Query | None, timeout: float | None) -> int:
        """Return how many documents a query finds, all for None.

        Raises:
            StoreError: A part of the index did not answer; says why.
        """
        answer = self._within(timeout).count(index=self.name, query=query)
        if failures := answer["_shards"].get("failures"):
            raise StoreError(f"{self} was not counted: {error_reason(failures[0]['reason'])}")
        return int(answer["count"])

    def delete_where(self, query: Query, timeout: float | None) -> None:
        """Delete what a query finds; of it, what was replaced meanwhile stays.

        Raises:
            StoreError: Some could not be deleted; says why.
        """
        answer = self._within(timeout).delete_by_query(index=self.name, query=query, conflicts="proceed")
        if failed := answer["failures"]:
            raise StoreError(f"{self}: {len(failed)} documents were not deleted: {error_reason(failed[0]['cause'])}")

    def refresh(self, timeout: float | None) -> None:
        """Make found what was written."""
        self._within(timeout).indices.refresh(index=self.name)

    def pages(self, query: Query | None, size: int, timeout: float | None) -> Iterator[list[Document]]:
        """Yield what a query finds, all for None, as it is now, `size` documents a request."""
        client = self._within(timeout)
        point = client.open_point_in_time(index=self.name, keep_alive=_KEPT_ALIVE)["id"]
        try:
            after: list[Any] | None = None
            while True:
                answer = client.search(
                    pit={"id": point, "keep_alive": _KEPT_ALIVE},
                    query=query,
                    size=size,
                    sort=["_shard_doc"],
                    search_after=after,
                    track_total_hits=False,
                    allow_partial_search_results=False,
                    **queries.ONLY_DOCUMENTS,
                )
                hits = answer["hits"]["hits"]
                if not hits:
                    return
                point, after = answer["pit_id"], hits[-1]["sort"]
                yield [convert.to_document(hit) for hit in hits]
        finally:
            # It may be gone with the index or the server, and else goes of itself.
            with suppress(ApiError, TransportError):
                client.close_point_in_time(id=point)

    def _within(self, timeout: float | None) -> Elasticsearch:
        return self.client if timeout is None else self.client.options(request_timeout=timeout)
