"""Requests that are repeated while the database refuses them for the moment; the clock is the test's own."""

from threading import Event

import pytest

from flagvec import StoreError
from flagvec.store import asking
from flagvec.store.asking import PATIENCE, Patience, Refused, ask
from flagvec.store.backend import Refusal, WriteLimits

AWAY = Refusal("no route; password=secret", retryable=True)


class Away(Exception):
    """What a client raises."""


class Clock:
    """Seconds that pass only in pauses and in requests that take some."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def pause(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(asking, "monotonic", made)
    monkeypatch.setattr(asking, "sleep_using_event", lambda stop: made.pause)
    return made


class Script:
    """A database that refuses so often, each time after some seconds."""

    limits = WriteLimits(first_pause=1, jitter=0)

    def __init__(self, clock, refusal, failures=10**9, takes=0.0):
        self.refusal = refusal
        self.failures = failures
        self.takes = takes
        self.begun = []
        self.allowed = []
        self._clock = clock

    def classify(self, error):
        return self.refusal if isinstance(error, Away) else None

    def request(self, timeout):
        self.begun.append(self._clock())
        self.allowed.append(timeout)
        self._clock.pause(self.takes if timeout is None else min(self.takes, timeout))
        if len(self.begun) <= self.failures:
            raise Away
        return "answer"


def asked(script, timeout=None, **options):
    return ask(script, script.request, Patience(timeout), **options)


def test_a_request_that_is_answered_is_made_once(clock):
    script = Script(clock, AWAY, failures=0)
    assert asked(script) == "answer"
    assert (script.begun, script.allowed) == ([0], [None])


def test_a_database_that_is_back_after_seven_seconds_is_asked_until_then(clock):
    script = Script(clock, AWAY, failures=3)
    assert asked(script) == "answer"
    assert script.begun == [0, 1, 3, 7]


def test_without_a_timeout_no_attempt_begins_after_ten_seconds(clock):
    script = Script(clock, AWAY)
    with pytest.raises(Refused):
        asked(script)
    assert script.begun == [0, 1, 3, 7]
    assert script.begun[-1] < PATIENCE


def test_all_attempts_and_pauses_end_within_the_timeout(clock):
    script = Script(clock, AWAY, takes=100)
    with pytest.raises(Refused):
        asked(script, timeout=5)
    assert (script.begun, script.allowed) == ([0], [5])
    assert clock.now == 5


def test_each_attempt_gets_the_time_that_is_left(clock):
    script = Script(clock, AWAY, takes=0.5)
    with pytest.raises(Refused):
        asked(script, timeout=6)
    assert script.allowed == [6, 4.5, 2]
    assert clock.now <= 6


def test_an_attempt_that_hangs_until_the_clients_own_limit_is_not_followed_by_one_after_ten_seconds(clock):
    script = Script(clock, AWAY, takes=6)
    with pytest.raises(Refused):
        asked(script)
    assert script.begun == [0, 7]


def test_the_pause_that_the_database_asks_for_is_made_if_there_is_time(clock):
    script = Script(clock, Refusal("slow down", True, pause=4), failures=1)
    assert asked(script) == "answer"
    assert script.begun == [0, 4]


def test_a_longer_pause_than_there_is_time_for_is_not_begun_and_the_error_says_so(clock):
    script = Script(clock, Refusal("slow down", True, pause=12))
    with pytest.raises(Refused, match=r"slow down \(tried once in 0.0 s\): the database asks to wait for 12 s"):
        asked(script)
    assert script.begun == [0]


def test_a_longer_timeout_lets_the_pause_be_made(clock):
    script = Script(clock, Refusal("slow down", True, pause=12), failures=1)
    assert asked(script, timeout=20) == "answer"
    assert script.begun == [0, 12]


def test_a_refusal_for_good_is_not_repeated(clock):
    script = Script(clock, Refusal("forbidden", retryable=False))
    with pytest.raises(Refused, match=r"^forbidden$") as raised:
        asked(script)
    assert isinstance(raised.value.__cause__, Away)
    assert script.begun == [0]


def test_the_error_says_how_often_and_how_long_it_was_tried_without_secrets(clock):
    with pytest.raises(Refused) as raised:
        asked(Script(clock, AWAY, takes=0.25))
    assert str(raised.value) == "no route; password=*** (tried 4 times in 8.0 s)"


@pytest.mark.parametrize("error", [StoreError("two indices"), ZeroDivisionError(), KeyboardInterrupt()], ids=repr)
def test_what_is_not_an_answer_of_the_database_passes_through(clock, error):
    script, calls = Script(clock, AWAY), []

    def request(timeout):
        calls.append(timeout)
        raise error

    with pytest.raises(type(error)) as raised:
        ask(script, request, Patience(None))
    assert raised.value is error
    assert len(calls) == 1


def test_nothing_is_repeated_once_stop_is_set(clock):
    stop = Event()
    stop.set()
    script = Script(clock, AWAY)
    with pytest.raises(Refused):
        asked(script, stop=stop)
    assert script.begun == [0]
