"""Which nodes a call is about: those of some ids, those that filters hold for, or those of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.vector_stores.types import MetadataFilters

from flagvec.filters.portable import Filter, parse_filter
from llama_index_flagvec.filters import both, portable_filter
from llama_index_flagvec.nodes import NODE_ID


def chosen(node_ids: Sequence[str] | None, filters: MetadataFilters | None) -> Filter | None:
    """Return the filter for the nodes of some ids that filters hold for; None in place of either is for any node.

    Raises:
        TypeError: A value that its operator does not take.
        ValueError: A filter that `portable_filter` refuses.
    """
    return with_ids(None if filters is None else both(portable_filter(filters)), NODE_ID, node_ids)


def unwanted(node_ids: Sequence[str] | None, filters: MetadataFilters | None) -> dict[str, Any]:
    """Return what ``HybridStore.delete`` takes for the nodes of some ids that filters hold for.

    Raises:
        TypeError: Neither ids nor filters; a value that its operator does not take.
        ValueError: Filters that hold everywhere, without ids; a filter that `portable_filter` refuses.
    """
    if filters is None:
        if node_ids is None:
            raise TypeError("delete_nodes takes node_ids, filters or both; clear() deletes all nodes")
        return {"ids": node_ids}
    filter = chosen(node_ids, filters)
    if filter is None:
        raise ValueError("empty filters hold for every node: clear() deletes all nodes")
    return {"filter": filter}


def with_ids(filter: Filter | None, key: str, ids: Sequence[str] | None) -> Filter | None:
    """Return the filter that holds where `filter` does and the field `key` is one of some ids; None for any."""
    if ids is None:
        return filter
    chosen = parse_filter({key: {"in": list(ids)}})
    assert isinstance(chosen, Filter)
    return both(filter, chosen)
