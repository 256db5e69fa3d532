"""LlamaIndex's metadata filters in the portable form of `flagvec.filters.portable`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from flagvec.filters.dates import read_moment
from flagvec.filters.portable import All, Any_, Filter, Not, parse_filter

_OF_ONE_VALUE = {FilterOperator.EQ: "eq", FilterOperator.NE: "ne", FilterOperator.CONTAINS: "eq"}
_OF_A_RANGE = {
    FilterOperator.GT: "gt",
    FilterOperator.GTE: "gte",
    FilterOperator.LT: "lt",
    FilterOperator.LTE: "lte",
}
_OF_SEVERAL_VALUES = {FilterOperator.IN: "in", FilterOperator.NIN: "not in", FilterOperator.ANY: "in"}


def portable_filter(filters: MetadataFilters) -> Filter:
    """Return LlamaIndex's filters as a portable filter.

    - ``==``, ``!=``, ``in``, ``nin``, ``is_empty`` and the condition ``not``, which holds where none of its filters
      does, mean what they mean in LlamaIndex; no filters at all hold everywhere, whatever the condition.
    - ``contains``, ``any`` and ``all`` look for values in a list, ``==`` and ``in`` as well; a value that is no list is
      taken for a list of one.
    - ``>`` to ``<=`` compare numbers; given a string with a date or time in ISO 8601, they compare moments.

    What the operators make of types, missing fields and nested keys, `flagvec.filters.portable.matches` says.

    Args:
        filters: Any filters, nested up to 14 levels.

    Raises:
        TypeError: A value of a type that its operator does not take; names field and operator.
        ValueError: ``text_match`` or ``text_match_insensitive``, in place of which `with_whole_values` puts another; a
            range that begins or ends at a string that is no date; ``all`` of no values; a field's name that cannot be
            filtered by.

    Example:
        >>> portable_filter(MetadataFilters(filters=[MetadataFilter(key="year", value=2020, operator=">=")]))
        Condition(field='year', operator='gte', value=2020)
    """
    parts = tuple(_part(one) for one in filters.filters)
    if not parts:
        return All(())
    match filters.condition or FilterCondition.AND:
        case FilterCondition.AND:
            return parts[0] if len(parts) == 1 else All(parts)
        case FilterCondition.OR:
            return parts[0] if len(parts) == 1 else Any_(parts)
        case FilterCondition.NOT:
            return Not(Any_(parts))


def both(*filters: Filter | None) -> Filter | None:
    """Return the filter that holds where all of these do; None, which holds everywhere, for nothing but None."""
    given = tuple(one for one in filters if one not in (None, All(())))
    return given[0] if len(given) == 1 else All(given) if given else None


def _part(filter: MetadataFilter | MetadataFilters) -> Filter:
    return portable_filter(filter) if isinstance(filter, MetadataFilters) else _condition(filter)


def _condition(filter: MetadataFilter) -> Filter:
    operator, value = filter.operator, filter.value
    where = f"the filter {operator.value!r} on {filter.key!r}"
    if operator in _OF_ONE_VALUE:
        if value is None or isinstance(value, list):
            remedy = "'is_empty' finds missing values, 'in' one of several, 'all' several"
            raise TypeError(f"{where} takes one str, int or float, not {_named(value)}: {remedy}")
        return _portable({filter.key: {_OF_ONE_VALUE[operator]: value}})
    if operator in _OF_A_RANGE:
        return _portable({filter.key: {_OF_A_RANGE[operator]: _bound(value, where)}})
    if operator in _OF_SEVERAL_VALUES:
        return _portable({filter.key: {_OF_SEVERAL_VALUES[operator]: _several(value, where)}})
    match operator:
        case FilterOperator.ALL:
            if not (values := _several(value, where)):
                raise ValueError(f"{where} takes at least one value, or it would hold everywhere: leave it out")
            return _portable({"and": [{filter.key: one} for one in values]})
        case FilterOperator.IS_EMPTY:
            return _portable({filter.key: {"exists": False}})
    raise ValueError(f"{where} is none of whole values, by which the stores filter")


def _bound(value: Any, where: str) -> Any:
    if isinstance(value, str):
        moment = read_moment(value)
        if moment is None:
            raise ValueError(
                f"{where} compares numbers and moments, and {value!r:.80} is neither a number nor a date like "
                "'2024-05-17' or '2024-05-17T10:30:00Z'"
            )
        return moment
    if value is None or isinstance(value, list):
        raise TypeError(f"{where} takes a number or a date, not {_named(value)}")
    return value


def _several(value: Any, where: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{where} takes a list of values, not {_named(value)}")
    return value


def _portable(filter: Mapping[str, Any]) -> Filter:
    parsed = parse_filter(filter)
    assert isinstance(parsed, Filter)
    return parsed


def _named(value: Any) -> str:
    return "None" if value is None else type(value).__name__
