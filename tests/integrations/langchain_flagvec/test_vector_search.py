"""`FlagVectorStore` on every store: searches, relevance and diversity."""

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores.utils import maximal_marginal_relevance as langchain_mmr

from flagvec import Weighted
from flagvec_qdrant import QdrantEdgeStore
from langchain_flagvec import FlagVectorStore

SEARCHES = {
    "dense": {"mode": "dense"},
    "sparse": {"mode": "sparse"},
    "rrf": {},
    "rrf of few candidates": {"candidates": 10},
    "weighted": {"fusion": Weighted()},
    "weighted by a dict": {"fusion": {"dense": 1, "sparse": 0.3}},
    "rerank": {"rerank": "colbert", "candidates": 15},
    "of a score": {"mode": "dense", "min_score": 0.1},
}


@pytest.fixture
def vector_store(golden_store):
    return FlagVectorStore(golden_store)


@pytest.fixture
def recipes(store):
    """A store of seeded vectors, with metadata."""
    vector_store = FlagVectorStore(store)
    vector_store.add_texts(["warm soup", "cold soup", "cold rice"], [{"n": 1}, {"n": 2}, {"n": 3}], ids=["a", "b", "c"])
    return vector_store


def in_metadata(document):
    return document.metadata["n"]


@pytest.mark.parametrize("options", SEARCHES.values(), ids=SEARCHES)
async def test_a_search_finds_what_the_store_finds(vector_store, queries, options):
    for query in queries[:2]:
        hits = vector_store.store.search(query, 5, **options)
        documents = [Document(hit.text, id=hit.id, metadata=hit.metadata) for hit in hits]
        assert vector_store.similarity_search(query, 5, **options) == documents
        assert await vector_store.asimilarity_search(query, k=5, **options) == documents
        for scored in (
            vector_store.similarity_search_with_score(query, 5, **options),
            await vector_store.asimilarity_search_with_score(query, k=5, **options),
        ):
            assert [document for document, _ in scored] == documents
            # numpy, in Qdrant's local mode, rounds by where an array happens to lie.
            assert [score for _, score in scored] == pytest.approx([hit.score for hit in hits], abs=1e-6)


def test_what_the_constructor_says_holds_unless_a_call_says_otherwise(recipes):
    sparse = FlagVectorStore(recipes.store, mode="sparse")
    assert [document.id for document in sparse.similarity_search("warm")] == ["a"]
    assert len(sparse.similarity_search("warm", mode="dense")) == 3
    assert len(sparse.similarity_search("warm", mode="dense", k=2)) == 2


@pytest.mark.parametrize("name", ["gte", "$gte"])
async def test_a_filter_chooses_on_every_way_to_search(recipes, name):
    chosen = {"filter": {"n": {name: 2}}}
    vector = recipes.embeddings.embed_query("warm soup")
    for found in [
        recipes.similarity_search("warm soup", **chosen),
        await recipes.asimilarity_search("warm soup", **chosen),
        recipes.similarity_search_by_vector(vector, **chosen),
        await recipes.asimilarity_search_by_vector(vector, **chosen),
        recipes.max_marginal_relevance_search("warm soup", **chosen),
        recipes.max_marginal_relevance_search_by_vector(vector, **chosen),
        [document for document, _ in recipes.similarity_search_with_relevance_scores("warm soup", **chosen)],
        recipes.as_retriever(search_kwargs=chosen).invoke("warm soup"),
    ]:
        assert sorted(map(in_metadata, found)) == [2, 3]


def test_a_native_filter_is_passed_on(tmp_path, seeded):
    from qdrant_edge import FieldCondition, Filter, MatchValue

    with QdrantEdgeStore(seeded(), tmp_path / "index") as store:
        store.create()
        vector_store = FlagVectorStore(store)
        vector_store.add_texts(["warm soup", "cold soup"], [{"n": 1}, {"n": 2}])
        native = Filter(must=[FieldCondition(key="metadata.n", match=MatchValue(2))])
        for search in (vector_store.similarity_search, vector_store.max_marginal_relevance_search):
            assert [in_metadata(found) for found in search("soup", filter=native)] == [2]
        assert [in_metadata(found) for found in FlagVectorStore(store, filter=native).similarity_search("soup")] == [2]


async def test_a_search_by_vector_is_a_dense_one_whatever_the_vectors_length(vector_store, queries):
    for query in queries[:2]:
        expected = vector_store.similarity_search(query, 5, mode="dense")
        vector = vector_store.embeddings.embed_query(query)
        assert vector_store.similarity_search_by_vector(vector, 5) == expected
        assert vector_store.similarity_search_by_vector([3 * number for number in vector], 5) == expected
        assert await vector_store.asimilarity_search_by_vector(np.array(vector), k=5) == expected


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ([0.0] * 16, "length 0"),
        ([float("nan")] * 16, "length nan"),
        ([1.0] * 8, "16 dimensions"),
        ([], "one vector"),
        ([[1.0] * 16], "one vector"),
    ],
)
def test_a_vector_without_a_direction_in_the_store_is_refused(recipes, vector, message):
    with pytest.raises(ValueError, match=message):
        recipes.similarity_search_by_vector(vector)


def test_bad_options_are_named(recipes):
    for search in (
        recipes.similarity_search,
        recipes.similarity_search_with_relevance_scores,
        recipes.max_marginal_relevance_search,
    ):
        with pytest.raises(ValueError, match="k=0"):
            search("soup", k=0)
        with pytest.raises(TypeError, match=rf"FlagVectorStore.{search.__name__} takes no argument 'modus': .* 'mode'"):
            search("soup", modus="dense")
        with pytest.raises(TypeError, match="the number of hits is the argument `k`"):
            search("soup", limit=3)
        with pytest.raises(ValueError, match="mode='dens'"):
            search("soup", mode="dens")
        with pytest.raises(TypeError, match="query takes a str, not NoneType"):
            search(None)
    with pytest.raises(ValueError, match="mode='dens'"):
        FlagVectorStore(recipes.store, mode="dens")
    with pytest.raises(TypeError, match="FlagVectorStore takes no argument 'modus'"):
        FlagVectorStore(recipes.store, modus="dense")
    with pytest.raises(ValueError, match="choose another mode"):
        recipes.similarity_search_by_vector([1.0] * 16, mode="hybrid")
    with pytest.raises(ValueError, match="fetch_k=0"):
        recipes.max_marginal_relevance_search("soup", fetch_k=0)
    for method in (recipes.similarity_search, recipes.max_marginal_relevance_search):
        with pytest.raises(ValueError, match=r"^k=1000000000: at most 10,000 documents; .* max_limit allows more"):
            method("soup", k=10**9)
    with pytest.raises(ValueError, match="fetch_k=10001: at most 10,000 documents"):
        recipes.max_marginal_relevance_search("soup", fetch_k=10_001)
    with pytest.raises(ValueError, match="fetch_k=10001: at most 10,000 documents"):
        recipes.max_marginal_relevance_search_by_vector([1.0] * 16, fetch_k=10_001)
    with pytest.raises(ValueError, match="candidates=10001: at most 10,000 documents"):
        recipes.similarity_search("soup", candidates=10_001)
    for share, error in ((1.5, ValueError), (float("nan"), ValueError), ("high", TypeError)):
        with pytest.raises(error, match="lambda_mult"):
            recipes.max_marginal_relevance_search("soup", lambda_mult=share)


async def test_the_constructors_filter_holds_on_every_way_to_search(recipes):
    filtered = FlagVectorStore(recipes.store, filter={"n": 3}, mode="sparse")
    vector = recipes.embeddings.embed_query("cold rice")
    for found in (
        filtered.similarity_search("cold rice"),
        filtered.similarity_search_by_vector(vector),
        filtered.max_marginal_relevance_search("cold rice"),
        await filtered.amax_marginal_relevance_search_by_vector(vector),
    ):
        assert list(map(in_metadata, found)) == [3]
    assert sorted(map(in_metadata, filtered.similarity_search("cold rice", filter=None))) == [2, 3]


def test_explain_adds_scores_to_the_metadata(recipes):
    [hit] = recipes.store.search("warm soup", 1, explain=True)
    vector = recipes.embeddings.embed_query("warm soup")
    for found in (
        recipes.similarity_search("warm soup", 1, explain=True),
        recipes.max_marginal_relevance_search("warm soup", 1, explain=True),
        [document for document, _ in recipes.similarity_search_with_relevance_scores("warm soup", 1, explain=True)],
    ):
        [document] = found
        assert document.metadata["score"] == pytest.approx(hit.score)
        assert document.metadata["scores"] == pytest.approx(dict(hit.scores))
    [document] = recipes.similarity_search_by_vector(vector, 1, explain=True)
    assert document.metadata["scores"].keys() == {"dense"}
    [(document, _)] = recipes.similarity_search_with_relevance_scores("warm soup", 1)
    assert document.metadata.keys() == {"n"}


@pytest.mark.parametrize("options", SEARCHES.values(), ids=SEARCHES)
async def test_relevance_is_between_0_and_1_and_the_hits_keep_their_order(vector_store, queries, options):
    for query in queries[:3]:
        found = vector_store.similarity_search(query, 8, **options)
        relevant = vector_store.similarity_search_with_relevance_scores(query, 8, **options)
        awaited = await vector_store.asimilarity_search_with_relevance_scores(query, 8, **options)
        assert [document for document, _ in relevant] == [document for document, _ in awaited] == found
        assert all(0 <= relevance <= 1 for _, relevance in relevant)
        assert [relevance for _, relevance in awaited] == pytest.approx([one for _, one in relevant], abs=1e-6)


@pytest.mark.parametrize("options", [{"mode": "dense"}, {"rerank": "colbert"}, {}], ids=str)
def test_a_text_itself_is_fully_relevant(vector_store, texts, options):
    [(document, relevance)] = vector_store.similarity_search_with_relevance_scores(texts[1], 1, **options)
    assert (document.page_content, relevance) == (texts[1], pytest.approx(1, abs=1e-3))


def test_a_threshold_leaves_out_what_is_less_relevant(recipes):
    found = recipes.similarity_search_with_relevance_scores("warm soup", mode="sparse", score_threshold=0.2)
    assert [document.id for document, _ in found] == ["a"]
    retriever = recipes.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.2, "mode": "sparse"}
    )
    assert [document.id for document in retriever.invoke("warm soup")] == ["a"]


async def test_after_rrf_a_threshold_compares_the_dense_score(vector_store, queries):
    for query in queries[:3]:
        ranked = vector_store.store.search(query, 8, explain=True)
        relevances = [(1 + hit.scores["dense"]) / 2 for hit in ranked]
        threshold = float(np.median(relevances))
        expected = [hit.id for hit, one in zip(ranked, relevances, strict=True) if one >= threshold]
        retriever = vector_store.as_retriever(
            search_type="similarity_score_threshold", search_kwargs={"k": 8, "score_threshold": threshold - 1e-6}
        )
        assert [document.id for document in retriever.invoke(query)] == expected
        assert [document.id for document in await retriever.ainvoke(query)] == expected
        assert 0 < len(expected) < len(ranked)


def test_after_rrf_a_query_that_nothing_fits_finds_nothing_above_a_threshold(recipes):
    [(_, best)] = recipes.similarity_search_with_relevance_scores("unknown words", 1)
    assert recipes.similarity_search_with_relevance_scores("unknown words", score_threshold=best + 0.2) == []


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_diverse_hits_are_those_that_langchain_would_choose(vector_store, queries, share):
    embeddings = vector_store.embeddings
    for query in queries[:3]:
        candidates = vector_store.similarity_search(query, 12)
        vectors = embeddings.embed_documents([document.page_content for document in candidates])
        asked = np.array(embeddings.embed_query(query))
        expected = [candidates[position] for position in langchain_mmr(asked, vectors, share, k=5)]
        found = vector_store.max_marginal_relevance_search(query, 5, fetch_k=12, lambda_mult=share)
        assert found == expected


async def test_diverse_hits_near_a_vector_are_chosen_among_dense_ones(vector_store, queries):
    vector = vector_store.embeddings.embed_query(queries[0])
    expected = vector_store.max_marginal_relevance_search(queries[0], 5, 12, mode="dense")
    assert vector_store.max_marginal_relevance_search_by_vector(vector, 5, 12) == expected
    assert await vector_store.amax_marginal_relevance_search_by_vector(vector, 5, 12) == expected
    assert await vector_store.amax_marginal_relevance_search(queries[0], 5, 12, mode="dense") == expected


def test_candidates_are_at_least_as_many_as_documents_are_wanted(vector_store, queries):
    assert len(vector_store.max_marginal_relevance_search(queries[0], k=25)) == 25


def test_the_constructors_candidates_grow_with_what_a_call_wants(vector_store, queries):
    narrow = FlagVectorStore(vector_store.store, candidates=5)
    assert len(narrow.max_marginal_relevance_search(queries[0], k=8)) == 8
    assert len(narrow.similarity_search(queries[0], k=8)) == 8
    assert len(narrow.similarity_search_by_vector(narrow.embeddings.embed_query(queries[0]), k=8)) == 8
    with pytest.raises(ValueError, match="candidates=5: at least 8"):
        narrow.similarity_search(queries[0], k=8, candidates=5)


def test_diverse_hits_are_chosen_among_what_the_search_finds(recipes):
    found = recipes.max_marginal_relevance_search("warm soup", mode="sparse")
    assert sorted(document.id for document in found) == ["a", "b"]


def test_an_empty_store_has_no_diverse_hits(store):
    vector_store = FlagVectorStore(store)
    assert vector_store.max_marginal_relevance_search("soup") == []
    assert vector_store.max_marginal_relevance_search_by_vector([1.0] + [0.0] * 15) == []


def test_a_diverse_search_encodes_the_query_once_and_the_candidates_together(recipes, monkeypatch):
    model, calls = recipes.store.model, []

    def recorded(name, encode):
        def record(texts, *arguments, **options):
            calls.append((name, len(texts)))
            return encode(texts, *arguments, **options)

        return record

    for name in ("encode_queries", "encode_corpus"):
        monkeypatch.setattr(model, name, recorded(name, getattr(model, name)))
    recipes.max_marginal_relevance_search("soup", 2, rerank="colbert")
    assert calls == [("encode_queries", 1), ("encode_corpus", 3)]


@pytest.mark.parametrize("search_type", ["similarity", "mmr", "similarity_score_threshold"])
async def test_each_type_of_retriever_finds_the_same_awaited_or_not(recipes, search_type):
    options = {"k": 2, **({"score_threshold": 0.1} if "threshold" in search_type else {})}
    retriever = recipes.as_retriever(search_type=search_type, search_kwargs=options)
    found = retriever.invoke("warm soup")
    assert (found[0].id, len(found)) == ("a", 2)
    assert await retriever.ainvoke("warm soup") == found
    assert recipes.search("warm soup", search_type, **options) == found
    assert await recipes.asearch("warm soup", search_type, **options) == found
    assert {"FlagVectorStore", "FlagEmbeddings"} <= set(retriever.tags)
