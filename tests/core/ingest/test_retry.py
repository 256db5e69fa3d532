"""One request and what becomes of its documents."""

from concurrent.futures import CancelledError
from threading import Event

import pytest
from tenacity import nap

from flagvec import Document
from flagvec.ingest.report import FailedWrite
from flagvec.ingest.retry import Backoff, Record, Refusal, write_request
from flagvec.store.encoding import TextVectors

AT_ONCE = Backoff(attempts=4, first_pause=0, jitter=0)


class Refused(Exception):
    pass


def records(names):
    return [Record(Document(name, "text"), TextVectors()) for name in names]


def write(names, answers, refusal=None, backoff=AT_ONCE):
    """Write records to a database that gives these answers in turn; return the outcome and what it was sent."""
    sent = []

    def attempt(part):
        sent.append("".join(record.document.id for record in part))
        answer = answers(sent) if callable(answers) else answers[len(sent) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return write_request(records(names), attempt, lambda error: refusal, backoff), sent


def busy(name):
    return FailedWrite(name, "busy", retryable=True)


def bad(name):
    return FailedWrite(name, "bad", retryable=False)


def test_a_request_that_is_taken_is_sent_once():
    assert write("abc", [[]]) == (([], None), ["abc"])


def test_exactly_what_failed_retryably_is_sent_again():
    outcome, sent = write("abcd", [[busy("b"), bad("c"), busy("d")], [busy("d")], []])
    assert sent == ["abcd", "bd", "d"]
    assert outcome == ([bad("c")], None)


def test_a_document_that_stays_busy_is_reported_after_the_last_attempt():
    outcome, sent = write("ab", [[busy("b")]] * 4)
    assert sent == ["ab", "b", "b", "b"]
    assert outcome == ([busy("b")], None)


def test_a_request_that_fails_for_a_while_is_sent_again_whole():
    outcome, sent = write("ab", [Refused(), Refused(), []], Refusal("away", retryable=True))
    assert (outcome, sent) == (([], None), ["ab"] * 3)


def test_a_database_that_stays_away_is_hopeless():
    away = Refusal("away", retryable=True)
    outcome, sent = write("ab", [Refused()] * 4, away)
    assert sent == ["ab"] * 4
    assert outcome == ([FailedWrite("a", "away", True), FailedWrite("b", "away", True)], away)


def test_a_refusal_for_good_is_not_sent_again():
    forbidden = Refusal("forbidden", retryable=False)
    outcome, sent = write("ab", [Refused()], forbidden)
    assert sent == ["ab"]
    assert [failure.retryable for failure in outcome.failed] == [False, False]
    assert outcome.hopeless == forbidden


def test_of_a_request_that_is_refused_for_one_document_the_others_are_written():
    def answer(sent):
        return Refused() if "f" in sent[-1] else []

    outcome, sent = write("abcdefgh", answer, Refusal("invalid", retryable=False, divisible=True))
    assert outcome == ([FailedWrite("f", "invalid", False)], None)
    assert sent == ["abcdefgh", "abcd", "efgh", "ef", "e", "f", "gh"]


def test_a_database_that_goes_away_while_a_request_is_cut_is_hopeless():
    refusals = iter([Refusal("invalid", False, divisible=True), *[Refusal("away", True)] * 8])
    outcome = write_request(records("ab"), lambda part: raise_refused(), lambda error: next(refusals), AT_ONCE)
    assert [(failure.id, failure.reason) for failure in outcome.failed] == [("a", "away"), ("b", "away")]
    assert outcome.hopeless.reason == "away"


def raise_refused():
    raise Refused


def test_an_error_that_is_no_answer_passes_through():
    with pytest.raises(Refused):
        write("a", [Refused()], None)


def test_pauses_double_up_to_the_longest_and_never_fall_below_what_the_database_asks(monkeypatch):
    pauses = []
    monkeypatch.setattr(nap.time, "sleep", pauses.append)
    backoff = Backoff(attempts=6, first_pause=1, longest_pause=5, jitter=0)
    write("a", [[busy("a")]] * 6, backoff=backoff)
    assert pauses == [1, 2, 4, 5, 5]
    pauses.clear()
    write("a", [Refused()] * 3, Refusal("slow down", True, pause=3), Backoff(3, 1, 5, 0))
    assert pauses == [3, 3]
    pauses.clear()
    write("a", [Refused()] * 2, Refusal("slow down", True, pause=1e6), Backoff(2, 1, 5, 0))
    assert pauses == [60]


def test_pauses_are_spread(monkeypatch):
    pauses = []
    monkeypatch.setattr(nap.time, "sleep", pauses.append)
    for _ in range(20):
        write("a", [[busy("a")]] * 2, backoff=Backoff(2, 1, 5, jitter=1))
    assert all(1 <= pause <= 2 for pause in pauses)
    assert len(set(pauses)) > 10


def test_a_request_that_is_stopped_is_not_sent_again():
    stop, sent = Event(), []

    def attempt(part):
        sent.append(part)
        stop.set()
        raise Refused

    pause = Backoff(attempts=4, first_pause=3_600, longest_pause=3_600, jitter=0)
    with pytest.raises(CancelledError):
        write_request(records("ab"), attempt, lambda error: Refusal("away", retryable=True), pause, stop)
    assert len(sent) == 1


def test_of_a_request_that_is_stopped_no_part_is_sent():
    stop, sent = Event(), []

    def attempt(part):
        sent.append(part)
        stop.set()
        raise Refused

    invalid = Refusal("invalid", retryable=False, divisible=True)
    with pytest.raises(CancelledError):
        write_request(records("ab"), attempt, lambda error: invalid, AT_ONCE, stop)
    assert len(sent) == 1


def test_a_reason_tells_no_secret():
    outcome, _ = write("a", [Refused()], Refusal("POST https://me:secret@db failed", retryable=False))
    assert outcome.failed[0].reason == "POST https://***@db failed"
