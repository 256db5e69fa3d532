"""LlamaIndex's metadata filters and ids in the portable form of `flagvec.filters.portable`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from flagvec.filters.dates import read_moment
from flagvec.filters.portable import All, Any_, Filter, Not, parse_filter
from flagvec.filters.typed_values import typed_fields
from flagvec.store.documents import Document
from llama_index_flagvec.nodes import NODE_ID

_ONE_VALUE = {FilterOperator.EQ: "eq", FilterOperator.NE: "ne", FilterOperator.CONTAINS: "eq"}
_RANGE = {FilterOperator.GT: "gt", FilterOperator.GTE: "gte", FilterOperator.LT: "lt", FilterOperator.LTE: "lte"}
_SEVERAL_VALUES = {FilterOperator.IN: "in", FilterOperator.NIN: "not in", FilterOperator.ANY: "in"}
_TEXT_MATCH = (FilterOperator.TEXT_MATCH, FilterOperator.TEXT_MATCH_INSENSITIVE)


def portable_filter(filters: MetadataFilters) -> Filter:
    """Return LlamaIndex's filters as a portable filter.

    - ``==``, ``!=``, ``in``, ``nin`` and ``is_empty`` mean what they mean in LlamaIndex. The condition ``not`` holds
      if none of its filters holds. Without any filters, every condition holds.
    - ``contains``, ``any`` and ``all`` look for values in a list, as do ``==`` and ``in``. A single value counts as a
      list of one.
    - ``>``, ``>=``, ``<`` and ``<=`` compare numbers, or moments if the value is a date or time in ISO 8601.

    `flagvec.filters.portable.matches` describes types, missing fields and nested keys.

    Args:
        filters: Any filters, nested up to 14 levels.

    Raises:
        TypeError: A value of a type that its operator does not take; names field and operator.
        ValueError: ``text_match`` or ``text_match_insensitive``, which `with_whole_values` replaces; a range from or
            to a string that is not a date; ``all`` without values; an invalid field name.

    Example:
        >>> portable_filter(MetadataFilters(filters=[MetadataFilter(key="year", value=2020, operator=">=")]))
        Condition(field='year', operator='gte', value=2020)
    """
    parts = tuple(
        portable_filter(one) if isinstance(one, MetadataFilters) else _condition(one) for one in filters.filters
    )
    if not parts:
        return All(())
    match filters.condition or FilterCondition.AND:
        case FilterCondition.AND:
            return parts[0] if len(parts) == 1 else All(parts)
        case FilterCondition.OR:
            return parts[0] if len(parts) == 1 else Any_(parts)
        case FilterCondition.NOT:
            return Not(Any_(parts))


def with_whole_values(
    filters: MetadataFilters, scroll: Callable[[Filter], Iterable[Document]], within: tuple[Filter, ...] = ()
) -> MetadataFilters:
    """Return filters with an ``in`` in place of each ``text_match``, because the stores compare whole values.

    The values are those that contain the text. For each ``text_match`` this reads the metadata of all documents that
    have its field, except documents for which another filter that must hold does not.

    Args:
        filters: Any filters, nested or not.
        scroll: Iterates over the documents for which a filter holds.
        within: Filters that hold for all documents that matter.

    Raises:
        TypeError: The value of a ``text_match`` is not a ``str``; names field and operator.
    """
    if filters.condition in (None, FilterCondition.AND):
        others = [one for one in filters.filters if not _has_text_match(one)]
        within = (*within, portable_filter(MetadataFilters(filters=others)))

    def part(one: MetadataFilter | MetadataFilters) -> MetadataFilter | MetadataFilters:
        if isinstance(one, MetadataFilters):
            return with_whole_values(one, scroll, within)
        if one.operator not in _TEXT_MATCH:
            return one
        documents = scroll(All((*within, _parsed({one.key: {"exists": True}}))))
        return MetadataFilter(key=one.key, operator=FilterOperator.IN, value=_values_with(one, documents))

    return MetadataFilters(filters=[part(one) for one in filters.filters], condition=filters.condition)


def chosen(node_ids: Sequence[str] | None, filters: MetadataFilters | None) -> Filter | None:
    """Return the filter for nodes of these ids for which `filters` hold; None if it holds for every node."""
    return with_ids(None if filters is None else portable_filter(filters), NODE_ID, node_ids)


def with_ids(filter: Filter | None, field: str, ids: Sequence[str] | None) -> Filter | None:
    """Return the filter that holds if `filter` holds and `field` is one of `ids`; None restricts nothing."""
    if filter == All(()):
        filter = None
    if ids is None:
        return filter
    of_ids = _parsed({field: {"in": list(ids)}})
    return of_ids if filter is None else All((filter, of_ids))


def _has_text_match(part: MetadataFilter | MetadataFilters) -> bool:
    if isinstance(part, MetadataFilters):
        return any(_has_text_match(one) for one in part.filters)
    return part.operator in _TEXT_MATCH


def _values_with(filter: MetadataFilter, documents: Iterable[Document]) -> list[str]:
    """Return the values of the filter's field that contain its text."""
    if not isinstance(filter.value, str):
        raise TypeError(
            f"the filter {filter.operator.value!r} on {filter.key!r} takes a str, not {_named(filter.value)}"
        )
    folded = str.lower if filter.operator == FilterOperator.TEXT_MATCH_INSENSITIVE else str
    values = (value for one in documents for value in typed_fields(one.metadata).strings.get(filter.key, ()))
    return sorted({value for value in values if folded(filter.value) in folded(value)})


def _condition(filter: MetadataFilter) -> Filter:
    operator, value = filter.operator, filter.value
    where = f"the filter {operator.value!r} on {filter.key!r}"
    if operator in _ONE_VALUE:
        if value is None or isinstance(value, list):
            raise TypeError(
                f"{where} takes one str, int or float, not {_named(value)}: use 'is_empty' to find missing values, "
                "'in' for one of several, and 'all' for several"
            )
        return _parsed({filter.key: {_ONE_VALUE[operator]: value}})
    if operator in _RANGE:
        return _parsed({filter.key: {_RANGE[operator]: _bound(value, where)}})
    if operator in _SEVERAL_VALUES:
        return _parsed({filter.key: {_SEVERAL_VALUES[operator]: _several(value, where)}})
    match operator:
        case FilterOperator.ALL:
            if not (values := _several(value, where)):
                raise ValueError(f"{where} has no values, so that it would hold for every node: leave it out")
            return _parsed({"and": [{filter.key: one} for one in values]})
        case FilterOperator.IS_EMPTY:
            return _parsed({filter.key: {"exists": False}})
    raise ValueError(f"{where} is not supported here: replace it by the whole values, as with_whole_values does")


def _bound(value: Any, where: str) -> Any:
    if isinstance(value, str):
        moment = read_moment(value)
        if moment is None:
            raise ValueError(
                f"{where} has {value!r:.80}, which is not a date: give a number, or a date like '2024-05-17' or "
                "'2024-05-17T10:30:00Z'"
            )
        return moment
    if value is None or isinstance(value, list):
        raise TypeError(f"{where} takes a number or a date, not {_named(value)}")
    return value


def _several(value: Any, where: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{where} takes a list of values, not {_named(value)}")
    return value


def _parsed(filter: Mapping[str, Any]) -> Filter:
    found = parse_filter(filter)
    assert isinstance(found, Filter)
    return found


def _named(value: Any) -> str:
    return "None" if value is None else type(value).__name__
