"""What the client's exceptions mean, over REST, over gRPC and in local mode."""

import json
from dataclasses import replace

import grpc
import httpx
import pytest
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from flagvec import Document, StoreError, WriteError
from flagvec_qdrant import QdrantStore
from flagvec_qdrant.errors import refusal_of

# What servers say, word by word.
NO_INDEX = (
    'Bad request: Index required but not found for "metadata.lang" of one of the following types: [keyword]. '
    "Help: Create an index for this key or use a different filter."
)
FORBIDDEN = "Forbidden: Write access to collection articles is required"
MISSING = "Not found: Collection `articles` doesn't exist!"
TOO_MUCH_FOR_A_MINUTE = (
    "Rate limiting exceeded: Write rate limit exceeded, request larger than rate limiter capacity, please try to split "
    "your request"
)
REMEDY = "To create it, name the field in filter_fields={...}"


def body(sentence):
    return {"status": {"error": sentence}, "time": 0.000123}


def answered(status, content):
    written = content if isinstance(content, bytes) else json.dumps(body(content)).encode()
    return UnexpectedResponse(status, httpx.codes.get_reason_phrase(status), written, httpx.Headers())


@pytest.mark.parametrize(
    ("error", "retryable", "divisible"),
    [
        *((answered(status, "words"), True, False) for status in (408, 429, 502, 503, 504)),
        *((answered(status, "words"), False, True) for status in (400, 413, 422)),
        *((answered(status, "words"), False, False) for status in (401, 403, 404, 409, 500)),
        (answered(429, TOO_MUCH_FOR_A_MINUTE), False, True),
        (ResponseHandlingException(httpx.ConnectError("refused")), True, False),
        (ResponseHandlingException(httpx.ReadTimeout("late")), True, False),
        (ResponseHandlingException(httpx.RemoteProtocolError("cut")), True, False),
        (ResponseHandlingException(httpx.UnsupportedProtocol("no scheme")), False, False),
    ],
    ids=str,
)
def test_an_answer_over_rest_says_whether_to_send_again_and_whether_to_send_less(error, retryable, divisible):
    refusal = refusal_of(error)
    assert (refusal.retryable, refusal.divisible) == (retryable, divisible)


@pytest.mark.parametrize(
    ("code", "retryable", "divisible"),
    [
        (grpc.StatusCode.UNAVAILABLE, True, False),
        (grpc.StatusCode.DEADLINE_EXCEEDED, True, False),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, True, False),
        (grpc.StatusCode.INVALID_ARGUMENT, False, True),
        (grpc.StatusCode.OUT_OF_RANGE, False, True),
        (grpc.StatusCode.NOT_FOUND, False, False),
        (grpc.StatusCode.UNAUTHENTICATED, False, False),
    ],
    ids=str,
)
def test_an_answer_over_grpc_says_whether_to_send_again_and_whether_to_send_less(
    refusing_grpc_client, code, retryable, divisible
):
    with pytest.raises(grpc.RpcError) as raised:
        refusing_grpc_client(code, "words of\nthe server").count("articles")
    refusal = refusal_of(raised.value)
    assert (refusal.reason, refusal.retryable, refusal.divisible) == ("words of the server", retryable, divisible)


def test_a_request_over_grpc_for_more_than_a_minute_of_the_rate_limit_is_not_sent_again_as_it_is(refusing_grpc_client):
    with pytest.raises(grpc.RpcError) as raised:
        refusing_grpc_client(grpc.StatusCode.RESOURCE_EXHAUSTED, TOO_MUCH_FOR_A_MINUTE).count("articles")
    refusal = refusal_of(raised.value)
    assert (refusal.retryable, refusal.divisible) == (False, True)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (answered(404, MISSING), MISSING),
        (answered(403, FORBIDDEN), FORBIDDEN),
        (answered(400, NO_INDEX), f"{NO_INDEX} {REMEDY}"),
        (answered(401, b"Invalid API key or JWT"), "401 Unauthorized: Invalid API key or JWT"),
        (answered(502, b"<h1>Bad\nGateway</h1>"), "502 Bad Gateway: <h1>Bad Gateway</h1>"),
        (answered(500, b'{"status": "error"}'), '500 Internal Server Error: {"status": "error"}'),
        (answered(413, b"[]"), "413 Request Entity Too Large: []"),
        (ResponseHandlingException(httpx.ReadTimeout("late")), "ReadTimeout: late"),
        (ValueError("Collection articles not found"), "Collection articles not found"),
    ],
    ids=str,
)
def test_a_reason_is_the_servers_own_sentence(error, reason):
    assert refusal_of(error).reason == reason


def test_a_reason_has_a_bounded_length():
    assert len(refusal_of(answered(500, "long " * 1_000)).reason) <= 500


def test_a_server_that_is_too_busy_says_how_long_to_wait():
    assert refusal_of(ResourceExhaustedResponse("busy", 7)).pause == 7


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("x"), grpc.RpcError()])
def test_what_is_not_an_answer_of_a_server_is_not_a_refusal(error):
    assert refusal_of(error) is None


@pytest.fixture
def opened(seeded, as_opened):
    """A function that makes a store of a client, as if the collection had been looked at."""
    return lambda client: as_opened(QdrantStore(seeded(), client, "articles"))


VERBS = {
    "search": lambda store: store.search("text", filter={"lang": "en"}),
    "count": lambda store: store.count({"lang": "en"}),
    "delete": lambda store: store.delete(filter={"lang": "en"}),
    "get": lambda store: store.get("a"),
    "scroll": lambda store: list(store.scroll({"lang": "en"})),
}


@pytest.mark.parametrize("use", VERBS.values(), ids=VERBS)
def test_a_verb_that_a_server_refuses_over_rest_is_a_store_error_with_its_sentence(
    opened, http_server, rest_client, use
):
    http_server.answer = (400, body(NO_INDEX))
    with pytest.raises(StoreError) as raised:
        use(opened(rest_client))
    assert str(raised.value).endswith(f": {NO_INDEX} {REMEDY}")
    assert isinstance(raised.value.__cause__, UnexpectedResponse)


@pytest.mark.parametrize("use", VERBS.values(), ids=VERBS)
def test_a_verb_that_a_server_refuses_over_grpc_is_a_store_error_with_its_sentence(opened, refusing_grpc_client, use):
    with pytest.raises(StoreError) as raised:
        use(opened(refusing_grpc_client(grpc.StatusCode.INVALID_ARGUMENT, NO_INDEX)))
    assert str(raised.value).endswith(f": {NO_INDEX} {REMEDY}")
    assert isinstance(raised.value.__cause__, grpc.RpcError)


def test_a_forbidden_write_over_rest_raises(opened, http_server, rest_client):
    http_server.answer = (403, body(FORBIDDEN))
    with pytest.raises(WriteError, match=FORBIDDEN) as raised:
        opened(rest_client).add(["one", "two"])
    assert len(raised.value.report.failed) == 2
    assert len(http_server.requests) == 1


def test_a_forbidden_write_over_grpc_raises(opened, refusing_grpc_client):
    store = opened(refusing_grpc_client(grpc.StatusCode.PERMISSION_DENIED, FORBIDDEN))
    with pytest.raises(WriteError, match=FORBIDDEN):
        store.add(["one", "two"])


def test_a_server_that_is_too_busy_is_asked_again(opened, http_server, rest_client):
    http_server.answer, http_server.headers = (429, body("Rate limiting exceeded")), {"Retry-After": "1"}
    store = opened(rest_client)
    store._backend.limits = replace(store._backend.limits, attempts=2, first_pause=0, jitter=0)
    with pytest.raises(WriteError, match="Rate limiting exceeded"):
        store.add("one")
    assert len(http_server.requests) == 2


@pytest.fixture
def failing(seeded, monkeypatch):
    """A function that makes a store whose upserts fail as `choose` says, given the ids."""

    def make(choose):
        client = QdrantClient(":memory:")
        store = QdrantStore(seeded(), client, "articles")
        store.create()
        store._backend.limits = replace(store._backend.limits, attempts=3, first_pause=0, jitter=0)
        upsert = client.upsert

        def upsert_or_fail(name, points, **options):
            if (error := choose([point.payload["id"] for point in points])) is not None:
                raise error
            return upsert(name, points, **options)

        monkeypatch.setattr(client, "upsert", upsert_or_fail)
        return store

    return make


def test_of_a_request_that_is_refused_for_one_document_the_others_are_written(failing):
    store = failing(lambda ids: answered(422, "one is bad") if "17" in ids else None)
    report = store.add((Document(str(number), "text") for number in range(50)), on_error="report")
    assert [(failure.id, failure.reason) for failure in report.failed] == [("17", "one is bad")]
    assert store.count() == len(report.ok) == 49


def test_a_server_that_recovers_gets_everything(failing):
    errors = [answered(503, "words"), ResponseHandlingException(httpx.ConnectError("refused"))]
    store = failing(lambda ids: errors.pop() if errors else None)
    assert store.add(["one", "two"]).failed == ()
    assert store.count() == 2


CLIENTS = {
    "local": lambda: QdrantClient(":memory:"),
    "rest": lambda: QdrantClient(url="http://127.0.0.1:9", check_compatibility=False),
    "grpc": lambda: QdrantClient(url="http://127.0.0.1:9", prefer_grpc=True, check_compatibility=False),
}


@pytest.mark.parametrize("connect", CLIENTS.values(), ids=CLIENTS)
def test_a_store_whose_client_was_closed_says_so(opened, connect):
    client = connect()
    if client.init_options["prefer_grpc"]:
        # Otherwise the client would connect only after it was closed.
        assert client.grpc_points
    store = opened(client)
    client.close()
    for use in (store.count, lambda: store.add("text"), lambda: store.search("text"), lambda: store.get("a")):
        with pytest.raises(StoreError, match="its client was closed: make a new QdrantClient and store"):
            use()
