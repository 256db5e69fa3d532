"""Qdrant servers that tests start, and servers that answer every request in one way, so that clients really raise."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from qdrant_client import QdrantClient
from qdrant_client.grpc import points_service_pb2_grpc as points_service

sys.path.append(str(Path(__file__).parent))
from qdrant_program import free_ports, started

DONE = (200, {"result": {"operation_id": 1, "status": "completed"}, "status": "ok", "time": 0.0})


class HttpServer:
    """An HTTP server.

    `answer` is the status and body of the next answers, after those in `first`, and `requests` are those that came.
    `headers` go with every answer.
    """

    def __init__(self) -> None:
        self.answer: tuple[int, Any] = DONE
        self.first: list[tuple[int, Any]] = []
        self.headers: dict[str, str] = {}
        self.requests: list[tuple[str, str, Any]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def reply(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                server.requests.append((self.command, self.path, json.loads(content) if content else None))
                status, body = server.first.pop(0) if server.first else server.answer
                written = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {**server.headers, "Content-Length": str(len(written))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(written)

            def log_message(self, format: str, *values: Any) -> None:
                pass

            do_GET = do_POST = do_PUT = do_DELETE = reply

        return Handler


class Server:
    """A Qdrant server with a directory of its own, which can be killed, stopped and started again."""

    key = "the-key-of-the-server-in-a-test"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.port, self.grpc_port = free_ports(2)
        self.start()

    def start(self) -> None:
        settings = {"QDRANT__SERVICE__API_KEY": self.key, "QDRANT__SERVICE__JWT_RBAC": "true"}
        self.process = started(self._directory, self.port, self.grpc_port, settings)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @contextmanager
    def away(self, end: Callable[[], object], begin_again: Callable[[], object]) -> Iterator[None]:
        """Let the server be away for two seconds, from the beginning of the block on."""
        end()
        back = threading.Timer(2.0, begin_again)
        back.start()
        try:
            yield
        finally:
            back.join()

    def killed(self) -> AbstractContextManager[None]:
        return self.away(self.kill, self.start)

    def stopped(self) -> AbstractContextManager[None]:
        return self.away(
            partial(self.process.send_signal, signal.SIGSTOP), partial(self.process.send_signal, signal.SIGCONT)
        )

    def client(self, wire: str, key: str = key, **options: Any) -> QdrantClient:
        return QdrantClient(
            url=f"http://127.0.0.1:{self.port}",
            grpc_port=self.grpc_port,
            api_key=key,
            prefer_grpc=wire == "grpc",
            check_compatibility=False,
            grpc_options={"grpc.max_reconnect_backoff_ms": 1000},
            **options,
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the tests start with the program at QDRANT_BINARY."""
    if not os.environ.get("QDRANT_BINARY"):
        pytest.skip("QDRANT_BINARY is not set")
    made = Server(tmp_path_factory.mktemp("qdrant"))
    yield made
    made.kill()


@pytest.fixture
def http_server() -> Iterator[HttpServer]:
    made = HttpServer()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture(params=["local", "rest", "grpc"])
def any_client(request: pytest.FixtureRequest) -> Iterator[QdrantClient]:
    """A client of local mode, and of the server at QDRANT_URL over both wires."""
    if request.param == "local":
        client = QdrantClient(":memory:")
    elif url := os.environ.get("QDRANT_URL"):
        client = QdrantClient(
            url=url,
            api_key=os.environ.get("QDRANT_API_KEY"),
            prefer_grpc=request.param == "grpc",
            grpc_port=int(os.environ.get("QDRANT_GRPC_PORT", "6334")),
            timeout=30,
            check_compatibility=False,
        )
    else:
        pytest.skip("QDRANT_URL is not set")
    yield client
    client.close()


@pytest.fixture
def as_opened() -> Callable[[Any], Any]:
    """A function that returns a store as if it had been opened, and nothing had changed since on the server."""

    def make(store: Any) -> Any:
        store._backend.identity = lambda timeout: "'articles'"
        store._opening._is_open = True
        store._opening._identified("'articles'")
        return store

    return make


@pytest.fixture
def rest_client(http_server: HttpServer) -> Iterator[QdrantClient]:
    client = QdrantClient(url=http_server.url, check_compatibility=False)
    yield client
    client.close()


@pytest.fixture
def refusing_grpc_client() -> Iterator[Callable[..., QdrantClient]]:
    """A function that makes a client of a gRPC server which refuses everything with one code and details."""
    servers, clients = [], []

    def make(code: grpc.StatusCode, details: str) -> QdrantClient:
        def refuse(self: Any, request: Any, context: grpc.ServicerContext) -> None:
            context.abort(code, details)

        verbs = ("Upsert", "Query", "QueryBatch", "Count", "Delete", "Scroll", "Get")
        servicer = type("Servicer", (points_service.PointsServicer,), dict.fromkeys(verbs, refuse))
        server = grpc.server(ThreadPoolExecutor(2))
        points_service.add_PointsServicer_to_server(servicer(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        clients.append(
            QdrantClient(url="http://127.0.0.1:9", prefer_grpc=True, grpc_port=port, check_compatibility=False)
        )
        return clients[-1]

    yield make
    for client in clients:
        client.close()
    for server in servers:
        server.stop(None).wait()


@pytest.fixture
def place(any_client: QdrantClient) -> Iterator[Callable[[str], str]]:
    """A function that makes names which begin alike, whose collections are deleted afterwards."""
    prefix = f"flagvec_test_{uuid.uuid4().hex}"
    yield lambda name: f"{prefix}_{name}"
    for collection in any_client.get_collections().collections:
        if collection.name.startswith(prefix):
            any_client.delete_collection(collection.name)
