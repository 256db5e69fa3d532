"""LlamaIndex's ``text_match`` on stores that filter by whole values: it becomes those that have the text in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from flagvec.filters.portable import All, Any_, Filter, parse_filter
from flagvec.filters.typed_values import typed_fields
from flagvec.store.documents import Document
from llama_index_flagvec.filters import portable_filter

_TEXT_MATCH = (FilterOperator.TEXT_MATCH, FilterOperator.TEXT_MATCH_INSENSITIVE)


@dataclass(frozen=True, slots=True)
class _TextMatch:
    """A condition that a field holds a text as a part of its value.

    Args:
        field: The field.
        text: The text, in small letters if `insensitive`.
        insensitive: Whether capital and small letters are the same.
    """

    field: str
    text: str
    insensitive: bool

    def holds(self, value: str) -> bool:
        return self.text in (value.lower() if self.insensitive else value)


def with_whole_values(filters: MetadataFilters, scroll: Callable[[Filter], Iterable[Document]]) -> MetadataFilters:
    """Return filters in which each ``text_match`` is an ``in`` of the values that it holds for.

    Those are looked for in the metadata of all documents that can have one: which have the field, and for which the
    other filters hold where all must. Filters without a ``text_match`` are returned as they are.

    Args:
        filters: Any filters, nested or not.
        scroll: What iterates over the documents that a filter holds for.

    Raises:
        TypeError: Another value than a ``str`` for a ``text_match``; names field and operator.
        ValueError: A filter that `portable_filter` refuses.
    """
    found: dict[_TextMatch, set[str]] = {_text_match(one): set() for one in _text_matches(filters)}
    if not found:
        return filters
    for document in scroll(_with_a_value(filters, found)):
        strings = typed_fields(document.metadata).strings
        for match, values in found.items():
            values.update(filter(match.holds, strings.get(match.field, ())))
    return _replaced(filters, found)


def _text_matches(part: MetadataFilter | MetadataFilters) -> Iterator[MetadataFilter]:
    if isinstance(part, MetadataFilters):
        for one in part.filters:
            yield from _text_matches(one)
    elif part.operator in _TEXT_MATCH:
        yield part


def _text_match(filter: MetadataFilter) -> _TextMatch:
    if not isinstance(filter.value, str):
        raise TypeError(
            f"the filter {filter.operator.value!r} on {filter.key!r} takes a str, not {type(filter.value).__name__}"
        )
    insensitive = filter.operator == FilterOperator.TEXT_MATCH_INSENSITIVE
    return _TextMatch(filter.key, filter.value.lower() if insensitive else filter.value, insensitive)


def _with_a_value(filters: MetadataFilters, matches: Iterable[_TextMatch]) -> Filter:
    """Return the filter for the documents that may have values to find."""
    all_hold = filters.condition in (None, FilterCondition.AND)
    others = [one for one in filters.filters if all_hold and not any(_text_matches(one))]
    fields = sorted({match.field for match in matches})
    there = tuple(_exists(field) for field in fields)
    return All((portable_filter(MetadataFilters(filters=others)), Any_(there)))


def _exists(field: str) -> Filter:
    condition = parse_filter({field: {"exists": True}})
    assert isinstance(condition, Filter)
    return condition


def _replaced(filters: MetadataFilters, found: Mapping[_TextMatch, Iterable[str]]) -> MetadataFilters:
    def part(one: MetadataFilter | MetadataFilters) -> MetadataFilter | MetadataFilters:
        if isinstance(one, MetadataFilters):
            return _replaced(one, found)
        if one.operator not in _TEXT_MATCH:
            return one
        return MetadataFilter(key=one.key, operator=FilterOperator.IN, value=sorted(found[_text_match(one)]))

    return MetadataFilters(filters=[part(one) for one in filters.filters], condition=filters.condition)
