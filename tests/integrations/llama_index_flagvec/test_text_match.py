"""A ``text_match`` becomes the whole values that contain its text."""

import pytest
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

from flagvec import Document
from flagvec.filters.portable import matches
from llama_index_flagvec.filters import with_whole_values

DOCUMENTS = [
    Document("rice", "", {"title": "Rice in water", "lang": "en"}),
    Document("price", "", {"title": "price of salt", "lang": "en"}),
    Document("milk", "", {"title": ["Milk", "no Rice"], "lang": "de"}),
    Document("number", "", {"title": 5, "lang": "en"}),
    Document("none", "", {"lang": "en"}),
]


class Scroll:
    """Iterates over the documents for which a filter holds, and notes which."""

    def __init__(self):
        self.read = []

    def __call__(self, filter):
        found = [document for document in DOCUMENTS if matches(filter, document.metadata)]
        self.read += [document.id for document in found]
        return found


def condition(key, operator, value):
    return MetadataFilter(key=key, value=value, operator=operator)


def replaced(*parts, joined="and", scroll=None):
    return with_whole_values(MetadataFilters(filters=list(parts), condition=joined), scroll or Scroll()).filters


def test_it_becomes_the_values_that_contain_the_text():
    assert replaced(condition("title", "text_match", "Rice")) == [
        condition("title", "in", ["Rice in water", "no Rice"])
    ]


def test_upper_and_lower_case_may_be_the_same():
    [insensitive] = replaced(condition("title", "text_match_insensitive", "RICE"))
    assert insensitive.value == ["Rice in water", "no Rice", "price of salt"]


def test_a_text_that_no_value_contains_becomes_no_values():
    assert replaced(condition("title", "text_match", "bread")) == [condition("title", "in", [])]


def test_the_characters_of_patterns_stand_for_themselves():
    assert replaced(condition("title", "text_match", "R.*e%")) == [condition("title", "in", [])]


def test_nested_ones_are_replaced_in_their_place():
    inner = MetadataFilters(
        filters=[condition("title", "text_match", "Milk"), condition("lang", "==", "de")], condition="not"
    )
    outer = condition("title", "text_match", "salt")
    [first, second] = replaced(outer, inner, joined="or")
    assert first == condition("title", "in", ["price of salt"])
    assert second.condition == "not"
    assert second.filters == [condition("title", "in", ["Milk"]), condition("lang", "==", "de")]


def test_only_documents_are_read_that_have_the_field_and_for_which_the_other_filters_hold():
    scroll = Scroll()
    replaced(condition("title", "text_match", "Rice"), condition("lang", "==", "de"), scroll=scroll)
    assert scroll.read == ["milk"]


def test_a_filter_that_must_hold_limits_what_a_nested_one_reads():
    scroll = Scroll()
    either = MetadataFilters(
        filters=[condition("title", "text_match", "Rice"), condition("title", "text_match", "x")], condition="or"
    )
    replaced(either, condition("lang", "==", "de"), scroll=scroll)
    assert scroll.read == ["milk", "milk"]


def test_all_documents_with_the_field_are_read_if_one_filter_is_enough():
    scroll = Scroll()
    replaced(condition("title", "text_match", "Rice"), condition("lang", "==", "de"), joined="or", scroll=scroll)
    assert scroll.read == ["rice", "price", "milk", "number"]


def test_filters_without_it_stay_as_they_are_and_nothing_is_read():
    filters = MetadataFilters(filters=[condition("lang", "==", "de")])
    scroll = Scroll()
    assert with_whole_values(filters, scroll) == filters
    assert scroll.read == []


def test_a_value_that_is_not_a_str_is_named():
    with pytest.raises(TypeError, match="'text_match' on 'title' takes a str, not int"):
        replaced(condition("title", "text_match", 5))


def test_a_field_that_cannot_be_filtered_by_is_named():
    with pytest.raises(ValueError, match="this field cannot be filtered by"):
        replaced(condition("file name", "text_match", "a"))
