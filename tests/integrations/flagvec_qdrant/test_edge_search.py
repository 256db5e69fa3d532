"""Searches of the embedded engine in short calls find what one call finds."""

from __future__ import annotations

import pytest
import qdrant_edge

from flagvec import Document, Weighted
from flagvec.search.options import SearchOptions
from flagvec.store.encoding import encode_query
from flagvec_qdrant import QdrantEdgeStore, edge_models, edge_search
from flagvec_qdrant.filters import native_filter
from flagvec_qdrant.search import find_hits

DOCUMENTS = [
    Document(f"{number:03}", " ".join(f"word{one}" for one in range(number % 7, number % 13 + 1)) + f" own{number}", {
        "number": number, "parity": ["even", "odd"][number % 2]
    })
    for number in range(300)
]  # fmt: skip
FILTER = {"or": [{"number": {"gte": 150}}, {"number": {"in": [1, 2, 3]}}]}


@pytest.fixture
def store(tmp_path, seeded):
    with QdrantEdgeStore(seeded(), tmp_path / "index") as store:
        store.create()
        store.add(DOCUMENTS)
        yield store


def above_the_last(hits):
    return [hit for hit in hits if hit.score > hits[-1].score]


class Recorder:
    """A shard that notes the limits of the queries that it gets, and which keys of payloads it is asked for."""

    def __init__(self, shard):
        self.limits = []
        self.batches = 0
        self.payloads = []
        self._shard = shard

    def query(self, request):
        self.limits.append(request.limit)
        return self._shard.query(request)

    def query_batch(self, batch):
        self.batches += 1
        self.payloads += [request.with_payload for request in batch.queries]
        return self._shard.query_batch(batch)

    def retrieve(self, ids, with_payload, with_vector):
        self.payloads.append(with_payload)
        return self._shard.retrieve(ids, with_payload=with_payload, with_vector=with_vector)

    def scroll(self, request):
        self.payloads.append(request.with_payload)
        return self._shard.scroll(request)

    def __getattr__(self, name):
        return getattr(self._shard, name)


def in_one_call(store, query, limit, **options):
    """Return what the engine finds if the whole search is one nested request."""
    checked = SearchOptions.checked(store.schema, limit, is_native=store.is_native_filter, owner="test", **options)
    vectors = encode_query(store.model, query, checked.representations)
    where = native_filter(checked.filter, edge_models.TERMS)

    def ask(stages):
        requests = [edge_models.request(stage, edge_models.vectors(vectors), where) for stage in stages]
        return store._edge._shard.query_batch(qdrant_edge.QueryBatchRequest(requests))

    hits = find_hits(vectors, checked, ask)
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:limit]


@pytest.mark.parametrize("filter", [None, FILTER])
@pytest.mark.parametrize(
    "options",
    [
        {"mode": "dense"},
        {"mode": "sparse"},
        {},
        {"explain": True},
        {"rerank": "colbert", "candidates": 300},
        {"rerank": "colbert", "mode": "dense", "candidates": 37, "explain": True},
        {"fusion": Weighted(0.3, 0.7)},
        {"fusion": Weighted(0.2, 0.3, 0.5), "candidates": 150, "explain": True},
    ],
    ids=str,
)
def test_short_calls_find_what_one_call_finds(store, monkeypatch, options, filter):
    expected = in_one_call(store, "word3 own200", 10, filter=filter, **options)
    monkeypatch.setattr(edge_search, "_CALL_SECONDS", 0.0)
    monkeypatch.setattr(edge_search, "_CHECKS_PER_CALL", 100)
    # The engine chooses among documents that tie with the last one.
    found = store.search("word3 own200", 10, filter=filter, **options)
    assert [hit.score for hit in found] == [hit.score for hit in expected]
    assert above_the_last(found) == above_the_last(expected)
    assert len(found) == 10


def test_no_call_reranks_many_candidates(store, monkeypatch):
    monkeypatch.setattr(edge_search, "_CALL_SECONDS", 0.0)
    recorder = Recorder(store._edge._shard)
    monkeypatch.setattr(store._edge._shared, "shard", recorder)
    store.search("word3", rerank="colbert", candidates=100)
    legs, first, *others = recorder.limits[:2], *recorder.limits[2:]
    assert legs == [100, 100]
    assert first == edge_search._FIRST_CANDIDATES
    assert set(others) == {1}


def test_a_search_for_which_no_document_matches_finds_nothing(store, monkeypatch):
    monkeypatch.setattr(edge_search, "_CHECKS_PER_CALL", 100)
    nowhere = {"number": {"gt": 1000}}
    for options in ({}, {"mode": "dense"}, {"rerank": "colbert"}, {"fusion": Weighted(0.2, 0.3, 0.5)}):
        assert store.search("word3", filter=nowhere, **options) == []


def test_a_long_filter_is_checked_in_many_calls_for_each_document_once(store, monkeypatch):
    expected = {one.id for one in DOCUMENTS if one.metadata["number"] >= 150 or one.metadata["number"] in (1, 2, 3)}
    monkeypatch.setattr(edge_search, "_CHECKS_PER_CALL", 100)
    recorder = Recorder(store._edge._shard)
    monkeypatch.setattr(store._edge._shared, "shard", recorder)
    store.search("word3", mode="dense", filter=FILTER)
    # Four conditions for each of 300 documents.
    assert len(recorder.limits) == 4 * 300 / 100
    assert store.count(FILTER) == len(expected)
    found = [document.id for document in store.scroll(FILTER, batch_size=7)]
    assert (len(found), set(found)) == (len(expected), expected)


def test_documents_are_deleted_by_a_long_filter(tmp_path, seeded, monkeypatch):
    monkeypatch.setattr(edge_search, "_CHECKS_PER_CALL", 100)
    with QdrantEdgeStore(seeded(), tmp_path / "index") as store:
        store.create()
        store.add(DOCUMENTS)
        store.delete(filter=FILTER)
        assert {int(document.id) for document in store.scroll()} == {0, *range(4, 150)}


def test_a_field_with_an_index_makes_no_filter_long(tmp_path, seeded, monkeypatch):
    monkeypatch.setattr(edge_search, "_CHECKS_PER_CALL", 100)
    with QdrantEdgeStore(seeded(), tmp_path / "index", filter_fields={"number": "integer"}) as store:
        store.create()
        store.add(DOCUMENTS)
        recorder = Recorder(store._edge._shard)
        monkeypatch.setattr(store._edge._shared, "shard", recorder)
        assert len(store.search("word3", 300, mode="dense", filter={"number": {"lt": 10}})) == 10
        assert (recorder.batches, recorder.limits) == (1, [])


@pytest.fixture
def of_codes(tmp_path, seeded):
    with QdrantEdgeStore(seeded(), tmp_path / "codes", colbert="compact") as store:
        store.create()
        store.add(DOCUMENTS)
        yield store


def test_codes_are_read_only_to_be_compared(of_codes, monkeypatch):
    recorder = Recorder(of_codes._edge._shard)
    monkeypatch.setattr(of_codes._edge._shared, "shard", recorder)
    of_codes.get("001")
    assert len(list(of_codes.scroll())) == len(DOCUMENTS)
    of_codes.search("word3")
    of_codes.search("word3", mode="dense", filter={"parity": "odd"})
    assert not any("colbert" in (payload or ()) for payload in recorder.payloads if payload is not False)
    assert True not in recorder.payloads
    recorder.payloads.clear()
    of_codes.search("word3", rerank="colbert")
    assert [payload for payload in recorder.payloads if payload] == [["id", "colbert"]] * 2 + [
        ["id", "text", "metadata"]
    ]


def test_codes_are_read_in_calls_of_bounded_size(of_codes, monkeypatch):
    monkeypatch.setattr(edge_search, "_CALL_SECONDS", 0.0)
    expected = of_codes.search("word3 own200", rerank="colbert", candidates=300)
    recorder = Recorder(of_codes._edge._shard)
    monkeypatch.setattr(of_codes._edge._shared, "shard", recorder)
    assert of_codes.search("word3 own200", rerank="colbert", candidates=300) == expected
    assert recorder.payloads.count(["id", "colbert"]) == 1 + len(DOCUMENTS) - edge_search._FIRST_READ
