"""What the client's exceptions and the errors in answers mean."""

import pytest
from elastic_transport import ApiResponseMeta, ConnectionError, ConnectionTimeout, HttpHeaders, NodeConfig, TlsError
from elasticsearch import ApiError

from flagvec_elasticsearch.errors import classify, error_reason, failed_items


def api_error(status, body, **headers):
    node = NodeConfig("http", "127.0.0.1", 9200)
    return ApiError("message", ApiResponseMeta(status, "1.1", HttpHeaders(headers), 0.1, node), body)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_an_overloaded_server_may_take_the_request_later(status):
    found = classify(api_error(status, {"error": {"type": "busy", "reason": "queue full"}}))
    assert (found.reason, found.retryable, found.divisible) == (f"{status}: busy: queue full", True, False)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_server_that_forbids_it_will_not_take_the_request_later(status):
    found = classify(api_error(status, {"error": "no"}))
    assert (found.reason, found.retryable, found.divisible) == (f"{status}: no", False, False)


def test_a_part_of_a_bad_request_may_be_taken():
    found = classify(api_error(400, {"error": {"type": "illegal_argument_exception", "reason": "id is too long"}}))
    assert (found.retryable, found.divisible) == (False, True)


def test_a_part_of_a_request_that_is_too_large_may_be_taken():
    found = classify(api_error(413, None))
    assert "http.max_content_length" in found.reason
    assert (found.retryable, found.divisible) == (False, True)


def test_the_pause_that_a_server_asks_for_is_kept():
    assert classify(api_error(429, None, **{"Retry-After": "7"})).pause == 7.0
    assert classify(api_error(429, None, **{"Retry-After": "Tue, 24 Nov 2026 08:00:00 GMT"})).pause == 0.0


@pytest.mark.parametrize("error", [ConnectionError("gone"), ConnectionTimeout("slow")])
def test_a_server_out_of_reach_may_take_the_request_later(error):
    assert classify(error).retryable


def test_a_failed_connection_has_its_cause_in_the_reason():
    error = ConnectionError("Connection error", errors=(OSError("refused"),))
    assert classify(error).reason == "ConnectionError: Connection error (refused)"


@pytest.mark.parametrize("error", [TlsError("bad certificate"), ConnectionError("Pool is closed")])
def test_what_waiting_does_not_help_is_not_sent_again(error):
    assert not classify(error).retryable


def test_an_error_of_the_program_is_nothing_that_the_server_refused():
    assert classify(KeyError("text")) is None


def test_each_failed_item_is_reported_by_its_id():
    answer = {
        "items": [
            {"index": {"_id": "a", "status": 201}},
            {"index": {"_id": "b", "status": 429, "error": {"type": "es_rejected", "reason": "full"}}},
            {"index": {"_id": "c", "status": 400, "error": {"type": "parsing", "caused_by": {"reason": "odd"}}}},
            {"delete": {"_id": "d", "status": 404}},
        ]
    }
    failed = [(item.id, item.reason, item.retryable) for item in failed_items(answer)]
    assert failed == [("b", "es_rejected: full", True), ("c", "parsing: odd", False)]


def test_a_failed_search_has_the_words_of_its_shards_once():
    error = {
        "type": "search_phase_execution_exception",
        "reason": "all shards failed",
        "root_cause": [{"type": "query_shard_exception", "reason": "no such field"}],
        "caused_by": {"reason": "no such field", "caused_by": {"reason": "typo"}},
    }
    assert error_reason(error) == "search_phase_execution_exception: all shards failed: no such field: typo"


def test_a_long_reason_is_cut():
    assert len(error_reason({"type": "es_rejected", "reason": "x" * 2_000})) == 300
    assert len(error_reason("x" * 2_000)) == 300


def test_an_answer_without_an_error_is_named_by_the_clients_message():
    assert classify(api_error(500, {})).reason == "500: message"
    assert classify(api_error(500, None)).reason == "500: message"


def test_a_server_without_rank_vectors_has_the_remedy_in_the_reason():
    error = {"type": "mapper_parsing_exception", "reason": "The mapper type [rank_vectors] does not exist"}
    assert classify(api_error(400, {"error": error})).reason.endswith("choose colbert='compact', which needs none")


def test_a_client_newer_than_the_server_has_the_remedy_in_the_reason():
    error = {"type": "media_type_header_exception", "reason": "Invalid media-type value on headers"}
    refused = ApiError("media_type_header_exception", api_error(400, None).meta, {"error": error, "status": 400})
    assert "pip install 'elasticsearch>=8.19,<9'" in classify(refused).reason
