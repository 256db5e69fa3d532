"""A cluster of three Qdrant nodes, made of the program at QDRANT_BINARY; skipped without it."""

import os
import threading
import time

import pytest
from qdrant_client import QdrantClient
from qdrant_program import free_ports, started

from flagvec import Document, StoreError
from flagvec_qdrant import QdrantStore

DOCUMENTS = [Document(f"d{i}", f"Document {i} about rice, soup {i % 7} and bread {i % 11}.") for i in range(3_000)]
QUERIES = ["rice and soup 3", "bread 10", "Document 77"]


class Node:
    """One node, which joins the node of `first` if that is given."""

    def __init__(self, directory, first=None):
        directory.mkdir()
        self.port, grpc_port, peer_port = free_ports(3)
        self.uri = f"http://127.0.0.1:{peer_port}"
        settings = {"QDRANT__CLUSTER__ENABLED": "true", "QDRANT__CLUSTER__P2P__PORT": str(peer_port)}
        joins = [] if first is None else ["--bootstrap", first.uri]
        self.process = started(directory, self.port, grpc_port, settings, "--uri", self.uri, *joins)

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def nodes(tmp_path):
    if "QDRANT_BINARY" not in os.environ:
        pytest.skip("QDRANT_BINARY is not set")
    first = Node(tmp_path / "0")
    made = [first]
    try:
        made += [Node(tmp_path / str(number), first) for number in (1, 2)]
        yield made
    finally:
        for node in made:
            node.kill()


def ranked(store, query):
    return [(hit.id, hit.score) for hit in store.search(query, limit=10, mode="dense")]


def test_a_node_that_is_killed_in_mid_add_loses_nothing_that_was_acknowledged(nodes, tiny_m3):
    client = QdrantClient(url=f"http://127.0.0.1:{nodes[0].port}", timeout=60, check_compatibility=False)
    settings = {"shard_number": 6, "replication_factor": 2, "write_consistency_factor": 1}
    store = QdrantStore(tiny_m3, client, "articles", settings=settings)
    for _ in range(100):  # a node that has just joined does not hold shards yet
        if len(client.cluster_status().peers) == 3:
            break
        time.sleep(0.1)
    store.create()
    assert client.get_collection("articles").config.params.replication_factor == 2

    def kill_in_mid_add():
        while client.count("articles").count < 300:
            time.sleep(0.02)
        nodes[2].kill()

    killer = threading.Thread(target=kill_in_mid_add)
    killer.start()
    try:
        report = store.add(DOCUMENTS, on_error="report")
    finally:
        killer.join()
    if report.failed:
        report = store.add(DOCUMENTS, on_error="report")
    assert len(report.ok) == 3_000
    # Answers come with the node dead.
    assert {one.id for one in store.scroll()} == {one.id for one in DOCUMENTS}
    local = QdrantStore(tiny_m3, QdrantClient(":memory:"), "articles")
    local.create()
    local.add(DOCUMENTS)
    for query in QUERIES:
        there, here = ranked(store, query), ranked(local, query)
        assert [score for _, score in there] == pytest.approx([score for _, score in here], abs=1e-4)
    client.close()


def test_without_a_second_replica_a_dead_node_is_an_error_and_not_a_silent_gap(nodes, tiny_m3):
    client = QdrantClient(url=f"http://127.0.0.1:{nodes[0].port}", timeout=10, check_compatibility=False)
    store = QdrantStore(tiny_m3, client, "single", settings={"shard_number": 6, "replication_factor": 1})
    store.create()
    store.add(DOCUMENTS[:100])
    nodes[2].kill()
    with pytest.raises(StoreError):
        store.search("rice", timeout=5)
    client.close()
