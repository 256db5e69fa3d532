"""Every store, mode and fusion over real encoded texts, against the numpy reference."""

import pytest

from flagvec import Document, Weighted

# Databases keep ColBERT vectors in float16, which moves a mean of dot products by a few 1e-5.
TOLERANCE = 1e-4
# Elasticsearch keeps nine bits of a lexical weight.
SPARSE_PRECISION = 0.004

SEARCHES = {
    "dense": {"mode": "dense"},
    "sparse": {"mode": "sparse"},
    "rrf": {},
    "rrf of few candidates": {"candidates": 10},
    "weighted": {"fusion": Weighted()},
    "weighted of few candidates": {"fusion": Weighted(), "candidates": 10},
    "weighted without ColBERT": {"fusion": Weighted(1, 0.3, 0)},
    "weighted without sparse": {"fusion": Weighted(0.4, 0, 0.6)},
    "weighted dense alone": {"fusion": Weighted(1, 0, 0)},
    "weighted ColBERT alone": {"fusion": Weighted(0, 0, 1)},
    "rerank": {"rerank": "colbert"},
    "rerank of few candidates": {"rerank": "colbert", "candidates": 10},
    "rerank of dense candidates": {"mode": "dense", "rerank": "colbert", "candidates": 15},
    "rerank of sparse candidates": {"mode": "sparse", "rerank": "colbert"},
    "all documents": {"limit": 1000},
}


@pytest.mark.parametrize("options", SEARCHES.values(), ids=SEARCHES)
def test_hits_and_scores_are_those_of_the_reference(golden_store, golden_reference, queries, options):
    for query in queries:
        hits = golden_store.search(query, explain=True, **options)
        expected = golden_reference.search(golden_store.schema, query, **options)
        # Place by place the score, and of each document its score: the same order, but where scores are equal.
        assert [hit.score for hit in hits] == pytest.approx([score for _, score in expected.ranking], abs=TOLERANCE)
        assert [hit.score for hit in hits] == pytest.approx([expected.scores[hit.id] for hit in hits], abs=TOLERANCE)
        for hit in hits:
            assert hit.scores.keys() == expected.own.keys()
            for name, score in hit.scores.items():
                assert score == pytest.approx(expected.own[name][hit.id], abs=TOLERANCE)


@pytest.mark.parametrize("options", SEARCHES.values(), ids=SEARCHES)
def test_a_search_finds_the_same_whether_it_is_explained_or_not(golden_store, queries, options):
    for query in queries:
        explained = golden_store.search(query, explain=True, **options)
        hits = golden_store.search(query, **options)
        assert [(hit.id, hit.text, hit.metadata) for hit in hits] == [
            (hit.id, hit.text, hit.metadata) for hit in explained
        ]
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in explained], abs=1e-6)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"mode": "dense"}, ["dense"]),
        ({"mode": "sparse"}, ["sparse"]),
        ({}, []),
        ({"rerank": "colbert"}, ["colbert"]),
        ({"mode": "dense", "rerank": "colbert"}, ["colbert"]),
        ({"fusion": Weighted(1, 0.3, 0)}, ["dense", "sparse"]),
        ({"fusion": Weighted(0, 0, 1)}, ["colbert"]),
        ({"fusion": Weighted()}, ["dense", "sparse", "colbert"]),
    ],
    ids=str,
)
def test_a_hit_carries_the_scores_that_ordered_it(golden_store, golden_reference, queries, options, names):
    for query in queries:
        own = golden_reference.search(golden_store.schema, query, **options).own
        for hit in golden_store.search(query, **options):
            assert list(hit.scores) == names
            assert dict(hit.scores) == pytest.approx({name: own[name][hit.id] for name in names}, abs=TOLERANCE)


@pytest.mark.parametrize("options", SEARCHES.values(), ids=SEARCHES)
async def test_a_search_that_is_awaited_finds_the_same(golden_store, queries, options):
    for query in queries[:3]:
        expected = golden_store.search(query, explain=True, **options)
        assert await golden_store.asearch(query, explain=True, **options) == expected


@pytest.mark.parametrize("options", [{"mode": "dense"}, {"mode": "sparse"}, {}], ids=["dense", "sparse", "rrf"])
def test_hits_come_in_the_order_of_the_reference(golden_store, golden_reference, queries, options):
    for query in queries:
        ranking = golden_reference.search(golden_store.schema, query, **options).ranking
        assert [hit.id for hit in golden_store.search(query, **options)] == [name for name, _ in ranking]


def test_reciprocal_rank_scores_are_the_published_ones(golden_store, golden_reference, queries):
    for query in queries:
        expected = dict(golden_reference.search(golden_store.schema, query).ranking)
        assert {hit.id: hit.score for hit in golden_store.search(query)} == pytest.approx(expected, abs=1e-8)


def test_a_score_is_true_also_where_the_leg_did_not_find_the_hit(golden_store, golden_reference, queries):
    outside = 0
    for query in queries:
        found = {hit.id for hit in golden_store.search(query, mode="sparse", limit=3)}
        for hit in golden_store.search(query, limit=3, candidates=3, explain=True):
            if hit.id not in found:
                true_score = golden_reference.search(golden_store.schema, query).own["sparse"][hit.id]
                assert hit.scores["sparse"] == pytest.approx(true_score, abs=1e-6)
                outside += true_score > 0
    assert outside > 0


def test_hits_bring_back_what_was_added(golden_store, texts, queries):
    for hit in golden_store.search(queries[0], limit=5):
        assert hit.text in texts
        assert hit.metadata == {}


@pytest.mark.parametrize("query", ["", "   ", "\n", "\ud800", "x" * 100_000, "рис 米 😀"])
def test_any_query_text_is_searched(golden_store, query):
    for options in ({}, {"fusion": Weighted()}, {"rerank": "colbert"}):
        assert len(golden_store.search(query, limit=3, **options)) == 3


@pytest.mark.parametrize("of_dense, of_sparse", [("a", "b"), ("b", "a"), ("1", "2"), ("2", "1"), ("x", "X")])
def test_of_equal_scores_the_first_by_id_is_the_hit(new_store, seeded, of_dense, of_sparse):
    class TwoWords(seeded):
        """Makes the dense vector of a text's first word and the lexical weights of its second."""

        def encode_corpus(self, texts, **options):
            first, second = zip(*(text.split() for text in texts), strict=True)
            dense = super().encode_corpus(first, **options | {"return_sparse": False})
            return dense | super().encode_corpus(second, **options | {"return_dense": False})

        encode_queries = encode_corpus

    store = new_store(TwoWords(), colbert=False)
    store.create()
    store.add([Document(of_dense, "east rice"), Document(of_sparse, "west bread")])
    hits = store.search("east bread", limit=1, candidates=1)
    assert [(hit.id, hit.score) for hit in hits] == [(min(of_dense, of_sparse), pytest.approx(1 / 61))]


def test_a_dense_model_is_searched_dense(new_store, tiny_bert, texts, queries, reference_of):
    store = new_store(tiny_bert)
    store.create()
    store.add(texts)
    reference = reference_of(tiny_bert, texts, queries)
    for query in queries[:5]:
        hits, expected = store.search(query), reference.search(store.schema, query)
        assert [hit.score for hit in hits] == pytest.approx([score for _, score in expected.ranking], abs=1e-5)
        assert hits[0].scores == {"dense": hits[0].score}


def test_a_query_that_shares_no_token_finds_dense_candidates_alone(store):
    store.add(["one two", "three four"])
    assert store.search("five", mode="sparse") == []
    assert {hit.scores["sparse"] for hit in store.search("five", explain=True)} == {0.0}
    assert len(store.search("five", fusion=Weighted())) == 2


@pytest.mark.parametrize("options", [{}, {"fusion": Weighted()}, {"rerank": "colbert"}, {"mode": "dense"}])
def test_a_query_without_tokens_finds_dense_candidates(store, options):
    store.add(["one two", "three four"])
    assert len(store.search("", **options)) == 2
    assert store.search("", mode="sparse") == []


def test_a_document_without_tokens_is_found_by_its_dense_vector(store):
    store.add(["", "one two"])
    assert [hit.text for hit in store.search("one", mode="dense", limit=5)] == ["one two", ""]
    assert [hit.text for hit in store.search("one", fusion=Weighted(), limit=5)] == ["one two", ""]
    assert [hit.text for hit in store.search("one", rerank="colbert", limit=5)] == ["one two"]
    assert store.search("one", fusion=Weighted())[1].scores["colbert"] == 0.0


def test_an_empty_store_finds_nothing(store):
    for options in ({}, {"mode": "dense"}, {"mode": "sparse"}, {"fusion": Weighted()}, {"rerank": "colbert"}):
        assert store.search("one", **options) == []


def test_weights_from_tiny_to_huge_keep_their_dot_product(new_store, seeded):
    class Weights(seeded):
        def encode_corpus(self, texts, **options):
            output = super().encode_corpus(texts, **options)
            output["lexical_weights"] = [{1: 1e-8, 4_294_967_293: 1e4} for _ in texts]
            return output

        encode_queries = encode_corpus

    store = new_store(Weights())
    store.create()
    store.add("one")
    (hit,) = store.search("one", mode="sparse")
    assert hit.score == pytest.approx(1e8, rel=SPARSE_PRECISION)


@pytest.mark.parametrize("weight", [1e-8, 1e-4, 1.0, 1e4])
def test_a_weight_of_any_size_keeps_its_score(new_store, seeded, weight):
    class OneWeight(seeded):
        def encode_corpus(self, texts, **options):
            return super().encode_corpus(texts, **options) | {"lexical_weights": [{7: weight} for _ in texts]}

        def encode_queries(self, texts, **options):
            return super().encode_corpus(texts, **options) | {"lexical_weights": [{7: 1.0} for _ in texts]}

    store = new_store(OneWeight())
    store.create()
    store.add("one")
    (hit,) = store.search("one", mode="sparse")
    assert hit.score == pytest.approx(weight, rel=SPARSE_PRECISION)


def test_hits_below_the_least_score_are_left_out(store):
    store.add(["one two", "one three", "four five"])
    best, *_ = store.search("one two", mode="dense")
    assert [hit.text for hit in store.search("one two", mode="dense", min_score=best.score - 1e-4)] == ["one two"]
    with pytest.raises(ValueError, match=r"min_score=.*fusion='rrf'"):
        store.search("one two", min_score=0.5)


def test_weights_may_be_given_as_a_dict(store):
    store.add(["one two", "one three"])
    as_dict = store.search("one two", fusion={"dense": 1, "sparse": 0.3})
    assert as_dict == store.search("one two", fusion=Weighted(1, 0.3, 0))


def test_another_librarys_name_for_the_limit_is_corrected(store):
    with pytest.raises(TypeError, match=rf"{type(store).__name__}\.search takes no argument 'k'.*`limit`"):
        store.search("one", k=3)
