"""Every store takes a `CombinedModel`, ranks by the scores of its two models, and refuses another pair."""

import pytest

from flagvec import ColbertFlagModel, CombinedModel, StoreError, Weighted
from flagvec.scoring import colbert_score, dense_score
from flagvec.store.documents import text_id

QUERY = "a library for zip archives"
TEXTS = ["rice is cooked in water", "a library for zip archives and files", "what is hybrid search?", "bread and salt"]
# Databases keep ColBERT vectors in float16.
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def colbert(tmp_path_factory, colbert_checkpoint):
    return ColbertFlagModel(colbert_checkpoint(tmp_path_factory.mktemp("colbert") / "mine"), use_fp16=False)


@pytest.fixture(scope="module")
def model(tiny_bert, colbert):
    return CombinedModel(tiny_bert, colbert=colbert)


@pytest.fixture
def combined_store(new_store, model):
    store = new_store(model)
    store.create()
    store.add(TEXTS).raise_for_failures()
    return store


@pytest.fixture
def scores(tiny_bert, colbert, factory):
    """The scores of each text's dense and ColBERT vectors, as the store keeps them, by its id."""
    dense, asked = tiny_bert.encode_queries(QUERY), colbert.encode_queries(QUERY)["colbert_vecs"]
    stored_rows = getattr(factory, "stored_rows", lambda rows: rows)
    return {
        text_id(text): (
            float(dense_score(dense, tiny_bert.encode_corpus(text))),
            float(colbert_score(asked, stored_rows(colbert.encode_corpus(text)["colbert_vecs"]))),
        )
        for text in TEXTS
    }


def assert_ranked(hits, expected):
    assert [hit.score for hit in hits] == pytest.approx(sorted(expected.values(), reverse=True), abs=TOLERANCE)
    assert {hit.id: hit.score for hit in hits} == pytest.approx(expected, abs=TOLERANCE)


def test_dense_hits_are_reranked_by_the_colbert_model(combined_store, scores):
    assert_ranked(combined_store.search(QUERY, limit=4), {name: dense for name, (dense, _) in scores.items()})
    hits = combined_store.search(QUERY, limit=4, mode="dense", rerank="colbert")
    assert_ranked(hits, {name: colbert for name, (_, colbert) in scores.items()})


def test_dense_and_colbert_scores_are_fused_by_weight(combined_store, scores):
    hits = combined_store.search(QUERY, limit=4, mode="hybrid", fusion=Weighted(dense=1, sparse=0, colbert=3))
    assert_ranked(hits, {name: (dense + 3 * colbert) / 4 for name, (dense, colbert) in scores.items()})


def test_the_same_pair_opens_the_store_again(combined_store, new_store, model, scores):
    combined_store.close()
    hits = new_store(model).search(QUERY, limit=4, mode="dense", rerank="colbert")
    assert_ranked(hits, {name: colbert for name, (_, colbert) in scores.items()})


def test_another_pair_is_refused(combined_store, new_store, tiny_bert, tmp_path, colbert_checkpoint):
    combined_store.close()
    other = ColbertFlagModel(colbert_checkpoint(tmp_path / "other"), use_fp16=False)
    with pytest.raises(StoreError, match=r"holds vectors of '.* \+ .*mine', but is opened with .*other'"):
        new_store(CombinedModel(tiny_bert, colbert=other)).count()


def test_without_colbert_the_store_is_the_dense_models(new_store, model, tiny_bert, scores):
    store = new_store(model, colbert=False)
    store.create()
    store.add(TEXTS).raise_for_failures()
    store.close()
    hits = new_store(tiny_bert).search(QUERY, limit=4)
    assert_ranked(hits, {name: dense for name, (dense, _) in scores.items()})


def test_lexical_weights_of_the_first_model_are_stored(new_store, factory, reference_of, tiny_m3, colbert):
    model = CombinedModel(tiny_m3, colbert=colbert)
    store = new_store(model)
    store.create()
    store.add(TEXTS).raise_for_failures()
    reference = reference_of(model, TEXTS, [QUERY], factory)
    for options in ({"mode": "sparse"}, {"fusion": Weighted(1, 0.3, 1)}, {"rerank": "colbert"}):
        expected = reference.search(store.schema, QUERY, limit=4, **options)
        assert_ranked(store.search(QUERY, limit=4, **options), dict(expected.ranking))


def test_a_text_that_either_model_cut_off_is_reported(new_store, model, colbert):
    store = new_store(model)
    store.create()
    long = "word " * (colbert.passage_max_length + 20)
    report = store.add([TEXTS[0], long])
    assert report.truncated == (text_id(long),)
