"""The parts of each explanation add up to the score that the store gave, and its products to the parts."""

import pytest

from flagvec import ColbertStorage, Document, Weighted
from flagvec.explain import explain
from flagvec.store.documents import Hit

QUERIES = [
    "PAM module for fingerprint authentication",
    "extract metadata from files of any type",
    "Haskell library, profiling version",
    "program to manage passwords and logins",
    "KDE wallet",
    "how do I send a tweet from the command line?",
    "vpn",
    "python3 bindings",
    "SQL injection scanner",
    "a game with penguins",
    "cluster job scheduler",
    "decode barcodes from a picture",
    "documentation of a Perl module",
    "debugging symbols",
    "Gesichtserkennung in Bildern",
    "日本語 入力",
    "مكتبة لمعالجة النصوص",
    "C++ headers!!! (development)",
    "xyzzy-plugh 12345",
    "",
]
SEARCHES = {
    "dense": {"mode": "dense"},
    "sparse": {"mode": "sparse"},
    "rrf": {},
    "rrf of few candidates": {"candidates": 10},
    "rerank": {"rerank": "colbert"},
    "weights": {"fusion": Weighted(dense=1, sparse=0.3, colbert=1)},
    "weights of two": {"fusion": {"dense": 0.7, "sparse": 0.3}},
    "filter": {"filter": {"package": {"ne": "bti"}}},
}


def assert_adds_up(explanation, score):
    assert explanation.score == pytest.approx(score, abs=1e-4)
    assert explanation.adds_up
    scores = explanation.scores
    assert sum(token.product for token in explanation.shared) == pytest.approx(scores["sparse"], abs=1e-6)
    alignment = explanation.alignment
    assert scores["colbert"] == pytest.approx(alignment.score)
    assert sum(alignment.by_word.amounts) == pytest.approx(alignment.score, abs=1e-5)


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize(
    "colbert", [True, "compact", ColbertStorage(bits=2, pool=2)], ids=["native", "codes", "pooled"]
)
def test_the_parts_of_every_search_add_up_to_the_score(make_store, colbert, query):
    store = make_store(colbert)
    for options in SEARCHES.values():
        for hit in store.search(query, limit=10, **options)[::4]:
            assert_adds_up(store.explain(query, hit), hit.score)


@pytest.mark.parametrize("query", QUERIES[:3])
def test_each_part_is_the_representations_score_times_its_share(store, query):
    hit = store.search(query, fusion=Weighted(1, 2, 1))[0]
    parts = {part.name: part for part in store.explain(query, hit).parts}
    assert {name: part.weight for name, part in parts.items()} == {"dense": 0.25, "sparse": 0.5, "colbert": 0.25}
    for name, part in parts.items():
        assert part.score == pytest.approx(hit.scores[name], abs=1e-4)
        assert part.amount == pytest.approx(part.weight * part.score)


def test_fused_ranks_are_those_of_the_legs(store):
    query = QUERIES[0]
    found = {mode: [hit.id for hit in store.search(query, 100, mode=mode)] for mode in ("dense", "sparse")}
    for hit in store.search(query):
        for part in explain(query, hit, store).parts:
            rank = found[part.name].index(hit.id) + 1 if hit.id in found[part.name] else None
            assert part.rank == rank
            assert part.amount == pytest.approx(0 if rank is None else 1 / (60 + rank))


def test_a_hit_that_does_not_know_its_search_is_explained_by_the_options_given(store):
    found = store.search(QUERIES[1], fusion=Weighted())[0]
    hit = Hit(found.id, found.score, found.text, found.metadata)
    assert_adds_up(store.explain(QUERIES[1], hit, fusion=Weighted()), found.score)
    assert not store.explain(QUERIES[1], hit, mode="dense").adds_up


def test_an_explanation_of_a_document_that_changed_says_so(store, documents):
    query = QUERIES[3]
    hit = store.search(query, mode="sparse")[0]
    kept = next(document for document in documents if document.id == hit.id)
    store.add(Document(hit.id, "Nothing of that."))
    try:
        explanation = store.explain(query, hit)
        assert not explanation.adds_up
        assert "the store has changed" in explanation._repr_html_()
    finally:
        store.add(kept)


def test_pooled_vectors_are_labelled_by_the_words_that_they_stand_for(make_store):
    store = make_store(ColbertStorage(bits=2, pool=2))
    alignment = store.explain(QUERIES[3], store.search(QUERIES[3])[0]).alignment
    assert alignment.matrix.shape[1] < len(alignment.document.vectors)
    covered = {position for tokens in alignment.document_tokens for position in tokens}
    assert covered == set(alignment.document.vectors)
