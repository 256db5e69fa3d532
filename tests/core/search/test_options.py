import numpy as np
import pytest

from flagvec import Weighted
from flagvec.search.options import SearchOptions
from flagvec.store.schema import Schema

full = Schema("m3", dimension=48, sparse=True, colbert_dimension=48)
without_colbert = Schema("m3", dimension=48, sparse=True, colbert_dimension=None)
dense_only = Schema("bert", dimension=48, sparse=False, colbert_dimension=None)


def checked(schema=full, **options):
    return SearchOptions.checked(schema, **options)


def test_a_store_with_lexical_weights_is_searched_hybrid():
    options = checked(without_colbert)
    assert (options.mode, options.legs, options.representations) == ("hybrid", ("dense", "sparse"), ("dense", "sparse"))


def test_a_dense_store_is_searched_dense():
    options = checked(dense_only)
    assert (options.mode, options.representations) == ("dense", ("dense",))


@pytest.mark.parametrize(
    ("options", "legs", "representations"),
    [
        ({"mode": "dense"}, ("dense",), ("dense",)),
        ({"mode": "sparse"}, ("sparse",), ("sparse",)),
        ({"rerank": "colbert"}, ("dense", "sparse"), ("dense", "sparse", "colbert")),
        ({"mode": "sparse", "rerank": "colbert"}, ("sparse",), ("sparse", "colbert")),
        ({"fusion": Weighted()}, ("dense", "sparse"), ("dense", "sparse", "colbert")),
        ({"fusion": Weighted(1, 0.3, 0)}, ("dense", "sparse"), ("dense", "sparse")),
        ({"fusion": Weighted(1, 0, 1)}, ("dense",), ("dense", "colbert")),
        ({"fusion": Weighted(0, 0, 1)}, ("dense", "sparse"), ("dense", "sparse", "colbert")),
    ],
)
def test_a_search_uses_only_the_representations_that_it_needs(options, legs, representations):
    assert (checked(**options).legs, checked(**options).representations) == (legs, representations)


@pytest.mark.parametrize(
    ("options", "scored"),
    [
        ({"mode": "dense"}, ("dense",)),
        ({"mode": "sparse"}, ("sparse",)),
        ({}, ()),
        ({"rerank": "colbert"}, ("colbert",)),
        ({"fusion": Weighted(1, 0, 1)}, ("dense", "colbert")),
    ],
)
def test_hits_carry_the_scores_that_order_them(options, scored):
    assert checked(**options).scored == scored


@pytest.mark.parametrize("options", [{"mode": "sparse"}, {}, {"rerank": "colbert"}, {"fusion": Weighted(0, 0, 1)}])
def test_hits_of_an_explained_search_carry_all_scores_that_it_uses(options):
    explained = checked(explain=True, **options)
    assert explained.scored == explained.representations


@pytest.mark.parametrize("bad", [None, 1, "yes"])
def test_explain_takes_a_bool_alone(bad):
    with pytest.raises(TypeError, match=f"explain takes True or False, not {type(bad).__name__}"):
        checked(explain=bad)


def test_candidates_are_a_hundred_or_the_limit():
    assert checked().candidates == 100
    assert checked(limit=500).candidates == 500


def test_a_numpy_integer_is_a_whole_number():
    assert checked(limit=np.int64(3)).limit == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"limit": 0}, "limit=0: at least 1"),
        ({"limit": -1}, "limit=-1: at least 1"),
        ({"limit": 20, "candidates": 10}, r"candidates=10: at least 20 \(limit=20\)"),
        ({"mode": "fuzzy"}, "mode='fuzzy': choose 'dense' or 'sparse' or 'hybrid'"),
        ({"fusion": "sum"}, "fusion='sum': choose 'rrf' or weights like"),
        ({"fusion": None}, "fusion=None: choose 'rrf'"),
        ({"rerank": "cross-encoder"}, "rerank='cross-encoder': choose None or 'colbert'"),
        ({"rerank": True}, "rerank=True: choose None or 'colbert'"),
        ({"mode": "dense", "fusion": Weighted()}, "mode='dense' has nothing to fuse"),
        ({"rerank": "colbert", "fusion": Weighted()}, "weights have no effect"),
    ],
)
def test_an_option_out_of_its_range_is_refused_by_name_with_what_is_allowed(options, words):
    with pytest.raises(ValueError, match=words):
        checked(**options)


@pytest.mark.parametrize("bad", [10_001, 10**9, 2**64, pytest.param(10**5000, id="5,000 digits")])
def test_more_documents_than_a_search_may_find_are_refused_with_how_to_get_them(bad):
    with pytest.raises(
        ValueError, match=r"limit=.*: at most 10,000 documents; scroll\(\) goes through all, .*max_limit"
    ):
        checked(limit=bad)
    with pytest.raises(ValueError, match=r"candidates=.*: at most 10,000 documents"):
        checked(candidates=bad)


def test_a_store_may_allow_other_limits():
    assert checked(limit=20_000, max_limit=20_000).candidates == 20_000
    with pytest.raises(ValueError, match="limit=51: at most 50 documents"):
        checked(limit=51, max_limit=50)
    assert checked(max_limit=50).candidates == 50


@pytest.mark.parametrize("bad", [10**400, float("inf"), float("nan"), 1e300, 1e7, 0, -1, 5e-324 * -1])
def test_a_timeout_is_a_finite_number_of_seconds_that_clients_can_add_up(bad):
    with pytest.raises(ValueError, match=r"timeout=.*: give a number of seconds"):
        checked(timeout=bad)


@pytest.mark.parametrize(
    "bad", [10**400, float("inf"), -float("inf"), float("nan"), pytest.param(10**5000, id="5,000 digits")]
)
def test_a_least_score_beyond_float64_is_refused_by_name(bad):
    with pytest.raises(ValueError, match=r"min_score=.*: give a number that is finite"):
        checked(min_score=bad, mode="dense")


def test_a_filter_that_is_too_large_is_refused_with_the_other_options():
    with pytest.raises(ValueError, match="filter has 10,001 values, and a store takes 10,000"):
        checked(filter={"tag": {"in": list(range(10_001))}})


@pytest.mark.parametrize("bad", [1.5, "10", None, True])
def test_a_limit_that_is_no_whole_number_is_refused(bad):
    with pytest.raises(TypeError, match="limit takes a whole number"):
        checked(limit=bad)


@pytest.mark.parametrize(
    ("schema", "options", "words"),
    [
        (dense_only, {"mode": "hybrid"}, "mode='hybrid' needs sparse, .* holds dense only: choose mode='dense'"),
        (dense_only, {"mode": "sparse"}, "mode='sparse' needs sparse, .* choose mode='dense'"),
        (dense_only, {"rerank": "colbert"}, "rerank='colbert' needs colbert, .* leave rerank out"),
        (without_colbert, {"rerank": "colbert"}, "rerank='colbert' needs colbert, .* holds dense and sparse only"),
        (without_colbert, {"fusion": Weighted()}, "needs colbert, .* give it a weight of 0"),
    ],
)
def test_what_the_store_does_not_hold_is_refused_with_what_to_use_instead(schema, options, words):
    with pytest.raises(ValueError, match=words):
        checked(schema, **options)


def test_weights_may_be_a_dict_whose_missing_representations_have_none():
    assert checked(fusion={"dense": 1, "sparse": 0.3}).weights == Weighted(1, 0.3, 0)


def test_a_weight_for_something_else_is_refused():
    with pytest.raises(ValueError, match="fusion has a weight for 'bm25'; the representations are dense, sparse"):
        checked(fusion={"bm25": 1})


def test_a_least_score_is_refused_if_ranks_order_the_hits():
    with pytest.raises(ValueError, match=r"min_score=0.5: the scores of fusion='rrf' come from ranks.*choose fusion="):
        checked(min_score=0.5)
    assert checked(min_score=0.5, mode="dense").min_score == 0.5


@pytest.mark.parametrize(("bad", "error"), [("0.5", TypeError), (True, TypeError), (float("nan"), ValueError)])
def test_a_least_score_is_a_finite_number(bad, error):
    with pytest.raises(error, match="min_score"):
        checked(min_score=bad, mode="dense")


def test_numpys_numbers_are_numbers():
    options = checked(min_score=np.float32(0.5), timeout=np.float64(3), mode="dense")
    assert (options.min_score, options.timeout) == (0.5, 3.0)
