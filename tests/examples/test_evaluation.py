import pytest

from evaluation import mean_recall, mean_reciprocal_rank, recall, reciprocal_rank

RANKING = [f"d{number}" for number in range(1, 13)]


@pytest.mark.parametrize(("relevant", "expected"), [("d1", 1.0), ("d4", 0.25), ("d10", 0.1), ("d11", 0.0), ("x", 0.0)])
def test_reciprocal_rank_counts_ranks_from_one_down_to_the_tenth(relevant, expected):
    assert reciprocal_rank(RANKING, {relevant}) == expected


def test_reciprocal_rank_takes_the_first_of_several_relevant_ids():
    assert reciprocal_rank(RANKING, {"d5", "d2"}) == 0.5


def test_an_empty_ranking_scores_zero():
    assert reciprocal_rank([], {"d1"}) == 0.0
    assert recall([], {"d1"}) == 0.0


def test_recall_is_the_share_of_relevant_ids_in_the_first_ten():
    assert recall(RANKING, {"d1", "d10", "d11", "x"}) == 0.5


def test_recall_looks_as_deep_as_it_is_told():
    assert recall(RANKING, {"d3"}, depth=2) == 0.0
    assert recall(RANKING, {"d3"}, depth=3) == 1.0


def test_recall_without_a_relevant_id_is_refused():
    with pytest.raises(ValueError, match="at least one relevant"):
        recall(RANKING, set())


def test_the_means_are_over_queries():
    rankings, relevant = [["a", "b"], ["b", "a"], ["c"]], [{"a"}, {"a"}, {"a"}]
    assert mean_reciprocal_rank(rankings, relevant) == pytest.approx((1 + 0.5 + 0) / 3)
    assert mean_recall(rankings, relevant) == pytest.approx(2 / 3)


def test_the_means_look_as_deep_as_they_are_told():
    assert mean_reciprocal_rank([["a", "b"]], [{"b"}], depth=1) == 0.0
    assert mean_recall([["a", "b"]], [{"b"}], depth=1) == 0.0


@pytest.mark.parametrize("mean", [mean_reciprocal_rank, mean_recall])
@pytest.mark.parametrize(("rankings", "relevant"), [([], []), ([["a"]], []), ([["a"]], [{"a"}, {"b"}])])
def test_the_means_need_one_ranking_a_query(mean, rankings, relevant):
    with pytest.raises(ValueError, match="give one of each"):
        mean(rankings, relevant)
