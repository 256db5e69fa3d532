"""A filter that is too large for a database is refused before any work, with what was found and what is allowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagvec.filters.bounds import bounded_filter
from flagvec.filters.portable import Any_, Condition, NativeFilter, Not, parse_filter


def test_a_filter_within_the_bounds_is_the_parsed_one():
    for filter in (
        {},
        {"lang": "en"},
        {"or": [{f"field{number}": 1} for number in range(999)]},
        {"tag": {"in": [f"{number:0400}" for number in range(10_000)]}},
    ):
        assert bounded_filter(filter) == parse_filter(filter)


@pytest.mark.parametrize(
    ("filter", "words"),
    [
        ({"or": [{"tag": "a"}] * 2_000}, "filter has 2,001 conditions, and a store takes 1,000: say {'in'"),
        ({f"field{number}": 1 for number in range(1_000)}, "filter has 1,001 conditions"),
        ({"or": [{"not": {"tag": "a"}}] * 500}, "filter has 1,001 conditions"),
        ({"tag": {"in": list(range(10_001))}}, "filter has 10,001 values, and a store takes 10,000"),
        ({"or": [{"tag": {"in": list(range(6_000))}}, {"tag": {"not in": list(range(6_000))}}]}, "12,000 values"),
        ({"tag": "x" * (4 * 2**20)}, "filter has 4,194,307 bytes of text, and a store takes 4,194,304"),
        ({"tag": {"in": ["\u7c73" * 1_000_000] * 2}}, "6,000,003 bytes of text"),
    ],
)
def test_what_is_too_large_is_counted(filter, words):
    with pytest.raises(ValueError, match=words):
        bounded_filter(filter)
    # A filter that was parsed before is no way round.
    with pytest.raises(ValueError, match=words):
        bounded_filter(parse_filter(filter))


def test_a_tree_too_deep_for_databases_is_refused_without_recursion():
    tree = Condition("tag", "eq", "a")
    for _ in range(100_000):
        tree = Not(Any_((tree,)))
    with pytest.raises(ValueError, match="filter is nested more than 33 levels deep"):
        bounded_filter(tree)
    while isinstance(tree, Not):  # freed from the outside, because freeing a deep tree recurses too
        tree = tree.part.parts[0]


def test_a_native_filter_may_be_of_any_size():
    native = NativeFilter("x" * (5 * 2**20))
    assert bounded_filter(native) is native


leaves = st.dictionaries(st.sampled_from("ab"), st.integers(0, 3) | st.just({"not in": [1, 2]}), max_size=2)
filters = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"not": inner}),
        st.fixed_dictionaries({"and": st.lists(inner, max_size=2), "a": st.just(1)}),
        st.fixed_dictionaries({"or": st.lists(inner, max_size=2), "b": st.just(2)}),
    ),
)


@given(filters)
def test_no_filter_that_parses_is_too_deep(filter):
    assert bounded_filter(filter) == parse_filter(filter)


def test_the_deepest_dict_that_parses_is_not_too_deep():
    filter = {"a": {"not in": [1]}, "b": {"ne": 1}}
    for _ in range(15):
        filter = {"or": [filter, {"a": 1}], "b": 2}
    assert bounded_filter(filter) == parse_filter(filter)
