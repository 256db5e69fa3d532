"""Typed terms: equal terms for equal values alone, in the order of the numbers."""

from datetime import datetime, timezone

from hypothesis import given
from hypothesis import strategies as st

from flagvec.filters.typed_values import TypedFields, typed_fields
from flagvec_elasticsearch import terms

numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1)
moments = st.datetimes(timezones=st.just(timezone.utc))
strings = st.text(st.characters(exclude_categories=["Cs"]))
names = st.sampled_from(["a", "a.b", "ab", "a-b", "é"])


@given(numbers, numbers)
def test_terms_of_numbers_are_ordered_as_the_numbers_are(first, second):
    def encoded(number):
        return terms.number_term("n", number).encode()

    assert (encoded(first) < encoded(second)) == (float(first) < float(second))
    assert (encoded(first) == encoded(second)) == (float(first) == float(second))


@given(moments, moments)
def test_terms_of_moments_are_ordered_as_the_moments_are(first, second):
    assert (terms.moment_term("t", first) < terms.moment_term("t", second)) == (first < second)


def test_the_ends_of_the_calendar_have_terms_of_one_length():
    ends = [datetime.min.replace(tzinfo=timezone.utc), datetime.max.replace(tzinfo=timezone.utc)]
    assert {len(terms.moment_term("t", end)) for end in ends} == {len("t=") + 16}


@given(names, strings, names, strings)
def test_no_term_stands_for_two_strings(path, value, other_path, other):
    assert (terms.string_term(path, value) == terms.string_term(other_path, other)) == (
        (path, value) == (other_path, other)
    )


def test_a_string_that_looks_like_the_hash_of_a_long_one_is_another():
    long = terms.string_term("a", "x" * 1_000)
    assert terms.string_term("a", long.removeprefix("a#")) != long


def test_the_term_of_the_longest_path_and_string_is_within_what_lucene_takes():
    path = ".".join(["米" * 64] * 64)
    assert len(terms.string_term(path, "x" * 1_000_000).encode()) <= 32_766


@given(names, names, numbers)
def test_the_span_of_a_path_holds_its_terms_and_no_other_paths(path, other, number):
    first, last = (bound.encode() for bound in terms.span(path))
    assert (first <= terms.number_term(other, number).encode() < last) == (path == other)


def test_whole_numbers_that_floats_do_not_hold_are_kept_to_the_last_digit():
    written = terms.typed_terms(TypedFields(numbers={"n": [2**53 + 1, 2**53 - 1, 0.5]}))
    assert written["integers"] == ["n=9007199254740993"]
    assert len(written["numbers"]) == 3


def test_each_type_has_its_own_field_and_a_list_a_term_for_each_element():
    written = terms.typed_terms(
        typed_fields({"tag": ["a", "b", True, None], "deep": {"day": "2024-05-17"}, "none": []})
    )
    assert written == {
        "present": ["tag", "deep", "deep.day"],
        "strings": ["tag=a", "tag=b", "deep.day=2024-05-17"],
        "booleans": ["tag=true"],
        "moments": [terms.moment_term("deep.day", datetime(2024, 5, 17, tzinfo=timezone.utc))],
    }
