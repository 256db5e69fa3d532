"""Queries with their relevant documents, as Python values."""

import pytest

from flagvec.evaluation import JudgedQueries, JudgedQuery
from flagvec.evaluation.queries import check_relevant_are_stored


def test_a_list_of_relevant_ids_gives_each_the_grade_1():
    [query] = JudgedQueries.of([{"query": "loaf", "relevant": ["bread", "roll"]}])
    assert query == JudgedQuery("1", "loaf", {"bread": 1, "roll": 1})


def test_grades_come_by_id_and_0_is_not_relevant():
    [query] = JudgedQueries.of([{"id": 7, "text": "loaf", "relevant": {"bread": 2, "rice": 0}}])
    assert query == JudgedQuery("7", "loaf", {"bread": 2})


@pytest.mark.parametrize(
    ("queries", "error", "said"),
    [
        ([], ValueError, "queries is empty"),
        ("loaf", TypeError, "queries takes a list of dicts"),
        (["loaf"], TypeError, r"queries\[0\]: a query is a dict"),
        ([{"relevant": ["a"]}], ValueError, r"queries\[0\]: it has 'relevant' and no text of a query"),
        ([{"query": "a"}], ValueError, r"queries\[0\]: it has 'query' and not 'relevant'"),
        ([{"query": "a", "relevant": []}], ValueError, r"queries\[0\]: query '1' has no relevant document"),
        ([{"query": "a", "relevant": "b"}], TypeError, r"queries\[0\]: relevant takes a list of ids"),
        ([{"query": "a", "relevant": {"b": 0.5}}], ValueError, "the grade 0.5 is not a whole number"),
        ([{"id": 1, "query": "a", "relevant": ["b"]}] * 2, ValueError, r"queries\[1\]: the id '1' came before"),
    ],
)
def test_what_is_no_query_is_refused_by_its_position(queries, error, said):
    with pytest.raises(error, match=said):
        JudgedQueries.of(queries)


def test_relevant_documents_that_the_store_lacks_are_counted(packages, judged):
    queries = JudgedQueries.of([*judged[:2], {"query": "x", "relevant": [judged[0]["relevant"][0], "gone"]}])
    wanted = len({name for query in queries for name in query.relevant})
    assert check_relevant_are_stored(packages, queries) == (
        f"1 of {wanted} relevant documents are not in the store ('gone') and count as not found, for 1 of 3 queries"
    )


def test_a_store_with_all_relevant_documents_needs_no_note(packages, judged):
    assert check_relevant_are_stored(packages, JudgedQueries.of(judged)) is None


def test_a_store_with_no_relevant_document_is_refused_with_ids_of_both(packages):
    with pytest.raises(
        ValueError, match=r"none of the 1 relevant ids, like 'doc1'; its own are like '[0-9a-f]+'.*--id"
    ):
        check_relevant_are_stored(packages, JudgedQueries.of([{"query": "x", "relevant": ["doc1"]}]))
