"""The terms of a document and the expressions over them, without any engine."""

import re
from datetime import timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagvec.filters.portable import NativeFilter, matches, parse_filter
from flagvec_milvus import filters
from flagvec_milvus.filters import Expression

values = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 1, -1, 2**53, 2**53 + 1, -(2**53) - 1, 2020]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1.0, 0.1, 5e-324, 1.7e308, 2.0**53]),
    st.text(max_size=6),
    st.sampled_from(
        ["2024-01-01", "2024-01-01T00:00:00.000001Z", "1900-05-05", "9999-12-31T23:59:59", "1", "true", ""]
    ),
)
moments = st.datetimes(timezones=st.just(timezone.utc))


def quoted(filter):
    """Return the expression of a filter for Milvus Lite, with its values in it."""
    found = filters.expression(filter, lite=True)
    assert found.values == {}
    return found.text


def holds_on_a_server(condition, metadata):
    """Evaluate the one `array_contains_any` of a condition as a server does."""
    found = filters.expression(condition, lite=False)
    assert found.text == "array_contains_any(terms, {terms0})"
    return not set(found.values["terms0"]).isdisjoint(filters.with_prefixes(filters.terms(metadata)))


def holds_on_lite(condition, metadata):
    """Evaluate the `like`s of a condition as Milvus Lite does, whose wildcards are ``%`` and ``_``."""
    patterns = re.findall(r'terms like "%([^"%_\\]+)%"', quoted(condition))
    assert len(patterns) == quoted(condition).count("like")
    return any(pattern in filters.packed(filters.terms(metadata)) for pattern in patterns)


@given(field=st.lists(values, max_size=3) | values, value=st.one_of(values, moments))
@pytest.mark.parametrize("holds", [holds_on_a_server, holds_on_lite])
@pytest.mark.parametrize("name", ["field", "a_b.é-米"])
def test_a_term_is_found_where_the_condition_holds(holds, name, field, value):
    path = name.split(".")
    metadata = {"a": field, "b": value if isinstance(value, (str, bool, int, float)) else str(value)}
    metadata |= {path[0]: {path[1]: field} if len(path) > 1 else field}
    operators = ["eq", "exists"] if isinstance(value, (str, bool)) else ["eq", "gt", "gte", "lt", "lte"]
    for operator in operators:
        condition = parse_filter({name: {operator: True if operator == "exists" else value}})
        assert holds(condition, metadata) == matches(condition, metadata), operator


@given(name=st.sampled_from(["a_b", "a-b", "ab", "a.b", "a~b", "a_", "_a_b"]), value=st.sampled_from([1, "x", True]))
@pytest.mark.parametrize("holds", [holds_on_a_server, holds_on_lite])
def test_a_field_is_not_found_by_another_name(holds, name, value):
    metadata = {name: value}
    for other in ("a_b", "a-b", "ab", "b", "a", "_a_b", "a_"):
        assert holds(parse_filter({other: value}), metadata) == (other == name)


keys = (
    st.integers(0, 2**64 - 1) | st.integers(0, 15).map(lambda digit: digit << 60) | st.sampled_from([0, 1, 2**64 - 1])
)


@given(key=keys, other=keys | st.integers(-2, 2))
def test_terms_cover_exactly_the_keys_on_their_side(key, other):
    other = min(max(key + other if abs(other) <= 2 else other, 0), 2**64 - 1)
    said = filters.exactly(other)
    assert said.startswith(tuple(filters.above(key))) == (other > key)
    assert said.startswith(tuple(filters.below(key))) == (other < key)
    assert said.startswith(filters.exactly(key)) == (other == key)


def test_a_round_number_takes_few_terms_from_it_on_and_below():
    for operator in ("gte", "lt", "lte"):
        expression = quoted(parse_filter({"year": {operator: 2020}}))
        assert expression.count("year:n:") <= 51


def test_a_year_has_few_terms():
    assert filters.terms({"year": 2020}) == ["year:p", "year:n:c09f9."]
    assert len(filters.with_prefixes(filters.terms({"year": 2020}))) == 7


def test_a_document_has_each_term_once():
    found = filters.terms({"tags": ["a", "b", "a"], "pages": [12, 12.0, 13]})
    for each in (found, filters.with_prefixes(found)):
        assert len(each) == len(set(each))


def test_nested_fields_and_lists_are_found_by_their_path():
    found = filters.terms({"size": {"pages": [12]}, "tags": [], "none": None})
    assert {term.partition(":")[0] for term in found} == {"size", "size.pages"}


@given(value=st.text())
def test_no_string_of_a_filter_is_in_its_expression(value):
    expression = quoted(parse_filter({"field": value}))
    assert re.fullmatch(r'terms like "%\|field:s:[0-9a-f]{32}%"', expression)


def test_filters_are_joined_in_a_balanced_tree():
    expression = quoted(parse_filter({"or": [{"n": number} for number in range(1000)]}))
    depths = [expression[:place].count("(") - expression[:place].count(")") for place in range(len(expression))]
    assert expression.count("like") == 1000
    assert max(depths) < 15


def test_a_filter_of_no_parts_holds_everywhere_or_nowhere():
    assert quoted(parse_filter({})) == 'id != ""'
    assert quoted(parse_filter({"or": []})) == 'id == ""'
    assert quoted(None) == ""


def test_negation_is_over_the_whole_part():
    expression = quoted(parse_filter({"not": {"a": True, "b": False}}))
    assert expression == 'not ((terms like "%|a:b:1%" and terms like "%|b:b:0%"))'


def test_a_native_filter_is_passed_on_and_must_be_an_expression():
    assert quoted(NativeFilter('metadata["n"] > 1')) == 'metadata["n"] > 1'
    with pytest.raises(TypeError, match="an expression, a str, not dict"):
        quoted(NativeFilter({"n": 1}))


def test_values_travel_beside_the_expression_to_a_server():
    filter = parse_filter({"a": {"in": [True, False]}, "not": {"b": {"exists": True}}})
    found = filters.expression(filter, lite=False)
    assert found.text == "(array_contains_any(terms, {terms0}) and not (array_contains_any(terms, {terms1})))"
    assert found.values == {"terms0": ["a:b:1", "a:b:0"], "terms1": ["b:p"]}


def test_a_native_filter_has_no_values_beside_it():
    native = filters.expression(NativeFilter('text == "{x}"'), lite=False)
    assert native.arguments() == {"filter": 'text == "{x}"'}


def test_ids_travel_beside_the_expression_to_a_server():
    assert filters.one_of(['"'], lite=False) == Expression("id in {ids}", {"ids": ['"']})
    assert filters.one_of(['"', "\\"], lite=True) == Expression('id in ["\\"", "\\\\"]')


def test_expressions_are_joined_with_their_values():
    page, where = filters.after("a", lite=False), Expression("x > {n}", {"n": 1})
    assert page & where == Expression("(id > {last}) and (x > {n})", {"last": "a", "n": 1})


def test_an_empty_expression_adds_nothing():
    page = filters.after("", lite=True)
    assert page == Expression('id > ""')
    assert page & Expression("") == Expression("") & page == page
    assert (Expression("") & Expression("")).arguments() == {"filter": ""}


def test_more_comparisons_than_milvus_lite_makes_in_time_are_refused_there():
    most = parse_filter({"tag": {"in": [str(number) for number in range(1_000)]}})
    assert filters.expression(most, lite=True).text.count("like") == 1_000
    more = parse_filter({"or": [{"tag": {"in": [str(number) for number in range(1_000)]}}, {"lang": "en"}]})
    with pytest.raises(ValueError, match="filter takes 1,001 comparisons, and Milvus Lite makes up to 1,000 with each"):
        filters.expression(more, lite=True)
    assert filters.expression(more, lite=False).values["terms0"]


def test_twenty_bounds_of_ranges_are_taken_on_milvus_lite():
    bounds = [{f"field{number}": {"gte": 0.1, "lt": 1e9}} for number in range(10)]
    assert filters.expression(parse_filter({"or": bounds}), lite=True).text
    with pytest.raises(ValueError, match="filter takes 1,001 comparisons"):
        filters.expression(parse_filter({"or": [*bounds, {"lang": "en"}]}), lite=True)
