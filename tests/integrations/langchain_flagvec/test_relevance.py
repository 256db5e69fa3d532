"""Relevance from 0 to 1, for each kind of score."""

import pytest

from flagvec import Hit, Weighted
from flagvec.search.options import SearchOptions
from flagvec.store.schema import Schema
from langchain_flagvec.relevance import relevance

ALL = Schema("all", 16, sparse=True, colbert_dimension=16)


@pytest.mark.parametrize(
    ("options", "score", "expected"),
    [
        ({"mode": "dense"}, 1.0000001, 1.0),
        ({"mode": "dense"}, 0.0, 0.5),
        ({"mode": "dense"}, -1.0, 0.0),
        ({"mode": "dense", "rerank": "colbert"}, 0.5, 0.75),
        ({"mode": "sparse", "rerank": "colbert"}, 0.5, 0.75),
        ({"fusion": Weighted()}, 0.5, 0.75),
        ({"fusion": Weighted()}, 1.5, 1.0),
        ({"fusion": {"dense": 1, "sparse": 0.3}}, 0.5, 0.75),
        ({"fusion": {"sparse": 1}}, 1.0, 0.5),
        ({"mode": "sparse"}, 0.0, 0.0),
        ({"mode": "sparse"}, 1.0, 0.5),
    ],
    ids=str,
)
def test_it_depends_on_the_score_that_orders_the_hits(options, score, expected):
    hit = Hit("a", score, "warm soup", {}, {"dense": 0.9, "sparse": 0.9})
    assert relevance(hit, SearchOptions.checked(ALL, **options)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("dense", "expected"), [(1.0, 1.0), (0.5, 0.75), (-1.0, 0.0)])
def test_after_rrf_it_is_that_of_the_dense_score(dense, expected):
    hit = Hit("a", 2 / 61, "warm soup", {}, {"dense": dense, "sparse": 0.0})
    assert relevance(hit, SearchOptions.checked(ALL)) == expected
