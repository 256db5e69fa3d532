"""Typed terms and the queries on them, on paper; the contract suite asks the server what they mean."""

import sys
from datetime import datetime, timezone

import pytest
from elasticsearch.dsl import Q
from hypothesis import given
from hypothesis import strategies as st

from flagvec.filters.portable import NativeFilter, parse_filter
from flagvec.filters.typed_values import TypedFields, typed_fields
from flagvec_elasticsearch.filters import is_native, moment_term, number_term, string_term, to_query, typed_terms


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
        (1, "numbers", number_term("x", 1)),
        (1.5, "numbers", number_term("x", 1.5)),
        (2**53, "integers", "x=9007199254740992"),
        (float(2**53), "numbers", number_term("x", 2**53)),
        (datetime(2024, 1, 1), "moments", moment_term("x", datetime(2024, 1, 1, tzinfo=timezone.utc))),
    ],
)
def test_a_value_is_looked_for_in_the_field_of_its_type(value, field, term):
    assert query({"x": value}) == {"term": {f"typed.{field}": term}}


@pytest.mark.parametrize("hostile", ['"}]}', "*", "a OR b", "\\", "{{x}}", "米", "😀", "\x00", "=", "#", ""])
def test_a_hostile_string_is_a_value_like_any_other(hostile):
    assert query({"x": hostile}) == {"term": {"typed.strings": f"x={hostile}"}}


def test_a_range_ends_where_the_terms_of_the_path_end():
    assert query({"n": {"gt": 1}}) == {"range": {"typed.numbers": {"gt": number_term("n", 1), "lt": "n>"}}}
    assert query({"n": {"lte": 1}}) == {"range": {"typed.numbers": {"lte": number_term("n", 1), "gte": "n="}}}


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


def test_a_query_of_elasticsearchs_own_classes_is_taken_as_it_is():
    own = Q("term", **{"typed.strings": "lang=en"}) | Q("ids", values=["a"])
    assert to_query(parse_filter(own, is_native)) == own.to_dict()


def test_a_dict_is_the_portable_filter():
    assert not is_native({"term": {"typed.strings": "lang=en"}})


def test_a_native_filter_of_another_database_is_refused():
    with pytest.raises(TypeError, match="holds a str: Elasticsearch takes a query dict"):
        to_query(NativeFilter("year > 2020"))


numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1)
moments = st.datetimes(timezones=st.just(timezone.utc))
strings = st.text(st.characters(exclude_categories=["Cs"]))
names = st.sampled_from(["a", "a.b", "ab", "a-b", "é"])


@given(numbers, numbers)
def test_terms_of_numbers_are_ordered_as_the_numbers_are(first, second):
    def encoded(number):
        return number_term("n", number).encode()

    assert (encoded(first) < encoded(second)) == (float(first) < float(second))
    assert (encoded(first) == encoded(second)) == (float(first) == float(second))


@given(moments, moments)
def test_terms_of_moments_are_ordered_as_the_moments_are(first, second):
    assert (moment_term("t", first) < moment_term("t", second)) == (first < second)


def test_the_ends_of_the_calendar_have_terms_of_one_length():
    ends = [datetime.min.replace(tzinfo=timezone.utc), datetime.max.replace(tzinfo=timezone.utc)]
    assert {len(moment_term("t", end)) for end in ends} == {len("t=") + 16}


@given(names, strings, names, strings)
def test_no_term_stands_for_two_strings(path, value, other_path, other):
    assert (string_term(path, value) == string_term(other_path, other)) == ((path, value) == (other_path, other))


def test_a_string_that_looks_like_the_hash_of_a_long_one_is_another():
    long = string_term("a", "x" * 1_000)
    assert string_term("a", long.removeprefix("a#")) != long


def test_the_term_of_the_longest_path_and_string_is_within_what_lucene_takes():
    path = ".".join(["米" * 64] * 64)
    assert len(string_term(path, "x" * 1_000_000).encode()) <= 32_766


@given(names, names, numbers)
def test_a_range_of_a_path_holds_its_terms_and_no_other_paths(path, other, number):
    [above] = query({path: {"gte": -sys.float_info.max}})["range"].values()
    [below] = query({path: {"lte": sys.float_info.max}})["range"].values()
    term = number_term(other, number).encode()
    assert (above["gte"].encode() <= term < above["lt"].encode()) == (path == other)
    assert (below["gte"].encode() <= term <= below["lte"].encode()) == (path == other)


def test_whole_numbers_that_floats_do_not_hold_are_kept_to_the_last_digit():
    written = typed_terms(TypedFields(numbers={"n": [2**53 + 1, 2**53 - 1, 0.5]}))
    assert written["integers"] == ["n=9007199254740993"]
    assert len(written["numbers"]) == 3


def test_each_type_has_its_own_field_and_a_list_a_term_for_each_element():
    written = typed_terms(typed_fields({"tag": ["a", "b", True, None], "deep": {"day": "2024-05-17"}, "none": []}))
    assert written == {
        "present": ["tag", "deep", "deep.day"],
        "strings": ["tag=a", "tag=b", "deep.day=2024-05-17"],
        "booleans": ["tag=true"],
        "moments": [moment_term("deep.day", datetime(2024, 5, 17, tzinfo=timezone.utc))],
    }
