import numpy as np

from flagvec import Weighted
from flagvec.search.options import SearchOptions
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors
from flagvec_qdrant import search
from flagvec_qdrant.search import Nearest, ReciprocalRanks, Stage, WeightedSum

SCHEMA = Schema("m3", dimension=4, sparse=True, colbert_dimension=4)
QUERY = TextVectors(np.eye(4, dtype=np.float32)[0], {3: 0.5}, np.eye(4, dtype=np.float32)[:2])
DENSE, SPARSE = Stage(Nearest("dense"), 100), Stage(Nearest("sparse"), 100)


def ranking(query=QUERY, **options):
    return search.ranking(query, SearchOptions.checked(SCHEMA, **options))


def test_one_leg_is_one_stage():
    assert ranking(mode="dense", limit=5) == Stage(Nearest("dense"), 5)
    assert ranking(mode="sparse", limit=5) == Stage(Nearest("sparse"), 5)


def test_reciprocal_ranks_count_from_one_and_keep_all_candidates_for_breaking_ties():
    assert ranking(limit=5) == Stage(ReciprocalRanks(61), 200, (DENSE, SPARSE))


def test_rerank_scores_the_union_of_the_legs():
    assert ranking(limit=5, rerank="colbert") == Stage(Nearest("colbert"), 5, (DENSE, SPARSE))


def test_weighted_fusion_scores_the_union_in_every_representation():
    stage = ranking(limit=5, fusion=Weighted(2, 1, 1))
    # ColBERT's share is divided by the two query vectors.
    assert stage.order == WeightedSum((0.5, 0.25, 0.125))
    assert stage.limit == 5
    assert stage.sources == tuple(Stage(Nearest(name), 200, (DENSE, SPARSE)) for name in ("dense", "sparse", "colbert"))


def test_a_query_without_tokens_leaves_the_empty_legs_out():
    bare = TextVectors(QUERY.dense, {}, np.empty((0, 4), np.float32))
    assert ranking(bare, mode="sparse") is None
    assert ranking(bare) == Stage(ReciprocalRanks(61), 100, (DENSE,))
    # The weights of what is empty still count in the mean.
    assert ranking(bare, fusion=Weighted()).order == WeightedSum((1 / 3,))


def test_chosen_points_are_scored_alone():
    assert search.own_scores(["a", "b"], "dense") == Stage(Nearest("dense"), 2, only=("a", "b"))


def test_only_colberts_scores_are_scaled():
    assert [search.score_scale(name, QUERY) for name in ("dense", "sparse", "colbert")] == [1.0, 1.0, 0.5]
