import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagvec import Weighted
from flagvec.scoring import weighted_score
from flagvec.search.fusion import best_first, reciprocal_rank_fusion, weighted_fusion

weights = st.floats(0, 1e6, allow_subnormal=False)
rankings = st.lists(st.lists(st.text(max_size=3), unique=True, max_size=8), max_size=4)


def test_reciprocal_ranks_count_from_one_with_sixty_added():
    fused = dict(reciprocal_rank_fusion([["a", "b"], ["b", "c"]]))
    assert fused == {"a": 1 / 61, "b": 1 / 62 + 1 / 61, "c": 1 / 62}


def test_documents_of_equal_score_are_ordered_by_id():
    assert [name for name, _ in reciprocal_rank_fusion([["z"], ["a"], ["m"]])] == ["a", "m", "z"]
    assert best_first({"b": 1.0, "c": 2.0, "a": 1.0}) == [("c", 2.0), ("a", 1.0), ("b", 1.0)]


@given(rankings, st.integers(0, 100))
def test_fused_ranking_holds_each_id_once_best_first(lists, k):
    fused = reciprocal_rank_fusion(lists, k)
    scores = [score for _, score in fused]
    assert sorted(name for name, _ in fused) == sorted({name for ranking in lists for name in ranking})
    assert scores == sorted(scores, reverse=True)


@given(st.lists(st.text(max_size=3), unique=True, min_size=1))
def test_one_ranking_keeps_its_order(ranking):
    assert [name for name, _ in reciprocal_rank_fusion([ranking])] == ranking


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["dense", "sparse", "colbert"])
def test_a_weight_that_is_negative_or_not_finite_is_refused_by_name(name, bad):
    with pytest.raises(ValueError, match=f"{name}={bad}"):
        Weighted(**{name: bad})


@pytest.mark.parametrize("bad", ["1", None, True, [1.0]])
def test_a_weight_that_is_no_number_is_refused(bad):
    with pytest.raises(TypeError, match="sparse takes a number, not"):
        Weighted(sparse=bad)


def test_weights_that_are_all_zero_are_refused():
    with pytest.raises(ValueError, match="all weights are 0"):
        Weighted(0, 0, 0)


def test_a_numpy_number_is_a_weight():
    assert Weighted(np.float32(0.5), np.int64(1), 0).representations == ("dense", "sparse")


def test_weights_cannot_be_changed():
    with pytest.raises(AttributeError):
        Weighted().dense = 2.0


@given(weights, weights, weights)
def test_shares_add_up_to_one_and_leave_zero_weights_out(dense, sparse, colbert):
    if not any((dense, sparse, colbert)):
        return
    shares = Weighted(dense, sparse, colbert).shares()
    assert sum(shares.values()) == pytest.approx(1)
    assert set(shares) == set(Weighted(dense, sparse, colbert).representations)


@given(st.lists(st.tuples(*[st.floats(-1, 1)] * 3), min_size=1, max_size=5), st.tuples(*[st.floats(0.01, 10)] * 3))
def test_weighted_fusion_is_the_models_combined_score(rows, given_weights):
    names = ("dense", "sparse", "colbert")
    columns = dict(zip(names, np.array(rows).T, strict=True))
    fused = weighted_fusion(columns, Weighted(*given_weights))
    by_name = dict(zip(names, given_weights, strict=True))
    assert fused.dtype == np.float64
    assert fused == pytest.approx([weighted_score(dict(zip(names, row, strict=True)), by_name) for row in rows])


def test_a_weight_of_zero_leaves_its_scores_out_of_the_mean():
    scores = {"dense": np.array([0.5]), "sparse": np.array([0.1]), "colbert": np.array([9.0])}
    assert weighted_fusion(scores, Weighted(1, 1, 0)) == pytest.approx([0.3])


def test_scores_that_a_weight_needs_must_be_there():
    with pytest.raises(ValueError, match="no scores for colbert"):
        weighted_fusion({"dense": np.ones(2), "sparse": np.ones(2)}, Weighted())


@pytest.mark.parametrize("bad", [10**400, pytest.param(10**5000, id="5,000 digits")])
def test_a_weight_beyond_float64_is_refused_by_name(bad):
    with pytest.raises(ValueError, match=r"sparse=<a whole number of .* bits>: give a number that is finite"):
        Weighted(1, bad, 1)


@pytest.mark.parametrize("large", [(1e308, 1e308, 0), (1.7e308, 1e308, 1e308)])
def test_weights_whose_sum_is_beyond_float64_are_refused_with_what_counts(large):
    with pytest.raises(ValueError, match=r"the sum of the weights .* divide them by one number"):
        Weighted(*large)


@given(st.tuples(*[st.floats(0, allow_nan=False, allow_infinity=False)] * 3))
def test_any_weights_are_refused_or_have_shares_that_add_up_to_one(given_weights):
    try:
        shares = Weighted(*given_weights).shares()
    except ValueError:
        return
    assert math.fsum(shares.values()) == pytest.approx(1)
