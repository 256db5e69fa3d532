"""The calls of a ``MilvusClient`` on one collection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import cached_property
from typing import Any, Literal, TypeVar

from more_itertools import chunked
from pymilvus import MilvusClient
from pymilvus.client.types import LoadState
from pymilvus.exceptions import DescribeCollectionException, ErrorCode

from flagvec.store.backend import Ask
from flagvec_milvus import filters, lite
from flagvec_milvus.convert import Row
from flagvec_milvus.errors import client_log_off
from flagvec_milvus.filters import Expression
from flagvec_milvus.schema import ID, SPARSE, Contents, Engine
from flagvec_milvus.settings import NO_SETTINGS, Settings

ConsistencyLevel = Literal["Strong", "Session", "Bounded", "Eventually"]
Result = TypeVar("Result")

# A server returns no more rows for one search or query.
MOST_ROWS = 16_384
# Without a timeout, the client retries up to 75 times.
_TIMEOUT = 60.0
# How many candidates a search of an HNSW graph looks at: at least so many, and a multiple of its limit.
_LEAST_EFFORT = 256
_EFFORT = 2


class CollectionClient:
    """A ``MilvusClient``'s calls on one collection, whose reads have one consistency level.

    A timeout is in seconds, None for 60. ``outputs`` are the fields that rows and hits have. The client's exceptions
    are raised as they are.
    """

    def __init__(
        self,
        client: MilvusClient,
        collection_name: str,
        consistency_level: ConsistencyLevel,
        settings: Settings = NO_SETTINGS,
    ) -> None:
        self.collection_name = collection_name
        self._client = client
        self._consistency_level = consistency_level
        self._settings = settings

    @cached_property
    def engine(self) -> Engine:
        """The engine behind the client."""
        self.check_process()
        with client_log_off():
            found = Engine(self._client.get_server_version(timeout=_TIMEOUT))
        if found.is_lite:
            lite.make_durable()
        return found

    def check_process(self) -> None:
        """Raise a `StoreError` if only a parent of this process can use the database."""
        lite.check_process(self._client, f"the collection {self.collection_name!r}")

    def description(self, timeout: float | None = None) -> dict[str, Any] | None:
        """Return Milvus' description of what the name or alias leads to; None if it does not exist."""
        try:
            described: dict[str, Any] = self._call(self._client.describe_collection, timeout)
        except DescribeCollectionException as error:
            if error.code != ErrorCode.COLLECTION_NOT_FOUND:
                raise
            return None
        return described

    def create(self, contents: Contents) -> None:
        """Make the collection and its indexes."""
        self._settings.refuse_if_embedded(self.engine.is_lite, self.collection_name)
        arguments = contents.create_arguments(self.engine)
        self._call(self._client.create_collection, **arguments, **self._settings.create)
        # sync=False does not wait for the indexes, because the collection is empty.
        self._call(
            self._client.create_index,
            index_params=contents.index_params(self.engine, self._settings.indexes),
            sync=False,
        )

    def load(self) -> None:
        """Load the collection, so that it can be searched, unless it is loaded."""
        # Users who may only read cannot load.
        if self._call(self._client.get_load_state)["state"] != LoadState.Loaded:
            self._call(self._client.load_collection, **self._settings.load)

    def drop(self) -> None:
        """Delete the collection."""
        self._call(self._client.drop_collection)

    def upsert(self, rows: Sequence[Row], timeout: float | None) -> None:
        """Write rows once; the caller retries."""
        self._call(self._client.upsert, timeout, data=rows, retry_on_rate_limit=False)

    def delete(self, where: Expression, timeout: float | None) -> None:
        """Delete the rows for which an expression holds."""
        self._call(self._client.delete, timeout, **where.arguments())

    def flush(self, timeout: float | None) -> None:
        """Move what was written from memory to the disk."""
        self._call(self._client.flush, timeout)

    def search(
        self, field: str, vector: Any, where: Expression, outputs: Sequence[str], limit: int, timeout: float | None
    ) -> list[Row]:
        """Return the best hits of a vector in a field, each with ``id``, ``distance`` and the outputs in ``entity``."""
        params = self.search_params(field, limit)
        options = {"anns_field": field, "limit": limit, "output_fields": list(outputs), "search_params": params}
        [hits] = self._read(self._client.search, timeout, data=[vector], **options, **where.arguments())
        return list(hits)

    def hybrid_search(
        self, legs: Sequence[Any], ranker: Any, outputs: Sequence[str], limit: int, timeout: float | None
    ) -> list[Row]:
        """Return the best hits of several searches that Milvus fuses, in the form of `search`."""
        options = {"reqs": legs, "ranker": ranker, "limit": limit, "output_fields": list(outputs)}
        [hits] = self._read(self._client.hybrid_search, timeout, **options)
        return list(hits)

    def search_params(self, field: str, limit: int) -> dict[str, Any]:
        """Return the parameters of a search for `limit` hits in a field."""
        if self.engine.is_lite or field == SPARSE:
            return {}
        return {"params": {"ef": max(_EFFORT * limit, _LEAST_EFFORT)}}

    def rows(
        self, ids: Sequence[str], outputs: Sequence[str], timeout: float | None, per_request: int = 1_000
    ) -> Iterator[Row]:
        """Yield the rows of those ids that are there, in any order."""
        for part in chunked(ids, per_request):
            yield from self._query(filters.one_of(part, self.engine.is_lite), outputs, timeout)

    def pages(self, where: Expression, outputs: Sequence[str], size: int, ask: Ask) -> Iterator[list[Row]]:
        """Yield all rows for which an expression holds, ordered by id, at most `size` a request."""
        # These are the options of the client's own iterator, which fails on ids with quotes.
        ordered = {"limit": min(size, MOST_ROWS), "iterator": "True", "reduce_stop_for_best": "True"}
        last = ""

        def page(timeout: float | None) -> list[Row]:
            return self._query(filters.after(last, self.engine.is_lite) & where, outputs, timeout, **ordered)

        while rows := ask(page):
            yield rows
            last = max(row[ID] for row in rows)

    def count(self, where: Expression, timeout: float | None) -> int:
        """Return the number of rows for which an expression holds."""
        [row] = self._query(where, ["count(*)"], timeout)
        return int(row["count(*)"])

    def at_once(self, calls: Sequence[Callable[[], Result]]) -> list[Result]:
        """Return the results of several calls of these methods, which a server gets at the same time."""
        if self.engine.is_lite or len(calls) < 2:
            return [call() for call in calls]
        with ThreadPoolExecutor(len(calls)) as threads:
            return [answer.result() for answer in [threads.submit(call) for call in calls]]

    def _query(self, where: Expression, outputs: Sequence[str], timeout: float | None, **options: Any) -> list[Row]:
        options |= {"output_fields": list(outputs), **where.arguments()}
        return list(self._read(self._client.query, timeout, **options))

    def _read(self, method: Callable[..., Any], timeout: float | None, **arguments: Any) -> Any:
        return self._call(method, timeout, consistency_level=self._consistency_level, **arguments)

    def _call(self, method: Callable[..., Any], timeout: float | None = None, **arguments: Any) -> Any:
        self.check_process()
        with lite.turn if self.engine.is_lite else nullcontext(), client_log_off():
            return method(self.collection_name, timeout=_TIMEOUT if timeout is None else timeout, **arguments)
