import logging

import grpc
import pytest
from pymilvus.exceptions import DataNotMatchException, MilvusException, ParamError

from flagvec_milvus import faults


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
    refusal = faults.refusal(error)
    assert (refusal.retryable, refusal.divisible) == (retryable, divisible)
    assert refusal.reason


def test_a_refusal_has_the_databases_words():
    assert faults.refusal(MilvusException(100, "collection not found")).reason == "collection not found"
    assert faults.refusal(Answer(grpc.StatusCode.ABORTED)).reason == "ABORTED: details"


def test_what_is_no_answer_of_the_database_is_no_refusal():
    assert faults.refusal(ZeroDivisionError()) is None


def test_only_reported_failures_are_left_out_of_the_clients_log(caplog):
    logger = logging.getLogger("pymilvus.decorators")
    with faults.reported():
        logger.error("in the report")
    logger.error("nowhere else")
    assert [record.message for record in caplog.records] == ["nowhere else"]
