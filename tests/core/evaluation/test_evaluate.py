"""`evaluate`: measures, intervals and latency of searches."""

import math

import numpy as np
import pytest

from flagvec import Weighted
from flagvec.evaluation import Estimate, JudgedQueries, JudgedQuery, evaluate
from flagvec.evaluation.bootstrap import mean_with_interval
from flagvec.evaluation.measures import parsed, values_of

USUAL = ("dense", "sparse", "rrf", "dense + sparse", "rrf, ColBERT rerank", "dense + sparse + ColBERT")


@pytest.fixture(scope="module")
def found(packages, judged):
    return evaluate(packages, judged)


def test_measures_are_those_of_their_definitions():
    queries = JudgedQueries(
        (JudgedQuery("a", "", {"x": 1, "y": 2}), JudgedQuery("b", "", {"z": 1}), JudgedQuery("c", "", {"z": 1}))
    )
    values = values_of(parsed(["MRR@2", "nDCG@3", "recall@3"]), queries, [["o", "x", "y"], [], ["o", "o2", "z"]])
    ideal = 2 + 1 / math.log2(3)
    assert values["MRR@2"] == pytest.approx([1 / 2, 0, 0])
    assert values["nDCG@3"] == pytest.approx([(1 / math.log2(3) + 2 / 2) / ideal, 0, 1 / 2])
    assert values["recall@3"] == pytest.approx([1, 0, 1])


@pytest.mark.parametrize(
    ("measures", "said"),
    [
        (["MRR"], "measure 'MRR': add how many hits count"),
        (["MRR@0"], "add how many hits count"),
        (["MRS@10"], "measure 'MRS@10' is not known: choose MRR@10"),
        ([], r"measures=\[\]: give a list"),
    ],
)
def test_a_measure_that_is_not_known_is_refused(packages, judged, measures, said):
    with pytest.raises(ValueError, match=said):
        evaluate(packages, judged, measures=measures)


def test_all_kinds_of_search_are_compared(found):
    assert tuple(found.searches) == USUAL
    assert found.measures == ("MRR@10", "nDCG@10", "recall@10")
    assert (found.queries, found.documents) == (40, 250)


def test_a_value_is_that_of_the_stores_own_search(packages, judged, found):
    expected = []
    for query in judged:
        ids = [hit.id for hit in packages.search(query["query"], 10, fusion=Weighted())]
        expected.append(next((1 / rank for rank, name in enumerate(ids, 1) if name in query["relevant"]), 0))
    assert found.searches["dense + sparse + ColBERT"].values["MRR@10"] == pytest.approx(expected)
    assert 0 < np.mean(expected) < 1


def test_an_interval_holds_its_mean(found):
    for search in found.searches.values():
        for one in search.estimates.values():
            assert one.low <= one.value <= one.high
    assert found.searches["sparse"].estimates["MRR@10"].high > found.searches["sparse"].estimates["MRR@10"].low


def test_an_interval_is_that_of_the_normal_distribution_for_many_queries():
    values = np.random.default_rng(0).normal(3, 2, size=2_000)
    one = mean_with_interval(values, 0.95, seed=0)
    error = 1.96 * values.std() / math.sqrt(len(values))
    assert (one.low, one.high) == pytest.approx((values.mean() - error, values.mean() + error), abs=0.01)


def test_the_same_call_gives_the_same_numbers(packages, judged, found):
    again = evaluate(packages, judged, searches={"sparse": {"mode": "sparse"}})
    assert again.searches["sparse"].estimates == found.searches["sparse"].estimates


def test_one_query_has_no_interval(packages, judged):
    one = evaluate(packages, judged[:1]).searches["rrf"].estimates["MRR@10"]
    assert one == Estimate(one.value, one.value, one.value)


def test_the_limit_is_the_largest_number_of_a_measure(packages, judged):
    found = evaluate(packages, judged, searches={"dense": {"mode": "dense"}}, measures=["recall@1", "recall@250"])
    assert found.searches["dense"].estimates["recall@1"].value < 1
    assert found.searches["dense"].estimates["recall@250"].value == 1


def test_latency_is_in_milliseconds(found):
    for search in found.searches.values():
        assert 0 < search.latency.p50 <= search.latency.p95
    assert found.encoding.p50 > 0


def test_a_search_that_is_not_valid_is_named(packages, judged):
    with pytest.raises(ValueError, match=r"searches\['mine'\]: mode='lexical'"):
        evaluate(packages, judged, searches={"mine": {"mode": "lexical"}})
    with pytest.raises(TypeError, match="give a dict of the options of each search"):
        evaluate(packages, judged, searches=["dense"])


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_a_confidence_is_between_0_and_1(packages, judged, confidence):
    with pytest.raises(ValueError, match=f"confidence={confidence}: give a number between 0 and 1"):
        evaluate(packages, judged, confidence=confidence)


def test_missing_documents_are_said(packages, judged):
    found = evaluate(packages, [*judged[:3], {"query": "x", "relevant": ["gone"]}], searches={"rrf": {}})
    assert len(found.notes) == 1 and "1 of 4 relevant documents are not in the store" in found.lines()[1]


def test_it_is_a_table_as_text_and_in_a_notebook(packages, judged):
    found = evaluate(packages, judged, searches={"<b>mine</b>": {"mode": "dense"}})
    assert "40 queries in 250 documents" in str(found) and "<b>mine</b>" in str(found)
    html = found._repr_html_()
    assert "<td>&lt;b&gt;mine&lt;/b&gt;</td>" in html and html.count("<tr>") == 2


def test_without_the_extra_it_says_what_to_install(run_python):
    code = """
import sys
sys.modules["ir_measures"] = None
from flagvec.evaluation.measures import parsed
try:
    parsed(["MRR@10"])
except ImportError as error:
    print(error)
"""
    assert run_python(code) == "this needs the package ir-measures: pip install 'flagvec[evaluate]'\n"


def test_a_part_of_a_split_document_counts_as_the_document_once(parts, judged):
    found = evaluate(parts, judged, searches={"dense": {"mode": "dense"}})
    assert found.notes == (), "no relevant document is missing"
    expected = []
    for query in judged:
        ids = [hit.id.partition("#")[0] for hit in parts.search(query["query"], 10, mode="dense")]
        assert len(set(ids)) > 1
        ids = list(dict.fromkeys(ids))
        expected.append(next((1 / rank for rank, name in enumerate(ids, 1) if name in query["relevant"]), 0))
    assert found.searches["dense"].values["MRR@10"] == pytest.approx(expected)
    assert 0 < np.mean(expected) < 1
