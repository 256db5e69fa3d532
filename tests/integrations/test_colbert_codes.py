"""Every store keeps ColBERT vectors as codes if it is asked to, and ranks by what they stand for as numpy does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flagvec import ColbertStorage, Document, M3Output, StoreError, Weighted
from flagvec.late_interaction.stored import codes_to_text
from flagvec.scoring import colbert_score

TOLERANCE = 1e-4
# One bit, several, and 16; with and without pooling; widths that do and do not fill their last byte.
STORAGES = [ColbertStorage(bits=1), ColbertStorage(bits=2, pool=2, seed=3), ColbertStorage(bits=4), ColbertStorage(16)]
TEXTS = {"a": "one two three", "b": "two", "c": "three four five six seven eight", "d": "nine", "e": "one nine two"}
DAMAGED = {
    "not base64": "*" * 8,
    "another width": "AAAA",
    "not finite": None,
    "empty": "",
}


def decoded(storage, rows):
    return storage.codec(rows.shape[1]).decode(storage.encode(rows))


def colbert_scores(store, query, texts=TEXTS, storage=None):
    """The ColBERT score of each text, by numpy, from the vectors that its codes stand for."""
    storage = storage or store.schema.colbert_storage
    rows = store.model.encode_corpus([query, *texts.values()], False, False, True, True)["colbert_vecs"]
    return {
        name: float(colbert_score(rows[0], decoded(storage, one)))
        for name, one in zip(texts, rows[1:], strict=True)
        if len(one)
    }


@pytest.fixture
def filled(new_store, seeded):
    """A function that makes a store of codes which holds `TEXTS`."""

    def make(colbert="compact", dimension=24, texts=TEXTS):
        store = new_store(seeded(dimension), colbert=colbert)
        store.create()
        store.add([Document(name, text, {"name": name}) for name, text in texts.items()]).raise_for_failures()
        return store

    return make


@pytest.mark.parametrize("storage", STORAGES, ids=repr)
@pytest.mark.parametrize("dimension", [24, 33])
def test_a_rerank_scores_as_numpy_does_what_the_codes_stand_for(filled, storage, dimension):
    store = filled(storage, dimension)
    hits = store.search("one two five", rerank="colbert", mode="dense")
    assert {hit.id: hit.score for hit in hits} == pytest.approx(colbert_scores(store, "one two five"), abs=TOLERANCE)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.parametrize("weights", [Weighted(1, 0.3, 1), Weighted(0, 0, 1), Weighted(0, 1, 2)], ids=repr)
def test_weights_fuse_the_scores_of_codes_with_the_others(filled, weights):
    store = filled()
    hits = store.search("one two five", fusion=weights, explain=True)
    assert hits
    own = colbert_scores(store, "one two five")
    for hit in hits:
        assert hit.scores["colbert"] == pytest.approx(own[hit.id], abs=TOLERANCE)
        expected = sum(share * hit.scores[name] for name, share in weights.shares().items())
        assert hit.score == pytest.approx(expected, abs=TOLERANCE)


def test_a_filter_holds_for_a_rerank(filled):
    hits = filled().search("one two", rerank="colbert", filter={"name": {"in": ["a", "c"]}})
    assert {hit.id for hit in hits} == {"a", "c"}


def test_documents_come_without_their_codes(filled):
    store = filled()
    expected = [Document(name, text, {"name": name}) for name, text in TEXTS.items()]
    assert store.get(list(TEXTS)) == expected
    assert sorted(store.scroll(), key=lambda one: one.id) == expected
    [hit] = store.search("nine", 1, rerank="colbert", filter={"name": "d"})
    assert (hit.text, hit.metadata) == ("nine", {"name": "d"})


def test_a_document_that_is_replaced_gets_new_codes(filled):
    store = filled()
    store.add(Document("b", "eleven twelve", {"name": "b"}))
    [hit] = store.search("eleven", mode="dense", rerank="colbert", filter={"name": "b"})
    texts = {"b": "eleven twelve"}
    assert hit.score == pytest.approx(colbert_scores(store, "eleven", texts)["b"], abs=TOLERANCE)


def test_a_text_without_tokens_is_in_the_store_and_a_rerank_leaves_it_out(filled):
    store = filled(texts={**TEXTS, "empty": ""})
    assert store.count() == len(TEXTS) + 1
    assert {hit.id for hit in store.search("one", mode="dense", rerank="colbert")} == set(TEXTS)


def test_a_query_without_tokens_reranks_to_zero(filled):
    hits = filled().search("", mode="dense", rerank="colbert")
    assert [hit.score for hit in hits] == [0.0] * len(TEXTS)


def test_a_text_of_many_tokens_is_kept_whole(filled):
    # Milvus takes texts of up to 65,535 bytes.
    words = " ".join(f"w{number}" for number in range(8_191))
    store = filled(dimension=32, texts={"long": f"{words} last", "short": "w1"})
    [best, *_] = store.search("last", mode="dense", rerank="colbert")
    expected = colbert_scores(store, "last", {"long": f"{words} last"})["long"]
    assert (best.id, best.score) == ("long", pytest.approx(expected, abs=TOLERANCE))


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from([32, 100, 1024]),
    st.lists(st.sampled_from(["spread", "one number", "nearly zero", "twice"]), min_size=1, max_size=5),
    st.integers(0, 99),
)
def test_hostile_vectors_are_scored_as_numpy_does(factory, new_store, width, kinds, seed):
    generator = np.random.default_rng(seed)
    rows = np.concatenate([_hostile(kind, width, generator) for kind in kinds])
    query = _hostile("spread", width, generator)
    store = new_store(_Given(width, rows, query), colbert="compact")
    store.drop()
    store.create()
    store.add(Document("a", "text"))
    [hit] = store.search("query", mode="dense", rerank="colbert")
    expected = float(colbert_score(query, decoded(store.schema.colbert_storage, rows)))
    assert hit.score == pytest.approx(expected, abs=TOLERANCE)


class _Given:
    """A model that gives these ColBERT vectors to every document, and those to every query."""

    model_name_or_path, representations = "given", frozenset({"dense", "sparse", "colbert"})

    def __init__(self, width, rows, query):
        self.dimension = self.colbert_dimension = width
        self.rows, self.query = rows, query

    def encode_corpus(self, texts, **options):
        return self._output(texts, self.rows)

    def encode_queries(self, texts, **options):
        wanted = self._output(texts, self.query)
        kinds = {
            "dense_vecs": "return_dense",
            "lexical_weights": "return_sparse",
            "colbert_vecs": "return_colbert_vecs",
        }
        return M3Output({key: wanted[key] for key, kind in kinds.items() if options.get(kind)})

    def _output(self, texts, rows):
        dense = np.eye(1, self.dimension, dtype=np.float32).repeat(len(texts), axis=0)
        return M3Output(dense_vecs=dense, lexical_weights=[{7: 1.0}] * len(texts), colbert_vecs=[rows] * len(texts))


def _hostile(kind, width, generator):
    """Vectors of length 1 that are hard for codes."""
    spread = generator.normal(size=(1, width)).astype(np.float32)
    if kind == "one number":
        spread = np.eye(1, width, int(generator.integers(width)), dtype=np.float32)
    if kind == "nearly zero":
        spread = np.full((1, width), 1e-20, np.float32)
        spread[0, 0] = 1
    spread = np.repeat(spread, 2 if kind == "twice" else 1, axis=0)
    return spread / np.linalg.norm(spread, axis=1, keepdims=True)


def test_a_store_of_codes_is_opened_again_with_true_and_goes_on_with_codes(filled, new_store, seeded):
    store = filled(ColbertStorage(bits=2, seed=5))
    store.close()
    again = new_store(seeded(24), colbert=True)
    again.add(Document("f", "one eleven", {"name": "f"}))
    hits = again.search("one eleven", mode="dense", rerank="colbert")
    assert again.schema.colbert_storage == ColbertStorage(bits=2, seed=5)
    expected = colbert_scores(again, "one eleven", {**TEXTS, "f": "one eleven"})
    assert {hit.id: hit.score for hit in hits} == pytest.approx(expected, abs=TOLERANCE)


def test_codes_of_another_kind_are_refused(filled, new_store, seeded):
    filled(ColbertStorage(bits=2)).close()
    with pytest.raises(StoreError, match=r"keeps ColBERT vectors as ColbertStorage\(bits=2.*open it with colbert=True"):
        new_store(seeded(24), colbert=ColbertStorage(bits=4)).count()


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_document_whose_codes_are_damaged_or_missing_never_fails_a_search(filled, factory, caplog, damage):
    if not hasattr(factory, "change_codes"):
        pytest.skip(f"the factory {factory.name!r} has no change_codes")
    store = filled()
    value = DAMAGED[damage]
    if damage == "not finite":
        codes = store.schema.colbert_storage.encode(np.eye(1, 24, dtype=np.float32))
        codes[:] = 255
        value = codes_to_text(codes)
    factory.change_codes(store, "a", value)
    hits = store.search("one two three", mode="dense", rerank="colbert")
    assert {hit.id for hit in hits} == set(TEXTS) - {"a"}
    fused = store.search("one two three", fusion=Weighted(1, 0, 1), explain=True)
    assert {hit.id: hit.scores["colbert"] for hit in fused}["a"] == 0.0
    said = [record.getMessage() for record in caplog.records if "no usable ColBERT vectors" in record.getMessage()]
    # An empty text is what a document without vectors has.
    assert len(said) == (damage != "empty")


def test_a_document_whose_codes_another_tool_removed_never_fails_a_search(filled, factory, caplog):
    if not hasattr(factory, "change_codes"):
        pytest.skip(f"the factory {factory.name!r} has no change_codes")
    store = filled()
    factory.change_codes(store, "a", None)
    assert {hit.id for hit in store.search("one two", mode="dense", rerank="colbert")} == set(TEXTS) - {"a"}
    assert store.get("a")[0].text == TEXTS["a"]
    assert "1 of the 5 candidates of a search have no usable ColBERT vectors" in caplog.text
    store.add(Document("a", TEXTS["a"], {"name": "a"}))
    assert {hit.id for hit in store.search("one two", mode="dense", rerank="colbert")} == set(TEXTS)


def test_the_schema_of_a_store_says_how_its_codes_are_made(filled):
    store = filled()
    assert store.schema.colbert_storage == ColbertStorage().resolved(24)
    assert store._backend.describe() == store.schema
