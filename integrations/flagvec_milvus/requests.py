"""The calls of a ``MilvusClient`` on one collection, each with a timeout, a consistency level and its fields named."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import Any, Literal, TypeVar

from flagvec.errors import StoreError
from flagvec.filters.portable import Filter, NativeFilter
from flagvec.ingest.batches import batches
from flagvec_milvus import faults, filters
from flagvec_milvus.collection import Engine
from flagvec_milvus.convert import SPARSE
from flagvec_milvus.filters import ID, Expression
from flagvec_milvus.untyped import MilvusClient, MilvusException

ConsistencyLevel = Literal["Strong", "Session", "Bounded", "Eventually"]
Row = Mapping[str, Any]
Result = TypeVar("Result")

# Servers give no more in one answer, to a search as to a query.
MOST_ROWS = 16_384
# Without a timeout, the client tries up to 75 times.
_TIMEOUT = 60.0
# An HNSW graph is searched for at least this many candidates, and this many times those that are asked for.
_LEAST_EFFORT = 256
_EFFORT = 2

# Milvus Lite takes one write at a time, and has rows out of sight while it moves them from memory to its file.
_lite_turn = threading.Lock()


class Requests:
    """What a store asks of its collection.

    Args:
        client: Any ``MilvusClient``.
        collection_name: The collection.
        consistency_level: Of reads.
    """

    def __init__(self, client: MilvusClient, collection_name: str, consistency_level: ConsistencyLevel) -> None:
        self.client = client
        self.collection_name = collection_name
        self.consistency_level = consistency_level

    @property
    def name(self) -> str:
        """What messages call the collection."""
        return f"the collection {self.collection_name!r}"

    @cached_property
    def engine(self) -> Engine:
        """The engine that answers the client."""
        with self._closed_client_explained():
            return Engine(self.client.get_server_version(timeout=_TIMEOUT))

    def ask(self, call: Callable[..., Any], timeout: float | None = None, **arguments: Any) -> Any:
        """Return what a method of the client returns for the collection.

        Raises:
            StoreError: The client was closed.
        """
        with _lite_turn if self.engine.is_lite else nullcontext(), self._closed_client_explained():
            return call(self.collection_name, timeout=_TIMEOUT if timeout is None else timeout, **arguments)

    def ask_together(self, calls: Sequence[Callable[[], Result]]) -> list[Result]:
        """Return what each of several calls of these methods returns, a server being asked for all at once."""
        if self.engine.is_lite or len(calls) < 2:
            return [call() for call in calls]
        with ThreadPoolExecutor(len(calls)) as threads:
            return [answer.result() for answer in [threads.submit(call) for call in calls]]

    def search(
        self,
        vectors: Sequence[Any],
        anns_field: str,
        where: Expression,
        fields: Sequence[str],
        limit: int,
        timeout: float | None,
    ) -> list[Row]:
        """Return the best hits of a vector search, each with ``id``, ``distance`` and the fields as ``entity``."""
        [hits] = self.ask(
            self.client.search,
            timeout,
            data=vectors,
            anns_field=anns_field,
            limit=limit,
            output_fields=list(fields),
            search_params=self.search_params(anns_field, limit),
            consistency_level=self.consistency_level,
            **where.arguments(),
        )
        return list(hits)

    def hybrid_search(
        self, legs: Sequence[Any], ranker: Any, fields: Sequence[str], limit: int, timeout: float | None
    ) -> list[Row]:
        """Return the best hits of several vector searches that Milvus fuses, each as of `search`."""
        [hits] = self.ask(
            self.client.hybrid_search,
            timeout,
            reqs=legs,
            ranker=ranker,
            limit=limit,
            output_fields=list(fields),
            consistency_level=self.consistency_level,
        )
        return list(hits)

    def search_params(self, field: str, limit: int) -> dict[str, Any]:
        """Return how hard a search for `limit` hits in a field tries: of fields with an HNSW graph, how wide."""
        if self.engine.is_lite or field == SPARSE:
            return {}
        return {"params": {"ef": max(_EFFORT * limit, _LEAST_EFFORT)}}

    def query(self, where: Expression, fields: Sequence[str], timeout: float | None, **options: Any) -> list[Row]:
        """Return the fields of the rows that an expression holds for; `options` are further ones of the client's."""
        return list(
            self.ask(
                self.client.query,
                timeout,
                output_fields=list(fields),
                consistency_level=self.consistency_level,
                **where.arguments(),
                **options,
            )
        )

    def where(self, filter: Filter | NativeFilter | None) -> Expression:
        """Return the expression of a filter."""
        return filters.expression(filter, self.engine.is_lite)

    def chosen(self, ids: Sequence[str]) -> Expression:
        """Return the expression that chooses the documents of these ids."""
        return filters.one_of(ids, self.engine.is_lite)

    def rows(
        self, ids: Sequence[str], fields: Sequence[str], timeout: float | None, at_once: int = 1_000
    ) -> Iterator[Row]:
        """Yield those of the documents that are there, in any order, `at_once` a request at most."""
        for part in batches(ids, at_once):
            yield from self.query(self.chosen(part), fields, timeout)

    def pages(self, where: Expression, fields: Sequence[str], size: int, timeout: float | None) -> Iterator[list[Row]]:
        """Yield all rows that an expression holds for, in the order of their ids, `size` a request at most."""
        # What the client's own iterator asks, which takes no ids with quotes.
        order = {"limit": min(size, MOST_ROWS), "iterator": "True", "reduce_stop_for_best": "True"}
        last = ""
        while True:
            rows = self.query(filters.after(last, self.engine.is_lite) & where, fields, timeout, **order)
            if not rows:
                return
            yield rows
            last = max(row[ID] for row in rows)

    @contextmanager
    def _closed_client_explained(self) -> Iterator[None]:
        try:
            yield
        except MilvusException as error:
            if not faults.is_closed_client(error):
                raise
            raise StoreError(f"the client of {self.name} was closed: make a new MilvusClient and store") from error
