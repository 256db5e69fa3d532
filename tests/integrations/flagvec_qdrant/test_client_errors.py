"""What Qdrant's errors, over REST and gRPC, make of the documents of a request."""

import grpc
import httpx
import pytest
from flagvec_qdrant.client_errors import refusal_of
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from flagvec import Document
from flagvec.ingest.retry import Backoff
from flagvec_qdrant import QdrantStore


def answered(status):
    return UnexpectedResponse(status, "Reason", b'{"status": {"error": "words"}}', httpx.Headers())


class RpcError(grpc.RpcError, grpc.Call):
    """As grpc raises: an error that is also the call."""

    def __init__(self, code):
        self._code = code

    def code(self):
        return self._code

    def details(self):
        return "words of\nthe server"

    initial_metadata = trailing_metadata = add_callback = cancel = is_active = time_remaining = None


RpcError.__abstractmethods__ = frozenset()


@pytest.mark.parametrize(
    ("error", "retryable", "divisible"),
    [
        *((answered(status), True, False) for status in (408, 429, 502, 503, 504)),
        *((answered(status), False, True) for status in (400, 413, 422)),
        *((answered(status), False, False) for status in (401, 403, 404, 409, 500)),
        (ResponseHandlingException(httpx.ConnectError("refused")), True, False),
        (ResponseHandlingException(httpx.ReadTimeout("late")), True, False),
        (ResponseHandlingException(httpx.RemoteProtocolError("cut")), True, False),
        (RpcError(grpc.StatusCode.UNAVAILABLE), True, False),
        (RpcError(grpc.StatusCode.DEADLINE_EXCEEDED), True, False),
        (RpcError(grpc.StatusCode.RESOURCE_EXHAUSTED), True, False),
        (RpcError(grpc.StatusCode.INVALID_ARGUMENT), False, True),
        (RpcError(grpc.StatusCode.OUT_OF_RANGE), False, True),
        (RpcError(grpc.StatusCode.NOT_FOUND), False, False),
        (RpcError(grpc.StatusCode.UNAUTHENTICATED), False, False),
    ],
    ids=str,
)
def test_an_answer_says_whether_to_send_again_and_whether_to_send_less(error, retryable, divisible):
    refusal = refusal_of(error)
    assert (refusal.retryable, refusal.divisible) == (retryable, divisible)
    assert "\n" not in refusal.reason


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (answered(422), "422 (Reason)"),
        (ResponseHandlingException(httpx.ReadTimeout("late")), "ReadTimeout: late"),
        (RpcError(grpc.StatusCode.NOT_FOUND), "NOT_FOUND: words of the server"),
    ],
)
def test_a_reason_has_the_words_of_the_server(error, words):
    assert words in refusal_of(error).reason


def test_a_server_that_is_too_busy_says_how_long_to_wait():
    assert refusal_of(ResourceExhaustedResponse("busy", 7)).pause == 7


@pytest.mark.parametrize(
    "error", [ValueError("x"), ResponseHandlingException(RuntimeError("the client has been closed")), grpc.RpcError()]
)
def test_what_is_no_answer_of_a_server_is_no_refusal(error):
    assert refusal_of(error) is None


@pytest.fixture
def failing(seeded, monkeypatch):
    """A function that makes a store whose upserts fail as `choose` says, given the ids."""

    def make(choose):
        client = QdrantClient(":memory:")
        store = QdrantStore(seeded(), client, "articles")
        store.create()
        store._BACKOFF = Backoff(attempts=3, first_pause=0, jitter=0)
        upsert = client.upsert

        def upsert_or_fail(name, points, **options):
            if (error := choose([point.payload["id"] for point in points])) is not None:
                raise error
            return upsert(name, points, **options)

        monkeypatch.setattr(client, "upsert", upsert_or_fail)
        return store

    return make


def test_of_a_request_that_is_refused_for_one_document_the_others_are_written(failing):
    store = failing(lambda ids: answered(422) if "17" in ids else None)
    report = store.add(Document(str(number), "text") for number in range(50))
    assert [failure.id for failure in report.failed] == ["17"]
    assert "422 (Reason)" in report.failed[0].reason
    assert store.count() == len(report.ok) == 49


def test_a_server_that_recovers_gets_everything(failing):
    errors = [answered(503), RpcError(grpc.StatusCode.UNAVAILABLE)]
    store = failing(lambda ids: errors.pop() if errors else None)
    assert store.add(["one", "two"]).failed == ()
    assert store.count() == 2


def test_a_closed_client_is_an_error_and_no_report(seeded):
    client = QdrantClient(":memory:")
    store = QdrantStore(seeded(), client, "articles")
    store.create()
    client.close()
    for use in (store.count, lambda: store.add("text"), lambda: store.search("text"), lambda: store.get("a")):
        with pytest.raises(RuntimeError, match="closed"):
            use()
