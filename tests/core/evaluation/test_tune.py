"""`tune`: the fusion that does best, and what it gains."""

import numpy as np
import pytest

from flagvec import FlagModel, Weighted
from flagvec.evaluation import JudgedQueries, evaluate, tune
from flagvec.evaluation.candidates import fetched
from flagvec.evaluation.measures import parsed, values_of
from flagvec.evaluation.tune import cross_validated, mixtures, query_values, simplest_of_the_best
from flagvec.evaluation.tuning import said
from flagvec_qdrant import QdrantEdgeStore

ALL = ("dense", "sparse", "colbert")


@pytest.fixture(scope="module")
def found(packages, judged):
    return tune(packages, judged)


@pytest.mark.parametrize("candidates", [10, 100])
@pytest.mark.parametrize(
    "fusion",
    [
        "rrf",
        Weighted(),
        Weighted(0.3, 0.5, 0.2),
        Weighted(1, 0, 0),
        Weighted(0, 1, 0),
        Weighted(0, 0, 1),
        Weighted(0, 1, 3),
    ],
    ids=said,
)
def test_a_fusion_computed_from_candidates_ranks_as_the_store_does(packages, judged, fusion, candidates):
    # The legs of ten candidates differ, so that it matters which of them a fusion sees.
    queries = JudgedQueries.of(judged)
    pool = fetched(packages, queries, candidates, show_progress=False)
    computed = query_values("MRR@10", pool.best_grades(fusion, 10), np.ones(40), np.ones(40))
    searches = {"it": {"fusion": fusion, "candidates": candidates}}
    stored = evaluate(packages, queries, searches=searches, measures=["MRR@10"]).searches["it"]
    assert computed == pytest.approx(stored.values["MRR@10"])


@pytest.mark.parametrize("measure", ["MRR@10", "recall@10"])
@pytest.mark.parametrize("fusion", ["rrf", Weighted(0.3, 0.5, 0.2)], ids=said)
def test_parts_of_split_documents_count_once_as_in_evaluate(parts, judged, fusion, measure):
    queries = JudgedQueries.of(judged)
    pool = fetched(parts, queries, 100, show_progress=False)
    relevant = np.array([len(query.relevant) for query in queries])
    computed = query_values(measure, pool.best_grades(fusion, 10), np.ones(40), relevant)
    stored = evaluate(parts, queries, searches={"it": {"fusion": fusion}}, measures=[measure]).searches["it"]
    assert computed == pytest.approx(stored.values[measure])


def test_the_chosen_fusion_has_the_same_mean_in_the_stores_search(packages, judged, found):
    stored = evaluate(packages, judged, searches={"tuned": found.settings()}, measures=["MRR@10"])
    mean = found.means[list(found.fusions).index(found.fusion)]
    assert stored.searches["tuned"].estimates["MRR@10"].value == pytest.approx(mean)


@pytest.mark.parametrize("measure", ["MRR@5", "nDCG@5", "recall@5"])
def test_measures_are_those_of_ir_measures(packages, judged, measure):
    graded = [
        {**query, "relevant": {name: 1 + position % 3 for name in query["relevant"]}}
        for position, query in enumerate(judged)
    ]
    graded[0]["relevant"] |= {hit.id: 2 for hit in packages.search(judged[0]["query"], 4)}
    queries = JudgedQueries.of(graded)
    rankings = [[hit.id for hit in packages.search(query.text, 5, fusion=Weighted(1, 1, 0))] for query in queries]
    expected = values_of(parsed([measure]), queries, rankings)[measure].mean()
    found = tune(packages, graded, measure=measure, steps=2)
    assert found.means[list(found.fusions).index(Weighted(0.5, 0.5, 0))] == pytest.approx(expected)


def test_every_mixture_is_tried_once_the_most_even_first():
    found = mixtures(ALL, 20)
    assert found[0] == Weighted(1, 1, 1)
    assert len(set(found)) == len(found) == 232
    assert {said(one) for one in found[-3:]} == {"1 dense", "1 sparse", "1 ColBERT"}
    two = [said(one) for one in mixtures(("dense", "sparse"), 2)]
    assert two[0] == "equal weights of dense + sparse" and sorted(two[1:]) == ["1 dense", "1 sparse"]


def test_without_sparse_dense_vectors_find_the_candidates():
    assert all(one.dense > 0 and one.sparse == 0 for one in mixtures(("dense", "colbert"), 4))


def test_a_fusion_that_is_better_by_chance_does_not_replace_a_simpler_one():
    noise = np.random.default_rng(0).normal(0, 1, size=(50, 100))
    assert simplest_of_the_best(noise) < int(np.argmax(noise.mean(axis=1)))


def test_a_fusion_that_is_better_for_most_queries_is_chosen():
    values = np.random.default_rng(0).normal(0, 0.1, size=(5, 100))
    values[3] += 0.2
    assert simplest_of_the_best(values) == 3


def test_a_query_has_no_part_in_the_choice_that_it_measures():
    # Fusion 1 is best by one query alone, which therefore never sees it.
    values = np.full((2, 10), 0.1)
    values[1, 4] = 100.0
    values[0, 0] = 0.2
    held_out, chosen = cross_validated(values, 10, seed=0)
    assert held_out[4] == pytest.approx(0.1)
    assert chosen.count(0) >= 1


def test_gains_are_differences_of_the_same_queries(found):
    for name, gain in found.gains.items():
        assert gain.value == pytest.approx(found.held_out.value - found.baselines[name].value)
        assert gain.low <= gain.value <= gain.high
    assert found.baselines.keys() == {"rrf", "equal weights"}


def test_the_same_call_gives_the_same_numbers(packages, judged, found):
    again = tune(packages, judged)
    assert (again.fusion, again.gains, again.fold_fusions) == (found.fusion, found.gains, found.fold_fusions)


def test_a_store_is_searched_once_for_each_query(packages, judged, monkeypatch):
    asked = []
    search = packages._backend.search
    monkeypatch.setattr(packages._backend, "search", lambda *given: asked.append(1) or search(*given))
    tune(packages, judged, show_progress=False)
    assert len(asked) == len(judged)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"folds": 41}, "40 queries for folds=41"),
        ({"folds": 1}, "folds=1: at least 2"),
        ({"measure": "AP@10"}, "measure='AP': choose 'MRR' or 'nDCG' or 'recall'"),
        ({"candidates": 5}, "candidates=5: at least 10"),
        ({"steps": 0}, "steps=0: at least 1"),
    ],
)
def test_arguments_are_checked_first(packages, judged, options, said):
    with pytest.raises(ValueError, match=said):
        tune(packages, judged, **options)


def test_a_store_of_dense_vectors_has_nothing_to_tune(tiny_bert_directory, tmp_path, judged):
    store = QdrantEdgeStore(FlagModel(tiny_bert_directory, use_fp16=False), tmp_path / "index")
    with store, pytest.raises(ValueError, match="holds dense only, so there is nothing to fuse"):
        tune(store, judged)


def test_other_candidates_are_in_the_settings(packages, judged):
    assert tune(packages, judged, candidates=50, steps=2).settings()["candidates"] == 50
    assert "candidates" not in tune(packages, judged, steps=2).settings()


def test_it_says_what_these_queries_show(found):
    shown = str(found)
    assert (
        "gain over rrf" in shown
        and "gain over equal weights" in shown
        and f"Chosen: {said(found.fusion)}." in " ".join(shown.split())
    )
    uncertain = [name for name, gain in found.gains.items() if gain.low <= 0]
    assert ("do not show" in shown) == bool(uncertain)


@pytest.mark.parametrize("name", ["weights.png", "weights.svg"])
def test_a_picture_shows_all_weights(found, tmp_path, name):
    found.heatmap().savefig(tmp_path / name)
    assert (tmp_path / name).stat().st_size > 10_000


def test_the_picture_names_corners_and_values(found):
    figure = found.heatmap()
    axes = figure.axes[0]
    written = " ".join(text.get_text() for text in [*axes.texts, *axes.get_legend().get_texts()])
    for expected in (
        "dense alone",
        "sparse alone",
        "ColBERT alone",
        "equal weights",
        f"{found.baselines['rrf'].value:.3f}",
    ):
        assert expected in written
    assert len(axes.collections[0].get_offsets()) == 232
