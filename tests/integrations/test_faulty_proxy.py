"""The proxy breaks what it is told to break, and nothing else."""

import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@pytest.fixture(scope="module")
def proxies(load_module, request):
    return load_module(request.path.parent / "faulty_proxy.py")


@pytest.fixture
def server():
    """A server that repeats what it is sent, and remembers it."""

    class Echo(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.seen.append(body)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *values):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.seen = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def post(url, body=b"hello world"):
    with urllib.request.urlopen(urllib.request.Request(f"{url}/path", body), timeout=5) as answer:
        return answer.read()


def proxy_to(server, proxies, fault):
    url = f"http://127.0.0.1:{server.server_address[1]}"
    return proxies.FaultyProxy(url, lambda method, path: fault and proxies.Fault[fault], delay=0.3)


def test_without_a_fault_requests_and_answers_pass(server, proxies):
    with proxy_to(server, proxies, None) as proxy:
        assert post(proxy.url) == b"hello world"


def test_an_unavailable_server_never_sees_the_request(server, proxies):
    with (
        proxy_to(server, proxies, "UNAVAILABLE") as proxy,
        pytest.raises(urllib.error.HTTPError, match="503") as caught,
    ):
        post(proxy.url)
    caught.value.close()
    assert server.seen == []


@pytest.mark.parametrize(("fault", "seen"), [("LOST_REQUEST", []), ("LOST_ANSWER", [b"hello world"])])
def test_a_reset_connection_is_an_error_whether_or_not_the_server_saw_the_request(server, proxies, fault, seen):
    with (
        proxy_to(server, proxies, fault) as proxy,
        pytest.raises(OSError, match=r"reset|disconnected|closed|Incomplete"),
    ):
        post(proxy.url)
    assert server.seen == seen


def test_a_slow_answer_comes_late(server, proxies):
    with proxy_to(server, proxies, "SLOW") as proxy:
        started = time.perf_counter()
        assert post(proxy.url) == b"hello world"
        assert time.perf_counter() - started >= 0.3


def test_a_proxy_that_is_gone_refuses_connections(server, proxies):
    with proxy_to(server, proxies, None) as proxy:
        pass
    with pytest.raises(OSError, match="refused"):
        post(proxy.url)
