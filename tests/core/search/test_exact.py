"""Fusion by us against the numpy reference, over random legs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagvec import Weighted
from flagvec.search.exact import Ranked, by_reciprocal_ranks, by_scores
from flagvec.search.fusion import best_first, reciprocal_rank_fusion, weighted_fusion
from flagvec.search.options import SearchOptions
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors

SCHEMA = Schema("m3", dimension=4, sparse=True, colbert_dimension=4)
QUERY = TextVectors(np.eye(4, dtype=np.float32)[0], {3: 0.5}, np.eye(4, dtype=np.float32)[:2])
IDS = "abcdefgh"

scores = st.fixed_dictionaries({name: st.floats(-1, 1) for name in IDS})
all_scores = st.fixed_dictionaries({name: scores for name in ("dense", "sparse", "colbert")})
searches = st.sampled_from(
    [{"fusion": Weighted()}, {"fusion": Weighted(1, 0.3, 0)}, {"fusion": Weighted(0, 0, 1)},
     {"fusion": Weighted(1, 0, 1)}, {"fusion": Weighted(1, 0, 0)}, {"fusion": Weighted(0, 2, 0)},
     {"rerank": "colbert"}, {"mode": "sparse", "rerank": "colbert"}]
)  # fmt: skip


class Asked:
    """Gives exact scores and remembers what for."""

    def __init__(self, exact):
        self.exact = exact
        self.calls = []

    def __call__(self, missing):
        self.calls.append(missing)
        return {name: {item: self.exact[name][item] for item in ids} for name, ids in missing.items()}


def run(exact, query=QUERY, **options):
    options = SearchOptions.checked(SCHEMA, **options)
    asked = Asked(exact)
    legs = {leg: dict(best_first(exact[leg])[: options.candidates]) for leg in options.legs if leg in query.present}
    return by_scores(query, legs, options, asked), asked.calls, legs, options


@given(all_scores, searches, st.integers(1, 4), st.integers(4, 8), st.booleans())
def test_ranking_and_scores_are_those_of_the_reference(exact, search, limit, candidates, explain):
    found, _, legs, options = run(exact, limit=limit, candidates=candidates, explain=explain, **search)
    union = sorted({name for leg in legs.values() for name in leg})
    if options.rerank:
        expected = {name: exact["colbert"][name] for name in union}
    else:
        columns = {kind: np.array([exact[kind][name] for name in union]) for kind in exact}
        expected = dict(zip(union, weighted_fusion(columns, options.weights), strict=True))
    assert [(item.id, item.score) for item in found] == best_first(expected)[:limit]
    for item in found:
        assert item.scores == {kind: exact[kind][item.id] for kind in options.scored}


@given(all_scores, searches, st.integers(1, 8), st.booleans())
def test_the_database_is_asked_once_at_most_and_for_missing_scores_alone(exact, search, limit, explain):
    _, calls, legs, options = run(exact, limit=limit, candidates=limit, explain=explain, **search)
    assert len(calls) <= 1
    assert {name for call in calls for name in call} <= set(options.scored)
    for name, ids in (calls[0] if calls else {}).items():
        assert ids
        assert not set(ids) & legs.get(name, {}).keys()


def test_of_one_leg_ordered_by_its_own_scores_none_is_missing():
    found, calls, _, _ = run({"dense": {"a": 0.5}, "sparse": {}, "colbert": {}}, fusion=Weighted(1, 0, 0))
    assert (found, calls) == ([Ranked("a", 0.5, {"dense": 0.5})], [])


@given(all_scores, st.integers(1, 8))
def test_ranks_are_fused_as_in_the_reference(exact, limit):
    legs = {leg: exact[leg] for leg in ("dense", "sparse")}
    expected = reciprocal_rank_fusion([[name for name, _ in best_first(found)] for found in legs.values()])
    assert list(by_reciprocal_ranks(legs, limit).items()) == expected[:limit]


def test_of_equal_scores_in_a_leg_the_first_by_id_has_the_better_rank():
    assert list(by_reciprocal_ranks({"dense": {"b": 0.5, "a": 0.5}, "sparse": {}}, 1)) == ["a"]


def test_a_document_without_colbert_vectors_is_left_out_of_a_rerank():
    legs = {"dense": {"a": 0.9, "b": 0.8}, "sparse": {}}
    options = SearchOptions.checked(SCHEMA, rerank="colbert", explain=True)
    found = by_scores(QUERY, legs, options, lambda missing: {"colbert": {"b": 0.5}})
    assert found == [Ranked("b", 0.5, {"dense": 0.8, "sparse": 0.0, "colbert": 0.5})]


@pytest.mark.parametrize("search", [{"fusion": Weighted()}, {"rerank": "colbert"}])
def test_what_a_query_is_empty_in_is_not_asked_for_and_scores_0(search):
    bare = TextVectors(QUERY.dense, {}, np.empty((0, 4), np.float32))
    exact = {name: dict.fromkeys(IDS, 0.5) for name in ("dense", "sparse", "colbert")}
    found, calls, _, _ = run(exact, bare, limit=3, explain=True, **search)
    assert [item.id for item in found] == ["a", "b", "c"]
    assert calls == []
    assert all(item.scores["sparse"] == 0.0 for item in found)


def test_nothing_found_is_nothing_returned():
    for search in ({"fusion": Weighted()}, {"rerank": "colbert"}):
        assert by_scores(QUERY, {}, SearchOptions.checked(SCHEMA, **search), Asked({})) == []
    assert by_reciprocal_ranks({}, 10) == {}
