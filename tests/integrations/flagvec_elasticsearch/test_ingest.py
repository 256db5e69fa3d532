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
from flagvec.ingest import ingest
from flagvec.store.backend import WriteLimits
from flagvec_elasticsearch import ElasticsearchStore

# Over http.max_content_length, so that the server refuses it for good.
FILLER = "x" * 1_100_000
DOCUMENTS = [
    Document(f"{number:03d}", f"shared word{number}", {"filler": FILLER if number % 50 == 7 else ""})
    for number in range(100)
]
REFUSED = [one.id for one in DOCUMENTS if one.metadata["filler"]]


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
