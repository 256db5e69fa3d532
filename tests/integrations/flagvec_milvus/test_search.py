"""What a server is asked, which differs from what Milvus Lite is asked; a client that records it stands in."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from flagvec import Weighted
from flagvec.search.lost import LostColbert
from flagvec.search.options import SearchOptions
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors
from flagvec_milvus.client import CollectionClient
from flagvec_milvus.filters import Expression
from flagvec_milvus.schema import Engine, Layout
from flagvec_milvus.search import Search
from flagvec_milvus.stored_colbert import StoredColbert

SCHEMA = Schema("m", dimension=2, sparse=True, colbert_dimension=2)
QUERY = TextVectors(np.array([1, 0], np.float32), {1: 1.0}, np.eye(2, dtype=np.float32))
LAYOUT = Layout(native_colbert=True, metadata_parts=True, packed_terms=False)


class Recorder:
    """Answers as a server would that holds one document, and keeps what it was asked."""

    def __init__(self, version="2.6.4"):
        self.version = version
        self.asked = []

    def get_server_version(self, timeout):
        return self.version

    def search(self, collection, **options):
        self.asked.append(SimpleNamespace(kind="search", collection=collection, **options))
        return [[{"id": "a", "distance": 1.0, "entity": {"text": "one", "metadata": {}, "metadata_parts": []}}]]

    def query(self, collection, **options):
        self.asked.append(SimpleNamespace(kind="query", collection=collection, **options))
        row = {"id": "a", "text": "one", "metadata": {}, "metadata_parts": [], "dense": [1.0, 0.0], "sparse": {1: 0.5}}
        return [{**row, "colbert": [{"vector": [0.6, 0.8]}]}]

    def hybrid_search(self, collection, **options):
        self.asked.append(SimpleNamespace(kind="hybrid", collection=collection, **options))
        return [[{"id": "a", "distance": 2 / 61, "entity": {"text": "one", "metadata": {}, "metadata_parts": []}}]]


def hits_of(client, **options):
    checked = SearchOptions.checked(SCHEMA, **options)
    collection, stored = CollectionClient(client, "articles", "Session"), StoredColbert.of(SCHEMA)
    return Search(collection, LAYOUT, stored, QUERY, checked, LostColbert("articles")).hits()


def test_each_request_has_a_timeout_and_a_consistency_level():
    client = Recorder()
    hits_of(client, explain=True)
    hits_of(client, explain=True, timeout=3)
    assert {(asked.collection, asked.consistency_level) for asked in client.asked} == {("articles", "Session")}
    assert [asked.timeout for asked in client.asked] == [60.0] * 2 + [3.0] * 2


def test_a_graph_is_searched_wider_than_the_limit():
    client = Recorder()
    hits_of(client, candidates=1_000)
    hits_of(client, candidates=1_000, fusion=Weighted(1, 1, 0))
    fused = [(leg.anns_field, leg.param) for leg in client.asked[0].reqs]
    alone = [(asked.anns_field, asked.search_params) for asked in client.asked if asked.kind == "search"]
    assert fused == alone == [("dense", {"params": {"ef": 2_000}}), ("sparse", {})]


def test_ids_travel_beside_the_expression():
    client = Recorder()
    hits_of(client, explain=True)
    (documents,) = (asked for asked in client.asked if asked.kind == "query")
    assert (documents.filter, documents.filter_params) == ("id in {ids}", {"ids": ["a"]})


@pytest.mark.parametrize("search", [{"mode": "dense"}, {"mode": "sparse"}, {"fusion": Weighted()}], ids=str)
def test_the_values_of_a_filter_travel_beside_the_expression(search):
    client = Recorder()
    hits_of(client, filter={"draft": False}, **search)
    legs = [asked for asked in client.asked if getattr(asked, "anns_field", "") in ("dense", "sparse")]
    assert {asked.filter for asked in legs} == {"array_contains_any(terms, {terms0})"}
    assert all(asked.filter_params == {"terms0": ["draft:b:0"]} for asked in legs)


def test_the_values_of_a_filter_travel_beside_each_leg_that_milvus_fuses():
    client = Recorder()
    hits_of(client, filter={"draft": False})
    legs = client.asked[0].reqs
    assert [leg.expr for leg in legs] == ["array_contains_any(terms, {terms0})"] * 2
    assert [leg.expr_params for leg in legs] == [{"terms0": ["draft:b:0"]}] * 2


def test_a_rank_is_explained_by_the_scores_of_the_stored_vectors():
    (hit,) = hits_of(Recorder(), explain=True)
    assert (hit.score, hit.scores) == (2 / 61, {"dense": 1.0, "sparse": 0.5})


def test_one_request_fuses_ranks_and_brings_the_documents():
    client = Recorder()
    (hit,) = hits_of(client)
    assert [(asked.kind, asked.output_fields) for asked in client.asked] == [
        ("hybrid", ["text", "metadata", "metadata_parts"])
    ]
    assert (hit.id, hit.score, hit.text, hit.scores) == ("a", 2 / 61, "one", {})


def test_a_few_hits_beyond_the_last_are_asked_for_and_no_more_than_there_can_be():
    client = Recorder()
    hits_of(client)
    hits_of(client, limit=1, candidates=1)
    assert [asked.limit for asked in client.asked] == [12, 2]


def test_a_servers_sum_over_the_querys_vectors_becomes_their_mean():
    client = Recorder()
    (hit,) = hits_of(client, fusion=Weighted(0, 0, 1))
    (compared,) = (asked for asked in client.asked if getattr(asked, "anns_field", "") == "colbert[vector]")
    assert (hit.score, hit.scores["colbert"]) == (0.5, 0.5)
    assert (compared.limit, compared.filter_params) == (1, {"ids": ["a"]})
    assert [vectors.to_flat_array().tolist() for vectors in compared.data] == [[1, 0, 0, 1]]


def test_a_document_that_the_servers_graph_misses_is_compared_here():
    client = Recorder()
    search = client.search

    def miss_all(collection, **options):
        found = search(collection, **options)
        return [[]] if options["anns_field"] == "colbert[vector]" else found

    client.search = miss_all
    (hit,) = hits_of(client, fusion=Weighted(0, 0, 1))
    assert (hit.id, hit.scores["colbert"]) == ("a", pytest.approx(0.7))


def test_more_hits_than_a_server_finds_are_refused_before_it_is_asked():
    client = Recorder()
    with pytest.raises(
        ValueError, match="candidates=16385: a search of a Milvus server finds at most 16,384 documents"
    ):
        hits_of(client, candidates=16_385, max_limit=20_000)
    assert client.asked == []


def test_the_legs_of_a_search_are_asked_for_at_once(monkeypatch):
    meeting = threading.Barrier(2, timeout=10)

    def search(self, collection, **options):
        meeting.wait()
        return [[{"id": "a", "distance": 1.0, "entity": {}}]]

    monkeypatch.setattr(Recorder, "search", search)
    assert len(hits_of(Recorder(), fusion=Weighted(1, 1, 0))) == 1


def test_the_engine_is_asked_for_its_version_once():
    client = Recorder()
    collection = CollectionClient(client, "articles", "Session")
    assert collection.engine == Engine("2.6.4")
    client.version = "2.5.0"
    assert collection.engine == Engine("2.6.4")


def test_pages_follow_one_another_until_one_is_empty():
    client = Recorder()
    rows = [[{"id": "b"}, {"id": "a"}], [{"id": "c"}], []]
    client.query = lambda collection, **options: client.asked.append(options) or rows[len(client.asked) - 1]
    collection = CollectionClient(client, "articles", "Session")
    pages = list(collection.pages(Expression("x > 1"), ("id",), 50_000, ask=lambda request: request(None)))
    assert pages == rows[:2]
    assert [asked["filter_params"]["last"] for asked in client.asked] == ["", "b", "c"]
    assert {asked["filter"] for asked in client.asked} == {"(id > {last}) and (x > 1)"}
    assert {(asked["limit"], asked["iterator"], asked["reduce_stop_for_best"]) for asked in client.asked} == {
        (16_384, "True", "True")
    }
