"""LlamaIndex's filters mean on our stores what they mean in LlamaIndex, or are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from flagvec.filters.dates import read_moment
from flagvec.filters.portable import All, matches
from llama_index_flagvec.filters import portable_filter


def condition(key, operator, value=None):
    return MetadataFilter(key=key, value=value, operator=operator)


def filters(*parts, condition=FilterCondition.AND):
    return MetadataFilters(filters=list(parts), condition=condition)


numbers = st.integers(-3, 3) | st.sampled_from([0.5, 1.0])
words = st.sampled_from(["a", "b", "ab", "", "2024-05-17"])
word_lists = st.lists(words, max_size=3)
# Each field has one type, because LlamaIndex's own function raises if types cannot be compared.
all_metadata = st.fixed_dictionaries(
    {}, optional={"n": numbers | st.none(), "w": words | st.none(), "l": word_lists | st.none()}
)
conditions = st.one_of(
    st.builds(condition, st.just("n"), st.sampled_from(["==", "!=", ">", ">=", "<", "<="]), numbers),
    st.builds(condition, st.just("n"), st.sampled_from(["in", "nin"]), st.lists(st.integers(-3, 3), max_size=3)),
    st.builds(condition, st.just("w"), st.sampled_from(["==", "!="]), words),
    st.builds(condition, st.just("w"), st.sampled_from(["in", "nin"]), word_lists),
    st.builds(condition, st.just("l"), st.just("contains"), words),
    st.builds(condition, st.just("l"), st.just("any"), word_lists),
    st.builds(condition, st.just("l"), st.just("all"), st.lists(words, min_size=1, max_size=3)),
    st.builds(condition, st.sampled_from(["n", "l"]), st.just("is_empty")),
)


@given(all_metadata, st.lists(conditions, max_size=3), st.sampled_from(FilterCondition))
def test_filters_hold_where_llama_indexs_own_function_says(metadata, parts, joined):
    given_filters = filters(*parts, condition=joined)
    holds = build_metadata_filter_fn(lambda _: metadata, given_filters)("node")
    assert matches(portable_filter(given_filters), metadata) == holds


NESTED = filters(
    condition("lang", "==", "en"),
    filters(
        condition("year", "<", 2000),
        filters(condition("tag", "contains", "old"), condition("year", "is_empty"), condition="not"),
        condition="or",
    ),
)


@pytest.mark.parametrize(
    ("metadata", "holds"),
    [
        ({"lang": "en", "year": 1990, "tag": ["old"]}, True),
        ({"lang": "en", "year": 2020, "tag": ["new"]}, True),
        ({"lang": "en", "year": 2020, "tag": ["old"]}, False),
        ({"lang": "en", "tag": ["new"]}, False),
        ({"lang": "de", "year": 1990}, False),
    ],
)
def test_filters_may_be_nested(metadata, holds):
    assert matches(portable_filter(NESTED), metadata) is holds


@pytest.mark.parametrize("joined", [*FilterCondition, None])
def test_no_filters_hold_everywhere_under_any_condition(joined):
    assert portable_filter(filters(condition=joined)) == All(())
    assert matches(portable_filter(filters(filters(condition=joined))), {})


def test_without_a_condition_all_must_hold():
    both = portable_filter(filters(condition("a", "==", 1), condition("b", "==", 2), condition=None))
    assert matches(both, {"a": 1, "b": 2})
    assert not matches(both, {"a": 1})


@pytest.mark.parametrize(("operator", "holds"), [(">", True), (">=", True), ("<", False), ("<=", False)])
def test_a_range_of_dates_compares_moments_whatever_their_form(operator, holds):
    later = portable_filter(filters(condition("day", operator, "2024-05-17T01:00:00+02:00")))
    assert later.value == read_moment("2024-05-16T23:00:00Z")
    assert matches(later, {"day": "2024-05-17"}) is holds


@pytest.mark.parametrize(
    ("operator", "value", "error", "message"),
    [
        ("==", None, TypeError, "'==' on 'k' takes one str, int or float, not None: use 'is_empty' to find missing"),
        ("!=", ["a"], TypeError, "'!=' on 'k' takes one str, int or float, not list"),
        ("contains", ["a"], TypeError, "'contains' on 'k' takes one"),
        ("in", "a", TypeError, "'in' on 'k' takes a list of values, not str"),
        ("nin", None, TypeError, "'nin' on 'k' takes a list of values, not None"),
        ("any", 3, TypeError, "'any' on 'k' takes a list of values, not int"),
        ("all", "a", TypeError, "'all' on 'k' takes a list of values, not str"),
        ("all", [], ValueError, "'all' on 'k' has no values"),
        (">", ["a"], TypeError, "'>' on 'k' takes a number or a date, not list"),
        ("<=", None, TypeError, "'<=' on 'k' takes a number or a date, not None"),
        ("text_match", "a", ValueError, "'text_match' on 'k' is not supported here"),
        (">=", "banana", ValueError, "'>=' on 'k' has 'banana', which is not a date"),
    ],
)
def test_a_value_that_an_operator_does_not_take_is_named(operator, value, error, message):
    with pytest.raises(error, match=message.replace("(", r"\(")):
        portable_filter(filters(condition("k", operator, value)))


def test_a_field_that_cannot_be_filtered_by_is_named():
    with pytest.raises(ValueError, match=r"'file name'.*this field cannot be filtered by"):
        portable_filter(filters(condition("file name", "==", "a")))


NODES = {
    "new": {"lang": "en", "year": 2020, "tag": ["new", "good"], "day": "2024-05-17", "note": "Rice in water"},
    "old": {"lang": "en", "year": 1990.5, "tag": ["old"], "day": "2020-01-01T12:00:00Z", "note": "price of salt"},
    "other": {"lang": "de", "year": 2000, "tag": [], "note": ["Milk", "no Rice"], "kitchen": {"pot": "iron"}},
    "none": {},
}


@pytest.fixture
def filled(vectors):
    vectors.add(
        [
            TextNode(id_=name, text="shared text", metadata=metadata, excluded_embed_metadata_keys=list(metadata))
            for name, metadata in NODES.items()
        ]
    )
    return vectors


STORED = [
    condition("lang", "==", "en"), condition("lang", "!=", "en"), condition("year", "==", 2000.0),
    condition("year", ">", 1990.5), condition("year", ">=", 1990.5), condition("year", "<", 2000),
    condition("year", "<=", 2000), condition("year", "in", [2000, 2020]), condition("year", "nin", [2000]),
    condition("day", ">=", "2021-01-01"), condition("tag", "contains", "good"),
    condition("tag", "any", ["good", "old"]), condition("tag", "all", ["good", "new"]),
    condition("tag", "all", ["good", "old"]), condition("tag", "is_empty"), condition("lang", "in", []), NESTED,
    filters(condition("lang", "==", "en"), condition("tag", "is_empty"), condition="not"),
    filters(condition("lang", "==", "de"), condition("year", ">", 2010), condition="or"),
    filters(condition="or"), condition("note", "text_match", "Rice"), condition("note", "text_match", "Bread"),
    condition("note", "text_match_insensitive", "rice"), condition("kitchen.pot", "text_match", "iro"),
    filters(condition("lang", "==", "en"), filters(condition("note", "text_match", "Rice"), condition="not")),
    filters(condition("year", ">", 2010), condition("note", "text_match_insensitive", "ICE"), condition="or"),
]  # fmt: skip


def holds(one, metadata):
    """Whether filters hold by the meaning of each operator."""
    if isinstance(one, MetadataFilter) and one.operator.value.startswith("text_match"):
        found = metadata
        for key in one.key.split("."):
            found = found.get(key, {})
        texts = [text for text in (found if isinstance(found, list) else [found]) if isinstance(text, str)]
        if one.operator == FilterOperator.TEXT_MATCH_INSENSITIVE:
            return any(one.value.lower() in text.lower() for text in texts)
        return any(one.value in text for text in texts)
    if isinstance(one, MetadataFilter):
        return matches(portable_filter(filters(one)), metadata)
    parts = [holds(part, metadata) for part in one.filters]
    match one.condition:
        case FilterCondition.AND:
            return all(parts)
        case FilterCondition.OR:
            return any(parts) or not parts
        case FilterCondition.NOT:
            return not any(parts)


def test_every_store_finds_exactly_the_nodes_that_filters_hold_for(filled):
    for one in STORED:
        given_filters = one if isinstance(one, MetadataFilters) else filters(one)
        expected = {name for name, metadata in NODES.items() if holds(given_filters, metadata)}
        assert {node.node_id for node in filled.get_nodes(filters=given_filters)} == expected, given_filters


def test_all_operators_are_covered():
    def operators(one):
        if isinstance(one, MetadataFilter):
            return {one.operator}
        return {operator for part in one.filters for operator in operators(part)}

    assert set().union(*map(operators, STORED)) == set(FilterOperator)
