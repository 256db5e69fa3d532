"""The server at ELASTICSEARCH_URL, and an index for each test, deleted afterwards."""

import os
import uuid

import pytest
from elasticsearch import Elasticsearch

from flagvec_elasticsearch import ElasticsearchStore


@pytest.fixture(scope="session")
def client():
    if not os.environ.get("ELASTICSEARCH_URL"):
        pytest.skip("ELASTICSEARCH_URL is not set")
    with Elasticsearch(os.environ["ELASTICSEARCH_URL"], request_timeout=30) as client:
        yield client


@pytest.fixture
def index(client):
    """The name of an index that does not exist yet."""
    name = f"flagvec_test_{uuid.uuid4().hex}"
    yield name
    client.indices.delete(index=name, ignore_unavailable=True)


@pytest.fixture
def new_store(client, index, seeded):
    """A function that makes stores of seeded vectors, all on one index."""
    return lambda model=None, **options: ElasticsearchStore(model or seeded(), client, index, **options)


@pytest.fixture
def store(new_store):
    made = new_store()
    made.create()
    return made


@pytest.fixture
def requests(client, monkeypatch):
    """The method and path of each request that is sent, in order."""
    sent = []
    perform = client.transport.perform_request

    def record(method, target, **options):
        sent.append((method, target.partition("?")[0]))
        return perform(method, target, **options)

    monkeypatch.setattr(client.transport, "perform_request", record)
    return sent


@pytest.fixture
def wait_for(client, index):
    """A function that returns once so many documents are in the test's indices, which another thread is writing."""

    def wait(count):
        while client.count(index=f"{index}*")["count"] < count:
            client.indices.refresh(index=f"{index}*")

    return wait
