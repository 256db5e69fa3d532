"""What searches ask of the server, and what they find in the forms of index that the contract suite does not try."""

import numpy as np
import pytest
from elasticsearch import BadRequestError
from elasticsearch.dsl import Q

from flagvec import Document, NativeFilter, StoreError, Weighted
from flagvec_elasticsearch import search

WORDS = [f"word{number}" for number in range(40)]
SEARCHES = [{"mode": "dense"}, {"mode": "sparse"}, {}, {"fusion": Weighted()}, {"rerank": "colbert"}]


def some_documents(count=300):
    generator = np.random.default_rng(0)
    return [
        Document(f"d{number:03}", " ".join(generator.choice(WORDS, size=6, replace=False)), {"n": number})
        for number in range(count)
    ]


def ranking(hits):
    return [(hit.id, pytest.approx(hit.score, abs=1e-5)) for hit in hits]


@pytest.fixture
def filled(new_store, seeded):
    """A function that makes a store of the same documents in an index of its own form."""

    def make(**options):
        store = new_store(seeded(64), **options)
        store.create()
        store.add(some_documents()).raise_for_failures()
        return store

    return make


@pytest.fixture
def reference(reference_of, seeded):
    queries = ["word1 word7 word9", "word3", "word30 word31 word32 word33 word34"]
    documents = some_documents()
    model = seeded(64)
    made = reference_of(model, [document.text for document in documents], queries)
    made.ids = [document.id for document in documents]
    return made


@pytest.mark.parametrize(
    "options",
    [
        {"dense_index": "int8_hnsw"},
        {"dense_index": "hnsw"},
        {"dense_index": "int4_hnsw"},
        {"dense_index": "bbq_hnsw"},
        {"dense_index": "flat"},
        {"settings": {"number_of_shards": 3}},
    ],
    ids=str,
)
def test_dense_scores_are_exact_in_every_form_of_index(filled, reference, options):
    store = filled(**options)
    for query in reference.rows:
        hits = store.search(query, mode="dense", limit=20, candidates=100)
        expected = reference.search(store.schema, query, mode="dense", limit=20)
        assert [hit.score for hit in hits] == pytest.approx([score for _, score in expected.ranking], abs=1e-6)
        for hit in store.search(query, limit=20, candidates=20, explain=True):
            assert hit.scores["dense"] == pytest.approx(expected.own["dense"][hit.id], abs=1e-6)


def test_a_sparse_vector_field_gives_the_scores_of_rank_features(filled, reference):
    store = filled(sparse_field="sparse_vector")
    for query in reference.rows:
        expected = reference.search(store.schema, query, mode="sparse").own["sparse"]
        hits = store.search(query, mode="sparse", limit=20)
        assert len(hits) == 20
        for hit in hits:
            assert hit.score == pytest.approx(expected[hit.id], rel=4e-3)


def test_sparse_scores_are_low_by_four_thousandths_at_most(filled, reference):
    store = filled()
    for query in reference.rows:
        expected = reference.search(store.schema, query, mode="sparse").own["sparse"]
        for hit in store.search(query, mode="sparse", limit=100):
            assert 0.996 * expected[hit.id] <= hit.score <= expected[hit.id] * (1 + 1e-6)


@pytest.mark.parametrize(
    ("options", "paths"),
    [
        ({"mode": "dense"}, ["_msearch"]),
        ({"mode": "sparse"}, ["_msearch"]),
        ({}, ["_msearch", "_mget"]),
        ({"candidates": 10, "explain": True}, ["_msearch", "_msearch"]),
        ({"candidates": 20, "fusion": Weighted(1, 1, 1)}, ["_msearch", "_msearch", "_msearch"]),
        ({"candidates": 20, "rerank": "colbert"}, ["_msearch", "_msearch"]),
        ({"mode": "dense", "rerank": "colbert"}, ["_msearch", "_msearch", "_msearch"]),
    ],
    ids=str,
)
def test_a_search_asks_once_for_each_of_candidates_scores_codes_and_documents(filled, requests, options, paths):
    store = filled()
    requests.clear()
    store.search("word1 word7", **options)
    assert [path.rpartition("/")[2] for _, path in requests] == paths


def test_documents_without_colbert_vectors_are_read_after_the_others(new_store, requests):
    store = new_store()
    store.create()
    store.add([Document("a", "one two"), Document("b", "")])
    requests.clear()
    hits = store.search("one two", fusion=Weighted(1, 1, 1))
    assert [(hit.id, hit.text) for hit in hits] == [("a", "one two"), ("b", "")]
    assert [path.rpartition("/")[2] for _, path in requests][-1] == "_mget"


def test_scores_that_all_legs_brought_need_no_second_round(new_store, requests):
    store = new_store()
    store.create()
    store.add(["one two", "two one one"])
    requests.clear()
    assert len(store.search("one two", fusion=Weighted(1, 1, 0))) == 2
    assert [path.rpartition("/")[2] for _, path in requests] == ["_msearch", "_mget"]


@pytest.mark.parametrize("options", [{"rerank": "colbert"}, {"fusion": Weighted()}], ids=str)
def test_colbert_vectors_that_are_fetched_in_parts_give_the_same_hits(filled, requests, monkeypatch, options):
    store = filled()
    whole = ranking(store.search("word1 word7 word9", **options))
    monkeypatch.setattr(search, "_FETCHED_BYTES", 5_000)
    requests.clear()
    assert ranking(store.search("word1 word7 word9", **options)) == whole
    assert len(requests) > 5


def test_the_native_fusion_gives_the_hits_of_ours(filled, new_store, seeded):
    store = filled()
    native = new_store(seeded(64), native_fusion=True)
    native.count()
    if not native._backend.fuses_natively:
        pytest.skip("this server's licence has no rrf retriever")
    hits = native.search("word1 word7 word9", candidates=300, limit=300)
    ours = store.search("word1 word7 word9", candidates=300, limit=300)
    assert {hit.id: hit.score for hit in hits} == pytest.approx({hit.id: hit.score for hit in ours}, abs=1e-3)


def test_where_the_licence_has_no_native_fusion_the_hits_are_the_same(filled, new_store, seeded):
    store = filled()
    native = new_store(seeded(64), native_fusion=True)
    native.count()
    if native._backend.fuses_natively:
        pytest.skip("this server's licence has the rrf retriever")
    assert native.search("word1 word7 word9") == store.search("word1 word7 word9")


def test_a_search_that_fails_among_others_is_named_in_elasticsearchs_words(filled):
    with pytest.raises(StoreError, match=r"could not be searched: 400: .*Cannot search on field \[text\]"):
        filled().search("word1", filter=NativeFilter({"term": {"text": "word1"}}))


@pytest.mark.parametrize(
    ("use", "what"),
    [
        (lambda store, filter: store.search("word1", filter=filter), "searched"),
        (lambda store, filter: store.count(filter), "counted"),
        (lambda store, filter: store.delete(filter=filter), "deleted from"),
        (lambda store, filter: list(store.scroll(filter)), "read"),
    ],
    ids=["search", "count", "delete", "scroll"],
)
def test_an_unknown_query_is_a_store_error_with_the_clients_as_its_cause(filled, use, what):
    store = filled()
    with pytest.raises(StoreError, match=f"could not be {what}: 400: .*no_such_query") as caught:
        use(store, NativeFilter({"no_such_query": {}}))
    assert isinstance(caught.value.__cause__, BadRequestError)
    assert store.count() == 300


def test_a_native_filter_chooses_as_elasticsearch_reads_it(filled):
    store = filled()
    chosen = NativeFilter({"ids": {"values": ["d001", "d002"]}})
    assert {hit.id for hit in store.search("word1", filter=chosen)} == {"d001", "d002"}
    assert store.count(chosen) == 2


def test_a_query_of_elasticsearch_dsl_is_a_filter_in_each_verb(filled):
    store = filled()
    chosen = Q("ids", values=["d001", "d002"]) | Q("term", **{"typed.present": "no-such-name"})
    assert {hit.id for hit in store.search("word1", filter=chosen)} == {"d001", "d002"}
    assert {document.id for document in store.scroll(chosen)} == {"d001", "d002"}
    store.delete(filter=chosen)
    assert (store.count(chosen), store.count()) == (0, 298)


@pytest.mark.parametrize(
    ("fusion", "options"),
    [("by_reciprocal_ranks", {}), ("by_scores", {"fusion": Weighted(1, 1, 0)})],
    ids=["ranks", "scores"],
)
def test_a_deleted_document_that_was_just_found_is_left_out(filled, monkeypatch, fusion, options):
    store = filled()
    found = store.search("word1 word7", **options)[0].id
    fuse = getattr(search, fusion)

    def fuse_and_delete(*arguments):
        ranked = fuse(*arguments)
        store.delete(found)
        return ranked

    monkeypatch.setattr(search, fusion, fuse_and_delete)
    assert found not in [hit.id for hit in store.search("word1 word7", **options)]


def test_a_document_that_was_read_with_its_vectors_stays_a_hit(filled, monkeypatch):
    store = filled()
    best = store.search("word1 word7", fusion=Weighted())[0]
    rank = search.by_scores

    def rank_and_delete(*arguments):
        ranked = rank(*arguments)
        store.delete(best.id)
        return ranked

    monkeypatch.setattr(search, "by_scores", rank_and_delete)
    assert store.search("word1 word7", fusion=Weighted())[0] == best


def test_texts_of_too_many_candidates_to_keep_are_read_in_the_end(filled, requests, monkeypatch):
    store = filled()
    kept = store.search("word1 word7", fusion=Weighted())
    monkeypatch.setattr(search, "_KEPT_DOCUMENTS", 10)
    requests.clear()
    assert store.search("word1 word7", fusion=Weighted()) == kept
    assert requests[-1][1].endswith("_mget")


def test_more_hits_than_elasticsearch_finds_are_refused(new_store, seeded):
    store = new_store(seeded(), max_limit=20_000)
    store.create()
    for options in ({"limit": 10_001}, {"candidates": 10_001}):
        with pytest.raises(ValueError, match="finds at most 10000 documents"):
            store.search("one", **options)


def test_a_query_of_more_tokens_than_clauses_are_allowed_is_searched_by_its_heaviest(store):
    heavy = "x" * 20
    store.add([Document("heavy", heavy), Document("light", "w7")])
    query = " ".join(f"w{number}" for number in range(20_000))
    assert [hit.id for hit in store.search(f"{query} {heavy}", mode="sparse")] == ["heavy"]


@pytest.mark.parametrize("options", SEARCHES, ids=str)
def test_hits_do_not_depend_on_the_number_of_shards(filled, client, index, options):
    one = {hit.id: hit.score for hit in filled().search("word1 word7 word9", limit=300, candidates=300, **options)}
    client.indices.delete(index=index)
    three = filled(settings={"number_of_shards": 3})
    assert {
        hit.id: hit.score for hit in three.search("word1 word7 word9", limit=300, candidates=300, **options)
    } == pytest.approx(one, abs=1e-6)
