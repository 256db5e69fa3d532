"""`FlagTranslator`, by itself and in a real `SelfQueryRetriever`."""

import json

import pytest
from langchain_classic.chains.query_constructor.schema import AttributeInfo
from langchain_classic.retrievers.self_query.base import SelfQueryRetriever
from langchain_core.language_models import FakeListLLM
from langchain_core.structured_query import Comparator, Comparison, Operation, Operator, StructuredQuery

from flagvec.filters.portable import matches, parse_filter
from flagvec_qdrant import QdrantEdgeStore
from langchain_flagvec import FlagTranslator, FlagVectorStore

METADATA = {"year": 2021, "lang": "en", "tags": ["a", "b"], "at": "2024-05-17T10:30:00Z"}
FIELDS = [
    AttributeInfo(name="year", description="The year", type="integer"),
    AttributeInfo(name="lang", description="The language", type="string"),
]
DAY = {"date": "2024-05-17", "type": "date"}
TIME = {"datetime": "2024-05-17T10:30:00", "type": "datetime"}


def comparison(comparator, attribute, value):
    return Comparison(comparator=Comparator(comparator), attribute=attribute, value=value)


def operation(operator, *arguments):
    return Operation(operator=Operator(operator), arguments=list(arguments))


def holds(directive):
    return matches(parse_filter(directive.accept(FlagTranslator())), METADATA)


@pytest.mark.parametrize(
    ("comparator", "attribute", "value", "expected"),
    [
        ("eq", "lang", "en", True),
        ("eq", "tags", "b", True),
        ("ne", "lang", "en", False),
        ("gt", "year", 2021, False),
        ("gte", "year", 2021, True),
        ("lt", "year", 2021.5, True),
        ("lte", "year", 2020, False),
        ("in", "lang", ["de", "en"], True),
        ("nin", "lang", ["de", "en"], False),
        ("gt", "at", DAY, True),
        ("lt", "at", DAY, False),
        ("eq", "at", TIME, True),
        ("in", "at", [TIME], True),
    ],
    ids=str,
)
def test_a_comparison_means_what_it_says(comparator, attribute, value, expected):
    assert holds(comparison(comparator, attribute, value)) is expected


@pytest.mark.parametrize(
    ("operator", "arguments", "expected"),
    [
        ("and", (True, True), True),
        ("and", (True, False), False),
        ("or", (False, True), True),
        ("or", (False, False), False),
        ("not", (False,), True),
        ("not", (True,), False),
        ("not", (False, True), False),
        ("not", (False, False), True),
    ],
    ids=str,
)
def test_an_operation_joins_its_arguments(operator, arguments, expected):
    parts = [comparison("eq", "year", 2021 if is_true else 1900) for is_true in arguments]
    assert holds(operation(operator, *parts)) is expected
    assert holds(operation("and", comparison("eq", "lang", "en"), operation(operator, *parts))) is expected


def test_a_query_without_a_filter_has_no_keywords():
    assert FlagTranslator().visit_structured_query(StructuredQuery(query="soup", filter=None)) == ("soup", {})


@pytest.mark.parametrize("comparator", ["like", "contain"])
def test_a_search_within_strings_is_refused(comparator):
    assert Comparator(comparator) not in FlagTranslator.allowed_comparators
    with pytest.raises(ValueError, match=rf"{comparator}\('lang', 'e'\): .*choose eq, ne, .*nin"):
        holds(comparison(comparator, "lang", "e"))


def test_a_date_that_is_none_is_refused():
    with pytest.raises(ValueError, match="'2024-13-45' is not a date or time in ISO 8601"):
        holds(comparison("gt", "at", {"date": "2024-13-45", "type": "date"}))


@pytest.fixture
def vector_store(tmp_path, seeded):
    with QdrantEdgeStore(seeded(), tmp_path / "index") as store:
        store.create()
        vector_store = FlagVectorStore(store)
        vector_store.add_texts(
            ["warm soup", "cold soup", "kalte Suppe"],
            [{"year": 2019, "lang": "en"}, {"year": 2021, "lang": "en"}, {"year": 2022, "lang": "de"}],
            ids=["a", "b", "c"],
        )
        yield vector_store


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"query": "soup", "filter": 'gte("year", 2020)'}, ["b", "c"]),
        ({"query": "soup", "filter": 'and(gte("year", 2020), eq("lang", "en"))'}, ["b"]),
        ({"query": "soup", "filter": 'not(in("lang", ["de"]))'}, ["a", "b"]),
        ({"query": "soup", "filter": "NO_FILTER"}, ["a", "b", "c"]),
        ({"query": "", "filter": 'eq("lang", "de")', "limit": 1}, ["c"]),
    ],
)
async def test_langchains_self_query_retriever_filters_with_it(vector_store, answer, expected):
    retriever = SelfQueryRetriever.from_llm(
        FakeListLLM(responses=[f"```json\n{json.dumps(answer)}\n```"] * 2),
        vector_store,
        "Recipes",
        FIELDS,
        structured_query_translator=FlagTranslator(),
        enable_limit=True,
    )
    assert sorted(document.id for document in retriever.invoke("a question")) == expected
    assert sorted(document.id for document in await retriever.ainvoke("a question")) == expected
