"""A proxy between a client and a real HTTP server that breaks what it is told to break; it imitates no database."""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class Fault(Enum):
    """What happens to a request."""

    UNAVAILABLE = auto()  # 503 instead of passing it on
    LOST_ANSWER = auto()  # passed on, but the connection is reset in the middle of the answer's body
    LOST_REQUEST = auto()  # the connection is reset before anything is passed on
    SLOW = auto()  # passed on, the answer late


class Outage:
    """Chooses faults for a `FaultyProxy`: 503 for some seconds, and before and after it other faults at random.

    Args:
        seconds: How long all requests are answered with 503.
        starts: After how many requests that begins.
        shares: How often each other fault befalls a request outside of it.
        seed: Two outages of one seed choose alike.

    Attributes:
        counts: How often each fault was chosen, and None for no fault.
    """

    def __init__(self, seconds: float, starts: int, shares: dict[Fault, float], seed: int = 0) -> None:
        self.counts: Counter[Fault | None] = Counter()
        self._seconds = seconds
        self._starts = starts
        self._random = random.Random(seed)
        self._faults = [*shares, None]
        self._weights = [*shares.values(), 1 - sum(shares.values())]
        self._ends = float("inf")

    def __call__(self, method: str, path: str) -> Fault | None:
        """Return the fault of a request."""
        fault = self._fault()
        self.counts[fault] += 1
        return fault

    def _fault(self) -> Fault | None:
        if self.counts.total() == self._starts:
            self._ends = time.monotonic() + self._seconds
        if self.counts.total() >= self._starts and time.monotonic() < self._ends:
            return Fault.UNAVAILABLE
        return self._random.choices(self._faults, self._weights)[0]


class FaultyProxy:
    """Forwards requests to one server, each with the fault that `choose` names for it.

    Args:
        target: The server's URL.
        choose: Given method and path of a request, returns its fault, None for none.
        delay: Seconds that a slow answer is late.

    Example:
        with FaultyProxy("http://127.0.0.1:6333", lambda method, path: Fault.UNAVAILABLE) as proxy:
            client = QdrantClient(url=proxy.url)
    """

    def __init__(self, target: str, choose: Callable[[str, str], Fault | None], delay: float = 3.0) -> None:
        self.choose = choose
        self.delay = delay
        self._target = urlsplit(target)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FaultyProxy:
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def pass_on(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, list[Any], bytes]:
        secure = self._target.scheme == "https"
        connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = connect(self._target.netloc.rpartition("@")[2], timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _handler(proxy) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # A header and a body are two small packets, of which the second would wait for the first to be confirmed.
            disable_nagle_algorithm = True

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:
                    self.close_connection = True

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                fault = proxy.choose(self.command, self.path)
                if fault is Fault.UNAVAILABLE:
                    self.give(503, [("Content-Type", "application/json")], b'{"status": {"error": "overloaded"}}')
                elif fault is Fault.LOST_REQUEST:
                    self.reset()
                else:
                    headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                    status, given, content = proxy.pass_on(self.command, self.path, headers, body)
                    if fault is Fault.SLOW:
                        time.sleep(proxy.delay)
                    self.give(status, given, content, lost=fault is Fault.LOST_ANSWER)

            def give(self, status: int, headers: list[Any], content: bytes, lost: bool = False) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if lost:
                    self.wfile.write(content[: len(content) // 2])
                    self.reset()
                elif self.command != "HEAD":
                    self.wfile.write(content)

            def reset(self) -> None:
                # To close with nothing to linger for is what sends a reset.
                self.wfile.flush()
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True

            def log_message(self, format: str, *values: Any) -> None:
                pass

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = answer

        return Handler
