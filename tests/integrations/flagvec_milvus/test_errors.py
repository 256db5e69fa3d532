import logging

import grpc
import pytest
from pymilvus.exceptions import DataNotMatchException, MilvusException, ParamError

from flagvec_milvus import errors


class Answer(grpc.RpcError):
    def __init__(self, code):
        self._code = code

    def code(self):
        return self._code

    def details(self):
        return "details"


@pytest.mark.parametrize(
    ("error", "retryable", "divisible"),
    [
        (MilvusException(8, "rate limit exceeded"), True, False),
        (MilvusException(2, "Fail connecting to server"), True, False),
        (MilvusException(grpc.StatusCode.UNAVAILABLE, "Retry timeout: 1s"), True, False),
        (MilvusException(65535, "segment is moving", retriable=True), True, False),
        (MilvusException(65535, "out of range", retriable=True, is_input_error=True), False, True),
        (MilvusException(1100, "invalid parameter"), False, True),
        (MilvusException(5, "IllegalArgument", compatible_code=5), False, True),
        (MilvusException(6, "max_length exceeded", compatible_code=6), False, True),
        (MilvusException(5, "service internal error"), False, False),
        (MilvusException(100, "collection not found"), False, False),
        (ParamError(message="bad"), False, True),
        (DataNotMatchException(message="bad"), False, True),
        (Answer(grpc.StatusCode.DEADLINE_EXCEEDED), True, False),
        (Answer(grpc.StatusCode.RESOURCE_EXHAUSTED), False, True),
        (Answer(grpc.StatusCode.UNAUTHENTICATED), False, False),
    ],
)
def test_an_error_says_whether_the_request_or_a_part_of_it_may_be_taken_later(error, retryable, divisible):
    refusal = errors.classify(error)
    assert (refusal.retryable, refusal.divisible) == (retryable, divisible)
    assert refusal.reason


def test_a_refusal_has_the_databases_words():
    assert errors.classify(MilvusException(100, "collection not found")).reason == "collection not found"
    assert errors.classify(Answer(grpc.StatusCode.ABORTED)).reason == "ABORTED: details"


def test_a_refusal_is_one_line_without_what_grpc_adds_for_debugging():
    away = "[query] Retry timeout: 1s, StatusCode.UNAVAILABLE, refused, channel_state=IDLE, debug=UNKNOWN: refused"
    assert errors.classify(MilvusException(grpc.StatusCode.UNAVAILABLE, away)).reason == (
        "[query] Retry timeout: 1s, StatusCode.UNAVAILABLE, refused"
    )
    wrong = "unknown field 'x' at column 1\n  x == 3\n  ^\navailable fields: ['id']"
    reason = "unknown field 'x' at column 1; x == 3; available fields: ['id']"
    assert errors.classify(MilvusException(6, wrong)).reason == reason


def test_a_closed_client_is_named():
    refusal = errors.classify(MilvusException(message="should create connection first"))
    assert refusal.reason == "its client was closed: make a new MilvusClient and store"
    assert not refusal.retryable


def test_what_is_no_answer_of_the_database_is_no_refusal():
    assert errors.classify(ZeroDivisionError()) is None


def test_only_failures_of_the_block_are_left_out_of_the_clients_log(caplog):
    logger = logging.getLogger("pymilvus.decorators")
    with errors.client_log_off():
        logger.error("in the report")
    logger.error("nowhere else")
    assert [record.message for record in caplog.records] == ["nowhere else"]
