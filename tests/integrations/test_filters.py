"""Every store finds exactly the documents that the predicate in Python says, whatever values and names hold."""

from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flagvec import Document, Weighted
from flagvec.filters.portable import matches, parse_filter

# Each example is a few writes and many filters on the store that the test was given.
on_one_store = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))

FIELDS = ["a", "b", "été", "2x", "a-b", "_", "米", "lang", "metadata"]
UNFILTERABLE = ["", "a.b", 'x"y', "a[0]", "$meta", "' or 1 == 1", "a b", "\\", "😀"]
HOSTILE = [
    "", " ", "'", '"', "\\", '" or 1 == 1 or "" == "', "' or '1' == '1", "{ids}", "{{x}}", "${x}", "%", "_", "*", "a*",
    "null", "true", "1", "1.0", "en", "EN", "é", "e\u0301", "米饭", "😀", "\n", "\t", "\u202e", "\ufeff", "a\\nb", "]",
    "$meta", "x" * 300, "2024-05-17", "2024-05-17T00:00:00Z", "2024-05-17T02:00:00+02:00", "2024-05-17 00:00:00.5",
    "2024-5-17 no",
]  # fmt: skip

strings = st.sampled_from(HOSTILE) | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=4)
integers = st.integers(-3, 3) | st.sampled_from(
    [2020, 2**31, 2**53 - 1, 2**53, 2**53 + 1, -(2**63), 2**63 - 2, 2**63 - 1]
)
floats = st.sampled_from([-1.0, -0.0, 0.0, 0.5, 1.0, 2.0, 2020.0, 1e-300, 1e300])
scalars = st.none() | st.booleans() | integers | floats | strings
lists = st.lists(scalars | st.just([1]) | st.just({"a": 1}), max_size=4)
names = st.sampled_from(FIELDS) | st.sampled_from(UNFILTERABLE)
metadata = st.dictionaries(names, scalars | lists | st.dictionaries(names, scalars | lists, max_size=3), max_size=5)

NOON = datetime(2024, 5, 17, 12)
moments = st.sampled_from(
    [
        date(2024, 5, 17),
        NOON,
        datetime(2024, 5, 17, 0, 0, 0, 500_000),
        NOON.replace(tzinfo=timezone(timedelta(hours=12))),
    ]
)
fields = st.sampled_from(FIELDS) | st.tuples(st.sampled_from(FIELDS), st.sampled_from(FIELDS)).map(".".join)
values = st.booleans() | integers | floats | strings | moments
# Of whole numbers beyond 2**53 a database may tell more apart than float64 does, so that no range ends there.
bounds = st.integers(-3, 3) | st.sampled_from([0.5, 2020, 2020.5, 1e300]) | moments
operators = st.fixed_dictionaries(
    {},
    optional={
        "eq": values, "ne": values, "in": st.lists(values, max_size=3), "not in": st.lists(values, max_size=3),
        "gt": bounds, "gte": bounds, "lt": bounds, "lte": bounds, "exists": st.booleans(),
    },
).filter(bool)  # fmt: skip
conditions = st.dictionaries(fields, values | operators, min_size=1, max_size=2)
filters = st.recursive(
    conditions | st.just({}),
    lambda inner: (
        st.fixed_dictionaries({"and": st.lists(inner, max_size=2)})
        | st.fixed_dictionaries({"or": st.lists(inner, max_size=3)})
        | st.fixed_dictionaries({"not": inner})
        | st.builds(lambda filter, others: {**filter, "not": others}, conditions, inner)
    ),
    max_leaves=4,
)


def expected(documents, filter):
    tree = parse_filter(filter)
    return {document.id for document in documents if matches(tree, document.metadata)}


@on_one_store
@given(st.lists(metadata, min_size=8, max_size=25), st.lists(filters, min_size=8, max_size=25))
def test_exactly_the_documents_that_meet_a_filter_are_found(store, all_metadata, all_filters):
    documents = [Document(str(number), "shared text", data) for number, data in enumerate(all_metadata)]
    store.add(documents).raise_for_failures()
    for filter in all_filters:
        wanted = expected(documents, filter)
        assert {document.id for document in store.scroll(filter)} == wanted, filter
        assert store.count(filter) == len(wanted), filter
    store.delete(str(number) for number in range(25))


SEARCHES = [{"mode": "dense"}, {"mode": "sparse"}, {}, {"fusion": Weighted()}, {"rerank": "colbert"}]
FILTERS = [{"n": {"lt": 4}}, {"kind": "x", "n": {"gte": 2}}, {"kind": {"ne": "x"}}, {"or": []}]


@pytest.mark.parametrize("search", SEARCHES, ids=str)
@pytest.mark.parametrize("filter", FILTERS, ids=str)
def test_every_search_finds_the_filtered_documents_alone(store, search, filter):
    documents = [
        Document(str(n), f"shared word{n}", {"n": n, "kind": "xy"[n % 2]} if n % 3 else {"n": n}) for n in range(12)
    ]
    store.add(documents)
    # A filter on what is found would leave less than the limit; it holds for what finds.
    hits = store.search("shared word11", limit=12, candidates=12, filter=filter, **search)
    assert {hit.id for hit in hits} == expected(documents, filter)
    few = store.search("shared word11", limit=2, candidates=2, filter=filter, **search)
    assert len(few) == min(2, len(expected(documents, filter)))
    assert {hit.id for hit in few} <= expected(documents, filter)


def test_whole_numbers_of_64_bits_are_told_apart(store):
    numbers = [2**53, 2**53 + 1, 2**53 + 2, -(2**53) - 1, 2**63 - 2, 2**63 - 1, -(2**63)]
    store.add([Document(str(number), "text", {"n": number}) for number in numbers])
    for number in numbers:
        for filter in (
            {"n": number},
            {"n": {"in": [number, "x"]}},
            {"n": {"not in": [n for n in numbers if n != number]}},
        ):
            assert [document.id for document in store.scroll(filter)] == [str(number)]


@on_one_store
@given(strings, strings)
def test_a_string_finds_itself_and_nothing_else(store, mine, other):
    store.add([Document("mine", "text", {"tag": mine}), Document("other", "text", {"tag": other})])
    for filter in ({"tag": mine}, {"tag": {"in": [mine]}}):
        assert store.count(filter) == (2 if mine == other else 1)
        assert "mine" in {document.id for document in store.scroll(filter)}


@on_one_store
@given(st.lists(metadata, min_size=1, max_size=10), conditions)
def test_exactly_the_documents_that_meet_a_filter_are_deleted(store, all_metadata, filter):
    documents = [Document(str(number), "text", data) for number, data in enumerate(all_metadata)]
    store.add(documents)
    store.delete(filter=filter)
    kept = {document.id for document in store.scroll()}
    assert kept == {document.id for document in documents} - expected(documents, filter)
    store.delete(kept)


@pytest.mark.parametrize("name", ["a b", 'a"b', "a'b", "a[0]", "$a", "a]}", "a == 1 or b", "a\x00", "", "a..b"])
def test_a_field_name_that_is_no_plain_path_is_refused(store, name):
    store.add(Document("a", "text", {name: 1}))
    with pytest.raises(ValueError, match="this field cannot be filtered by"):
        store.count({name: 1})
