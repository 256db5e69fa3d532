"""One request and what becomes of its documents."""

from concurrent.futures import CancelledError
from dataclasses import replace
from threading import Event
from time import monotonic

import pytest

from flagvec import Document
from flagvec.ingest.report import FailedWrite
from flagvec.ingest.retry import Request, Retries, write_request
from flagvec.store.backend import Refusal, WriteLimits


def send(backend, names, stop=None):
    request = Request([Document(name, "text") for name in names], list(names))
    return write_request(request, backend, None, Retries(stop or Event()))


def busy(name):
    return FailedWrite(name, "busy", retryable=True)


def bad(name):
    return FailedWrite(name, "bad", retryable=False)


class Pauses(Event):
    """Notes the pauses that are made, and makes none."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def wait(self, timeout=None):
        self.seconds.append(timeout)
        return False


def test_a_request_that_is_taken_is_sent_once(scripted):
    backend = scripted([[]])
    assert send(backend, "abc") == ([], None)
    assert backend.sent == ["abc"]


def test_only_what_failed_retryably_is_sent_again(scripted):
    backend = scripted([[busy("b"), bad("c"), busy("d")], [busy("d")], []])
    assert send(backend, "abcd") == ([bad("c")], None)
    assert backend.sent == ["abcd", "bd", "d"]


def test_a_failure_carries_its_document(scripted):
    (failure,) = send(scripted([[bad("b")]]), "ab").failed
    assert failure.document == Document("b", "text")


def test_a_document_that_stays_busy_is_reported_after_the_last_attempt(scripted):
    backend = scripted([[busy("b")]] * 4)
    assert send(backend, "ab") == ([busy("b")], None)
    assert backend.sent == ["ab", "b", "b", "b"]


def test_a_request_that_fails_for_a_while_is_sent_again_whole(scripted, refused):
    backend = scripted([refused, refused, []], Refusal("away", retryable=True))
    assert send(backend, "ab") == ([], None)
    assert backend.sent == ["ab"] * 3


def test_a_database_that_stays_away_is_hopeless(scripted, refused):
    away = Refusal("away", retryable=True)
    backend = scripted([refused] * 4, away)
    assert send(backend, "ab") == ([FailedWrite("a", "away", True), FailedWrite("b", "away", True)], away)
    assert backend.sent == ["ab"] * 4


def test_a_refusal_for_good_is_not_sent_again(scripted, refused):
    forbidden = Refusal("forbidden", retryable=False)
    backend = scripted([refused], forbidden)
    outcome = send(backend, "ab")
    assert [failure.retryable for failure in outcome.failed] == [False, False]
    assert (outcome.hopeless, backend.sent) == (forbidden, ["ab"])


def test_if_a_request_is_refused_because_of_one_document_the_others_are_written(scripted, refused):
    backend = scripted(
        lambda sent: refused if "f" in sent[-1] else [], Refusal("invalid", retryable=False, divisible=True)
    )
    assert send(backend, "abcdefgh") == ([FailedWrite("f", "invalid", False)], None)
    assert backend.sent == ["abcdefgh", "abcd", "efgh", "ef", "e", "f", "gh"]


def test_a_database_that_goes_away_while_a_request_is_cut_is_hopeless(scripted, refused):
    refusals = iter([Refusal("invalid", False, divisible=True), *[Refusal("away", True)] * 8])
    outcome = send(scripted(lambda sent: refused, lambda: next(refusals)), "ab")
    assert [(failure.id, failure.reason) for failure in outcome.failed] == [("a", "away"), ("b", "away")]
    assert outcome.hopeless.reason == "away"


def test_an_error_that_is_not_an_answer_passes_through(scripted, refused):
    with pytest.raises(type(refused)):
        send(scripted([refused], None), "a")


def test_pauses_double_up_to_ten_seconds(scripted):
    backend, pauses = scripted([[busy("a")]] * 6), Pauses()
    backend.limits = WriteLimits(attempts=6, first_pause=1, jitter=0)
    send(backend, "a", pauses)
    assert pauses.seconds == [1, 2, 4, 8, 10]


@pytest.mark.parametrize(("asked", "kept"), [(3, [3, 3]), (1e6, [60, 60])])
def test_a_pause_is_as_long_as_the_database_asks_up_to_a_minute(scripted, refused, asked, kept):
    backend, pauses = scripted([refused] * 3, Refusal("slow down", True, pause=asked)), Pauses()
    backend.limits = WriteLimits(attempts=3, first_pause=1, jitter=0)
    send(backend, "a", pauses)
    assert pauses.seconds == kept


def test_pauses_are_spread(scripted):
    pauses = Pauses()
    for _ in range(20):
        backend = scripted([[busy("a")]] * 2)
        backend.limits = WriteLimits(attempts=2, first_pause=1, jitter=1)
        send(backend, "a", pauses)
    assert all(1 <= pause <= 2 for pause in pauses.seconds)
    assert len(set(pauses.seconds)) > 10


@pytest.mark.parametrize("refusal", [Refusal("away", True), Refusal("invalid", False, divisible=True)])
def test_nothing_more_is_sent_once_it_is_stopped(scripted, refused, refusal):
    stop = Event()
    backend = scripted(lambda sent: stop.set() or refused, refusal)
    backend.limits = replace(backend.limits, first_pause=3_600)
    with pytest.raises(CancelledError):
        send(backend, "ab", stop)
    assert backend.sent == ["ab"]


def test_a_reason_has_no_secret(scripted, refused):
    outcome = send(scripted([refused], Refusal("POST https://me:secret@db failed", retryable=False)), "a")
    assert outcome.failed[0].reason == "POST https://***@db failed"


def within(seconds, backend, names, stop=None):
    """Send a request that is sent again for so many seconds."""
    request = Request([Document(name, "text") for name in names], list(names))
    return write_request(request, backend, None, Retries(stop or Event(), monotonic() + seconds))


def test_a_request_that_is_too_much_at_the_moment_is_cut_in_two_until_the_deadline(scripted, refused):
    backend = scripted(lambda sent: refused if len(sent[-1]) > 2 else [], Refusal("too much", retryable=True))
    assert within(30, backend, "abcd") == ([], None)
    assert backend.sent == ["abcd"] * 3 + ["ab", "cd"]


def test_a_database_that_stays_away_is_asked_for_one_document_until_the_deadline(scripted, refused):
    away = Refusal("away", retryable=True)
    backend = scripted(lambda sent: refused, away)
    backend.limits = WriteLimits(attempts=1, first_pause=0.01, jitter=0)
    outcome = within(0.3, backend, "abcd")
    assert [failure.id for failure in outcome.failed] == list("abcd")
    assert outcome.hopeless == away
    assert set(backend.sent) == {"abcd", "ab", "a"}
    assert backend.sent.count("a") > 1


def test_documents_that_stay_busy_are_sent_again_until_the_deadline(scripted):
    backend = scripted(lambda sent: [busy("b")] if len(sent) < 20 else [])
    assert within(30, backend, "ab") == ([], None)
    assert backend.sent == ["ab"] + ["b"] * 19


def test_each_attempt_but_the_first_is_counted(scripted):
    counted = []
    backend = scripted([[busy("b")], [busy("b")], []])
    request = Request([Document("b", "text")], ["b"])
    write_request(request, backend, None, Retries(Event(), None, lambda: counted.append(1)))
    assert len(counted) == 2
