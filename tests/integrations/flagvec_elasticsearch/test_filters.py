"""The portable filter as queries, on paper; the contract suite asks the server whether they mean what they should."""

from datetime import datetime, timezone

import pytest

from flagvec.filters.portable import NativeFilter, parse_filter
from flagvec_elasticsearch import terms
from flagvec_elasticsearch.filters import to_query


def query(filter):
    return to_query(parse_filter(filter))


def depth(value):
    """Return how many queries are nested in one another."""
    if isinstance(value, list):
        return max(map(depth, value), default=0)
    if isinstance(value, dict):
        own = 1 if value.keys() & {"bool", "term", "terms", "range", "match_none"} else 0
        return own + max(map(depth, value.values()), default=0)
    return 0


@pytest.mark.parametrize(
    ("value", "field", "term"),
    [
        ("a", "strings", "x=a"),
        ("1", "strings", "x=1"),
        (True, "booleans", "x=true"),
        (1, "numbers", terms.number_term("x", 1)),
        (1.5, "numbers", terms.number_term("x", 1.5)),
        (2**53, "integers", "x=9007199254740992"),
        (float(2**53), "numbers", terms.number_term("x", 2**53)),
        (datetime(2024, 1, 1), "moments", terms.moment_term("x", datetime(2024, 1, 1, tzinfo=timezone.utc))),
    ],
)
def test_a_value_is_looked_for_in_the_field_of_its_type(value, field, term):
    assert query({"x": value}) == {"term": {f"typed.{field}": term}}


@pytest.mark.parametrize("hostile", ['"}]}', "*", "a OR b", "\\", "{{x}}", "米", "😀", "\x00", "=", "#", ""])
def test_a_hostile_string_is_a_value_like_any_other(hostile):
    assert query({"x": hostile}) == {"term": {"typed.strings": f"x={hostile}"}}


def test_a_range_ends_where_the_terms_of_the_path_end():
    assert query({"n": {"gt": 1}}) == {"range": {"typed.numbers": {"gt": terms.number_term("n", 1), "lt": "n>"}}}
    assert query({"n": {"lte": 1}}) == {"range": {"typed.numbers": {"lte": terms.number_term("n", 1), "gte": "n="}}}


def test_values_of_one_type_are_looked_for_in_one_query():
    assert query({"x": {"in": ["a", "b"]}}) == {"terms": {"typed.strings": ["x=a", "x=b"]}}


def test_values_of_several_types_are_looked_for_in_each():
    assert query({"x": {"in": ["a", True]}}) == {
        "bool": {
            "should": [{"terms": {"typed.strings": ["x=a"]}}, {"terms": {"typed.booleans": ["x=true"]}}],
            "minimum_should_match": 1,
        }
    }


def test_more_values_than_one_query_takes_are_looked_for_in_several():
    parts = query({"x": {"in": [str(number) for number in range(65_537)]}})["bool"]["should"]
    assert [len(part["terms"]["typed.strings"]) for part in parts] == [65_536, 1]


def test_choices_beside_a_condition_must_match_too():
    found = query({"a": "1", "or": [{"b": "2"}, {"c": "3"}]})["bool"]
    assert (len(found["filter"]), len(found["should"]), found["minimum_should_match"]) == (1, 2, 1)


def test_two_lists_of_choices_are_both_required():
    found = query({"and": [{"or": [{"a": "1"}, {"b": "2"}]}, {"or": [{"c": "3"}, {"d": "4"}]}]})["bool"]
    assert [part["bool"]["minimum_should_match"] for part in found["filter"]] == [1, 1]
    assert "should" not in found


def test_an_empty_choice_finds_nothing_also_beside_a_condition():
    assert query({"or": []}) == {"match_none": {}}
    assert query({"a": "1", "or": []})["bool"]["filter"][1] == {"match_none": {}}


def test_the_deepest_filter_is_nested_less_than_elasticsearch_allows():
    filter = {"a": "1"}
    for _ in range(15):
        filter = {"a": {"ne": "1"}, "or": [filter, {"b": "2"}]}
    assert depth(query(filter)) < 28


def test_a_native_filter_is_passed_as_it_is():
    native = {"match": {"text": "rice"}}
    assert to_query(NativeFilter(native)) == native


def test_a_native_filter_of_another_database_is_refused():
    with pytest.raises(TypeError, match="holds a query dict, not str"):
        to_query(NativeFilter("year > 2020"))
