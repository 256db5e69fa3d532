"""Ingestion into a server that is overloaded and refuses some documents, behind a proxy that breaks connections.

ELASTICSEARCH_OVERLOADED_URL names a server as in `test_faults.py`.
"""

import json
import os
import uuid
from collections import deque

import pytest
from elasticsearch import Elasticsearch

from flagvec import Document
from flagvec.ingest import Journal, ingest, verify
from flagvec.store.backend import WriteLimits
from flagvec_elasticsearch import ElasticsearchStore

# Over http.max_content_length, so that the server refuses it for good.
FILLER = "x" * 1_100_000
DOCUMENTS = [
    Document(f"{number:03d}", f"shared word{number}", {"filler": FILLER if number % 50 == 7 else ""})
    for number in range(100)
]
REFUSED = [one.id for one in DOCUMENTS if one.metadata["filler"]]
# A second field of the ids, which the server adds to an index.
NUMBERS_AS_IDS = {"id": {"type": "keyword", "index": False, "fields": {"number": {"type": "long"}}}}


@pytest.fixture
def overloaded(seeded, load_module, request):
    """A store behind a proxy, the proxy's faults, and the same store without a proxy."""
    if not os.environ.get("ELASTICSEARCH_OVERLOADED_URL"):
        pytest.skip("ELASTICSEARCH_OVERLOADED_URL is not set")
    proxies = load_module(request.path.parents[1] / "faulty_proxy.py")
    url, name = os.environ["ELASTICSEARCH_OVERLOADED_URL"], f"flagvec_test_{uuid.uuid4().hex}"
    fault = proxies.Fault
    away, lost = [fault.UNAVAILABLE] * 8, fault.LOST_ANSWER
    plan = deque([None, lost, None, fault.SLOW, *away, None, fault.LOST_REQUEST, None, lost, lost])

    def choose(method, path):
        return plan.popleft() if plan and "_bulk" in path else None

    with (
        Elasticsearch(url, request_timeout=30) as client,
        proxies.FaultyProxy(url, choose, delay=0.5) as proxy,
        Elasticsearch(proxy.url, request_timeout=30, max_retries=0) as far,
    ):
        direct = ElasticsearchStore(seeded(4), client, name, settings={"number_of_shards": 4})
        direct.create()
        store = ElasticsearchStore(seeded(4), far, name)
        store._backend.limits = WriteLimits(records=25, first_pause=0.01, jitter=0.01)
        yield store, direct, plan
        direct.drop()


def test_dead_letters_are_exactly_the_refused_ones_and_nothing_is_lost_or_doubled(overloaded, tmp_path):
    store, direct, plan = overloaded
    letters = tmp_path / "dead.jsonl"
    report = ingest(
        DOCUMENTS, stores={"store": store}, journal=tmp_path / "journal", dead_letters=letters, patience=120
    )
    assert not plan
    assert sorted(json.loads(line)["id"] for line in letters.read_text().splitlines()) == REFUSED
    found = sorted(direct.scroll(), key=lambda one: one.id)
    assert found == [one for one in DOCUMENTS if one.id not in REFUSED]
    assert (report.stores["store"].written, report.stores["store"].refused) == (98, 2)
    assert report.stores["store"].retries > 8


NUMBERED = [Document(str(number), f"shared word{number}") for number in range(300)]
# The server refuses these ids for good, because a field of its index takes numbers only.
NAMED = [Document(f"name{number}", f"shared name{number}") for number in range(3)]


@pytest.fixture
def in_an_outage(seeded, load_module, request):
    """A store of an overloaded server that is away for a second and breaks connections; the same without; the outage.

    The server refuses ids that are not numbers.
    """
    if not os.environ.get("ELASTICSEARCH_OVERLOADED_URL"):
        pytest.skip("ELASTICSEARCH_OVERLOADED_URL is not set")
    proxies = load_module(request.path.parents[1] / "faulty_proxy.py")
    url, name = os.environ["ELASTICSEARCH_OVERLOADED_URL"], f"flagvec_test_{uuid.uuid4().hex}"
    fault = proxies.Fault
    outage = proxies.Outage(1.0, 20, {fault.LOST_ANSWER: 0.2, fault.LOST_REQUEST: 0.1, fault.SLOW: 0.1})
    with (
        Elasticsearch(url, request_timeout=30) as client,
        proxies.FaultyProxy(url, outage, delay=0.1) as proxy,
        Elasticsearch(proxy.url, request_timeout=30, max_retries=0) as far,
    ):
        direct = ElasticsearchStore(seeded(4), client, name, settings={"number_of_shards": 4})
        direct.create()
        client.indices.put_mapping(index=name, properties=NUMBERS_AS_IDS)
        store = ElasticsearchStore(seeded(4), far, name)
        store._backend.limits = WriteLimits(records=25, first_pause=0.01, jitter=0.01)
        yield store, direct, outage, fault
        direct.drop()


def test_an_outage_loses_and_doubles_nothing_and_only_refused_items_are_dead_letters(in_an_outage, tmp_path):
    store, direct, outage, fault = in_an_outage
    letters, journal = tmp_path / "dead.jsonl", tmp_path / "journal"
    documents = [one for number, name in enumerate(NAMED) for one in (*NUMBERED[number * 100 :][:100], name)]
    report = ingest(documents, stores={"store": store}, journal=journal, dead_letters=letters, patience=60)
    refused = [json.loads(line) for line in letters.read_text().splitlines()]
    assert [(one["id"], one["text"]) for one in refused] == [(one.id, one.text) for one in NAMED]
    assert all("id.number" in one["reason"] for one in refused)
    assert sorted(direct.scroll(), key=lambda one: int(one.id)) == NUMBERED
    assert (report.stores["store"].written, report.stores["store"].refused) == (300, 3)
    assert set(outage.counts) == {None, *fault}
    with Journal(journal) as opened:
        assert verify(direct, opened, name="store").is_equal
