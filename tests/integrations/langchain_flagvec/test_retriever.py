"""`FlagRetriever` on every store."""

import asyncio
import copy
import pickle
import threading

import pytest
from langchain_core.documents import Document
from langchain_core.load import dumps
from langchain_core.runnables import ConfigurableField, RunnableLambda
from pydantic import ValidationError
from qdrant_client import QdrantClient

from flagvec import Weighted
from flagvec_qdrant import QdrantEdgeStore, QdrantStore
from langchain_flagvec import FlagRetriever, FlagVectorStore

SEARCHES = {
    "dense": {"mode": "dense"},
    "rrf of few candidates": {"candidates": 10},
    "weighted": {"fusion": Weighted(1, 0.3, 0)},
    "weighted by a dict": {"fusion": {"dense": 1, "sparse": 0.3}},
    "of a score": {"mode": "dense", "min_score": 0.1},
    "rerank": {"rerank": "colbert", "candidates": 15},
}


@pytest.fixture
def edge(tmp_path, seeded):
    with QdrantEdgeStore(seeded(), tmp_path / "index") as store:
        store.create()
        FlagVectorStore(store).add_texts(
            ["warm soup", "cold soup", "cold rice"], [{"n": 1}, {"n": 2}, {"n": 3}], ids=["a", "b", "c"]
        )
        yield store


def ids(documents):
    return [document.id for document in documents]


@pytest.mark.parametrize("options", SEARCHES.values(), ids=SEARCHES)
async def test_it_finds_what_the_store_finds(golden_store, queries, options):
    retriever = FlagRetriever(store=golden_store, k=5, **options)
    for query in queries[:2]:
        expected = [Document(hit.text, id=hit.id) for hit in golden_store.search(query, 5, **options)]
        assert retriever.invoke(query) == expected
        assert await retriever.ainvoke(query) == expected
        assert FlagRetriever(store=golden_store).invoke(query, k=5, **options) == expected


def test_a_call_may_say_otherwise(edge):
    retriever = FlagRetriever(store=edge, mode="sparse", k=1)
    assert ids(retriever.invoke("cold soup")) == ["b"]
    assert ids(retriever.invoke("warm", k=3, mode="dense"))[:1] == ["a"]
    assert sorted(ids(retriever.invoke("cold soup", k=3, filter={"n": {"ne": 2}}))) == ["a", "c"]
    assert retriever.k == 1


def test_a_filter_chooses(edge):
    assert sorted(ids(FlagRetriever(store=edge, filter={"n": {"gte": 2}}).invoke("warm soup"))) == ["b", "c"]


def test_weights_may_be_given_as_a_dict(edge):
    retriever = FlagRetriever(store=edge, fusion={"dense": 1, "sparse": 0.3}, add_scores=True)
    weighted = FlagRetriever(store=edge, fusion=Weighted(1, 0.3, 0), add_scores=True)
    assert retriever.invoke("soup") == weighted.invoke("soup")
    assert retriever.invoke("soup")[0].metadata["scores"].keys() == {"dense", "sparse"}


def test_documents_of_a_low_score_are_left_out(edge):
    best, *others = edge.search("warm soup", mode="dense")
    least = (best.score + others[0].score) / 2
    assert ids(FlagRetriever(store=edge, mode="dense", min_score=least).invoke("warm soup")) == [best.id]
    assert ids(FlagRetriever(store=edge, mode="dense").invoke("warm soup", min_score=least)) == [best.id]


def test_a_filter_of_the_databases_own_is_taken(edge):
    from qdrant_edge import FieldCondition, Filter, MatchValue

    native = Filter(must=[FieldCondition(key="metadata.n", match=MatchValue(2))])
    assert ids(FlagRetriever(store=edge, filter=native).invoke("soup")) == ["b"]
    assert ids(FlagRetriever(store=edge).invoke("soup", filter=native)) == ["b"]


def test_filters_may_be_written_with_dollars(edge):
    assert ids(FlagRetriever(store=edge, filter={"n": {"$gte": 3}}).invoke("soup")) == ["c"]


def test_its_repr_fits_a_screen(edge):
    assert repr(FlagRetriever(store=edge)) == f"FlagRetriever(store={edge!r}, k=4)"
    shown = repr(FlagRetriever(store=edge, mode="dense", filter={"n": {"in": list(range(10_000))}}))
    assert "mode='dense', filter={'n': {'in': [0, 1" in shown
    assert len(shown) < 800


def test_metadata_is_what_was_stored_unless_scores_are_asked_for(edge):
    [plain] = FlagRetriever(store=edge, k=1).invoke("warm soup")
    assert plain.metadata == {"n": 1}
    [hit] = edge.search("warm soup", 1, rerank="colbert", explain=True)
    [scored] = FlagRetriever(store=edge, k=1, rerank="colbert", add_scores=True).invoke("warm soup")
    assert scored.metadata == {"n": 1, "score": hit.score, "scores": hit.scores}
    assert FlagRetriever(store=edge, k=1, rerank="colbert").invoke("warm soup", explain=True) == [scored]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k=0"),
        ({"mode": "dens"}, "'dense', 'sparse' or 'hybrid'"),
        ({"top_k": 3}, "Extra inputs are not permitted"),
        ({"k": 10, "candidates": 5}, "candidates=5"),
        ({"mode": "dense", "fusion": Weighted()}, "leave one out"),
        ({"filter": {"n": {"about": 3}}}, "is no operator"),
        ({"fusion": {"dense": -1}}, "not negative"),
        ({"min_score": 0.5}, "min_score=0.5: the scores of fusion='rrf' come from ranks"),
        ({"store": "index"}, "instance of HybridStore"),
    ],
)
def test_bad_options_are_refused_when_it_is_made(edge, options, message):
    with pytest.raises(ValidationError, match=message):
        FlagRetriever(**{"store": edge, **options})


def test_what_a_store_does_not_hold_is_refused_when_it_is_made(tmp_path, seeded):
    store = QdrantEdgeStore(seeded(representations=["dense"]), tmp_path / "dense")
    with pytest.raises(ValidationError, match="rerank='colbert' needs colbert"):
        FlagRetriever(store=store, rerank="colbert")


def test_bad_options_of_a_call_are_named(edge):
    retriever = FlagRetriever(store=edge)
    with pytest.raises(TypeError, match=r"FlagRetriever.invoke takes no argument 'top_k': .* the argument `k`"):
        retriever.invoke("soup", top_k=3)
    with pytest.raises(TypeError, match="did you mean 'rerank'"):
        retriever.invoke("soup", reranker="colbert")
    with pytest.raises(ValueError, match="k=0"):
        retriever.invoke("soup", k=0)
    with pytest.raises(TypeError, match="query takes a str"):
        retriever.invoke(None)


async def test_it_is_a_runnable_in_chains_and_batches(edge):
    retriever = FlagRetriever(store=edge, k=1)
    chain = retriever | RunnableLambda(ids)
    assert chain.batch(["warm soup", "cold rice"]) == [["a"], ["c"]]
    assert await chain.abatch(["warm soup", "cold rice"]) == [["a"], ["c"]]


def test_its_options_can_be_made_configurable(edge):
    retriever = FlagRetriever(store=edge, k=1).configurable_fields(
        k=ConfigurableField(id="k"), mode=ConfigurableField(id="mode")
    )
    assert len(retriever.invoke("cold soup")) == 1
    configured = retriever.with_config(configurable={"k": 2, "mode": "sparse"})
    assert ids(configured.invoke("warm soup")) == ["a", "b"]


def test_copies_share_the_store(edge):
    retriever = FlagRetriever(store=edge, k=2, fusion=Weighted(1, 0.3, 0), filter={"n": {"gte": 2}})
    for copied in (
        copy.copy(retriever),
        copy.deepcopy(retriever),
        retriever.model_copy(deep=True),
        FlagRetriever.model_validate(retriever.model_dump(exclude={"store"}) | {"store": edge}),
    ):
        assert copied.store is edge
        assert copied.filter == {"n": {"gte": 2}}
        assert copied.invoke("soup") == retriever.invoke("soup")


def test_it_is_not_pickled_as_its_store_is_open(edge):
    with pytest.raises(TypeError, match="make the store where it is used"):
        pickle.dumps(FlagRetriever(store=edge))


def test_what_frameworks_log_of_it_holds_no_secret(seeded):
    client = QdrantClient(url="https://localhost:6333", api_key="a-secret", check_compatibility=False)
    store = QdrantStore(seeded(), client, "articles")
    for shown in (FlagRetriever(store=store), FlagVectorStore(store), FlagVectorStore(store).as_retriever()):
        for text in (repr(shown), str(shown), dumps(shown)):
            assert "articles" in text
            assert "a-secret" not in text


class Watch:
    """Lets calls of a function through one event-loop tick after they began, and counts how many run at once."""

    def __init__(self, watched):
        self.watched = watched
        self.ticked = threading.Event()
        self.calls = self.running = self.most_at_once = 0
        self.lock = threading.Lock()

    def __call__(self, *arguments, **options):
        with self.lock:
            self.calls += 1
            self.running += 1
            self.most_at_once = max(self.most_at_once, self.running)
        self.ticked.clear()
        assert self.ticked.wait(timeout=60), "the event loop is blocked during this call"
        result = self.watched(*arguments, **options)
        with self.lock:
            self.running -= 1
        return result

    async def tick(self):
        """Tick until cancelled."""
        while True:
            self.ticked.set()
            await asyncio.sleep(0.005)


async def test_many_calls_at_once_leave_the_event_loop_free_and_use_the_model_one_by_one(
    new_store, tiny_m3, queries, monkeypatch
):
    store = new_store(tiny_m3)
    store.create()
    store.add(["warm soup", "cold rice", "fresh bread"])
    retriever, vector_store = FlagRetriever(store=store, k=1), FlagVectorStore(store)
    assert ids(retriever.invoke("warm soup")) == ids(retriever.invoke("warm soup", mode="dense"))
    watch = Watch(tiny_m3.encode)
    monkeypatch.setattr(tiny_m3, "encode", watch)

    ticker = asyncio.create_task(watch.tick())
    found = await asyncio.gather(
        *(retriever.ainvoke("warm soup") for _ in range(32)),
        *(vector_store.asimilarity_search("warm soup", k=1) for _ in range(2)),
        *(vector_store.amax_marginal_relevance_search("warm soup", k=1) for _ in range(2)),
    )
    ticker.cancel()
    assert [documents[0].page_content for documents in found] == ["warm soup"] * 36
    # Each call encodes its query, and a search for diversity also encodes the texts that it chooses from.
    assert (watch.calls, watch.most_at_once) == (38, 1)


def test_more_documents_than_a_search_may_find_are_refused_by_the_name_of_k(edge):
    with pytest.raises(ValueError, match="k=10001: at most 10,000 documents"):
        FlagRetriever(store=edge, k=10_001)
    with pytest.raises(ValueError, match="k=10001: at most 10,000 documents"):
        FlagRetriever(store=edge).invoke("soup", k=10_001)
