"""What ``text_match`` looks for in a store, and what it becomes."""

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
    """Iterates over the documents that a filter holds for, and notes which."""

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


def test_it_becomes_the_values_that_have_the_text_in_them():
    assert replaced(condition("title", "text_match", "Rice")) == [
        condition("title", "in", ["Rice in water", "no Rice"])
    ]


def test_capital_and_small_letters_may_be_the_same():
    [insensitive] = replaced(condition("title", "text_match_insensitive", "RICE"))
    assert insensitive.value == ["Rice in water", "no Rice", "price of salt"]


def test_a_text_that_no_value_has_becomes_no_values():
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


def test_where_one_of_several_may_hold_the_others_say_nothing_of_what_is_read():
    scroll = Scroll()
    replaced(condition("title", "text_match", "Rice"), condition("lang", "==", "de"), joined="or", scroll=scroll)
    assert scroll.read == ["rice", "price", "milk", "number"]


def test_filters_without_it_stay_as_they_are_and_nothing_is_read():
    filters = MetadataFilters(filters=[condition("lang", "==", "de")])
    scroll = Scroll()
    assert with_whole_values(filters, scroll) == filters
    assert scroll.read == []


def test_a_value_that_is_no_text_is_named():
    with pytest.raises(TypeError, match="'text_match' on 'title' takes a str, not int"):
        replaced(condition("title", "text_match", 5))


def test_a_field_that_cannot_be_filtered_by_is_named():
    with pytest.raises(ValueError, match="this field cannot be filtered by"):
        replaced(condition("file name", "text_match", "a"))
