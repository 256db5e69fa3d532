"""Reads while a server is too busy, away, or coming back, over REST and over gRPC."""

import socket
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from qdrant_client import QdrantClient
from qdrant_client.grpc import points_pb2 as points
from qdrant_client.grpc import points_service_pb2_grpc as points_service

from flagvec import StoreError
from flagvec_qdrant import QdrantStore
from flagvec_qdrant.points import GrpcPoints

COUNTED = (200, {"result": {"count": 3}, "status": "ok", "time": 0.0})
LIMITED = (429, {"status": {"error": "Rate limiting exceeded: Read rate limit exceeded, retry later"}, "time": 0.0})
DEFINITE = (403, {"status": {"error": "Forbidden: Access to collection articles is required"}, "time": 0.0})


@pytest.fixture
def rest_store(seeded, rest_client, as_opened):
    return as_opened(QdrantStore(seeded(), rest_client, "articles"))


def test_a_read_over_the_rate_limit_waits_as_long_as_the_server_asks(rest_store, http_server):
    http_server.first, http_server.answer, http_server.headers = [LIMITED], COUNTED, {"Retry-After": "1"}
    assert rest_store.count() == 3
    assert len(http_server.requests) == 2


def test_a_read_that_would_have_to_wait_for_too_long_says_how_long(rest_store, http_server):
    http_server.answer, http_server.headers = LIMITED, {"Retry-After": "12"}
    with pytest.raises(StoreError, match=r"asks to wait for 12 s: do so, or pass a larger"):
        rest_store.count(timeout=2)
    assert len(http_server.requests) == 1


def test_a_read_that_is_refused_for_good_is_not_repeated(rest_store, http_server):
    http_server.answer = DEFINITE
    with pytest.raises(StoreError, match=r"could not be counted: Forbidden: Access .* is required$"):
        rest_store.count()
    assert len(http_server.requests) == 1


def test_a_read_comes_through_a_proxy_that_is_unavailable_for_a_while(rest_store, http_server):
    http_server.first, http_server.answer = [(502, "Bad Gateway"), (503, "Service Unavailable")], COUNTED
    assert rest_store.count() == 3


class Counting(points_service.PointsServicer):
    """Refuses so often with a code, and then counts three points."""

    def __init__(self, *codes):
        self.codes = deque(codes)
        self.asked = 0

    def Count(self, request, context):  # gRPC's name
        self.asked += 1
        if self.codes:
            context.abort(self.codes.popleft(), "words of the server")
        return points.CountResponse(result=points.CountResult(count=3))


@pytest.fixture
def grpc_server():
    """A function that starts a gRPC server of a servicer on a port."""
    servers = []

    def start(servicer, port):
        server = grpc.server(ThreadPoolExecutor(2))
        points_service.add_PointsServicer_to_server(servicer, server)
        assert server.add_insecure_port(f"127.0.0.1:{port}") == port
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop(None).wait()


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def grpc_store(seeded, as_opened, port):
    client = QdrantClient(
        url="http://127.0.0.1:9",
        prefer_grpc=True,
        grpc_port=port,
        check_compatibility=False,
        grpc_options={"grpc.max_reconnect_backoff_ms": 1000},
    )
    yield as_opened(QdrantStore(seeded(), client, "articles"))
    client.close()


def test_a_read_over_grpc_is_repeated_until_the_server_is_back(grpc_store, grpc_server, port):
    servicer = Counting()
    server = grpc_server(servicer, port)
    assert grpc_store.count() == 3
    server.stop(None).wait()
    back = threading.Timer(1.0, grpc_server, (servicer, port))
    back.start()
    assert grpc_store.count(timeout=30) == 3
    back.join()


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED], ids=str)
def test_a_read_over_grpc_is_repeated_if_that_may_help(grpc_store, grpc_server, port, code):
    servicer = Counting(code)
    grpc_server(servicer, port)
    assert grpc_store.count() == 3
    assert servicer.asked == 2


def test_a_read_over_grpc_that_is_refused_for_good_is_not_repeated(grpc_store, grpc_server, port):
    servicer = Counting(grpc.StatusCode.PERMISSION_DENIED)
    grpc_server(servicer, port)
    with pytest.raises(StoreError, match=r"could not be counted: words of the server$"):
        grpc_store.count()
    assert servicer.asked == 1


class Hanging(points_service.PointsServicer):
    """Answers nothing until it is let go."""

    def __init__(self):
        self.let_go = threading.Event()

    def Get(self, request, context):  # gRPC's name
        self.let_go.wait(30)
        return points.GetResponse()


@pytest.mark.parametrize(("own", "given"), [(1, None), (60, 0.5)], ids=["of the client", "of the search"])
def test_points_over_grpc_are_not_waited_for_longer_than_the_timeout(grpc_server, port, own, given):
    servicer = Hanging()
    grpc_server(servicer, port)
    client = QdrantClient(
        url="http://127.0.0.1:9", prefer_grpc=True, grpc_port=port, check_compatibility=False, timeout=own
    )
    with pytest.raises(grpc.RpcError) as refused:
        GrpcPoints(client, "articles").retrieve([1], ["id"], given)
    servicer.let_go.set()
    client.close()
    assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
