"""Requests that are sent while what comes next is made ready; no test depends on how long anything takes."""

import signal
import threading
from contextvars import ContextVar
from threading import Event

import pytest

from flagvec import Document
from flagvec.ingest.pipeline import WriteBehind
from flagvec.ingest.report import FailedWrite
from flagvec.ingest.retry import Outcome, Record, Refusal
from flagvec.store.encoding import TextVectors

LONG = 30
TAKEN = Outcome([], None)
AWAY = Refusal("away", retryable=True)


def request(names):
    return [Record(Document(name, "text"), TextVectors()) for name in names]


def names_of(records):
    return "".join(record.document.id for record in records)


def refuse_all(records):
    return Outcome([FailedWrite(record.document.id, "away", True) for record in records], AWAY)


def write_all(writing, batches, prepare=request):
    """Write batches, each a string of ids and one request."""
    for position, names in enumerate(batches):
        writing.write(names, lambda names=names: [prepare(names)], position == len(batches) - 1)


def left_threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("flagvec-write")]


def test_a_batch_is_made_ready_while_the_one_before_is_in_flight():
    in_flight, prepared = Event(), Event()

    def send(records, stop):
        if names_of(records) == "a":
            in_flight.set()
            assert prepared.wait(LONG)
        return TAKEN

    def prepare(names):
        if names == "b":
            assert in_flight.wait(LONG)
            prepared.set()
        return request(names)

    with WriteBehind(send) as writing:
        write_all(writing, "ab", prepare)
    assert prepared.is_set()


def test_no_more_than_one_batch_is_made_ready_ahead():
    prepared, seen = [], []

    def send(records, stop):
        seen.append((names_of(records), len(prepared)))
        return TAKEN

    with WriteBehind(send) as writing:
        write_all(writing, "abcdefgh", lambda names: prepared.append(names) or request(names))
    assert all(ready - sent <= 1 for sent, (_, ready) in enumerate(seen, 1))


def test_requests_are_sent_in_order_and_one_at_a_time():
    turn, sent = threading.Lock(), []

    def send(records, stop):
        assert turn.acquire(blocking=False)
        sent.append(names_of(records))
        turn.release()
        return TAKEN

    with WriteBehind(send) as writing:
        writing.write("abcd", lambda: [request("ab"), request("cd")], False)
        writing.write("ef", lambda: [request("e"), request("f")], False)
        writing.write("ghi", lambda: [request("gh"), request("i")], True)
    assert sent == ["ab", "cd", "e", "f", "gh", "i"]


def test_what_has_nothing_beside_it_is_sent_by_the_calling_thread():
    senders = []
    with WriteBehind(lambda records, stop: senders.append(threading.current_thread()) or TAKEN) as writing:
        writing.write("ab", lambda: [request("a"), request("b")], True)
    assert senders == [threading.current_thread()] * 2


def test_what_is_made_ready_too_soon_for_a_thread_is_sent_by_the_calling_one():
    senders = []
    with WriteBehind(lambda records, stop: senders.append(threading.current_thread()) or TAKEN, LONG) as writing:
        write_all(writing, "abc")
    assert senders == [threading.current_thread()] * 3


def test_what_is_sent_beside_sees_the_context_of_the_caller():
    trace = ContextVar("trace", default="none")
    seen = []
    trace.set("mine")
    with WriteBehind(lambda records, stop: seen.append(trace.get()) or TAKEN) as writing:
        write_all(writing, "abc")
    assert seen == ["mine"] * 3


def test_no_thread_is_left_at_the_end():
    with WriteBehind(lambda records, stop: TAKEN) as writing:
        write_all(writing, "abc")
    assert left_threads() == []


def test_each_outcome_is_that_of_the_last_write_of_its_id():
    answers = iter([Outcome([FailedWrite("a", "no", False)], None), Outcome([FailedWrite("b", "no", False)], None)])
    with WriteBehind(lambda records, stop: next(answers)) as writing:
        write_all(writing, ["ab", "ab"])
    assert writing.outcomes == {"a": None, "b": FailedWrite("b", "no", False)}


def test_an_error_of_making_ready_is_raised_once_what_is_in_flight_has_ended():
    prepared, sent = Event(), []

    def send(records, stop):
        assert prepared.wait(LONG)
        sent.append((names_of(records), stop.is_set()))
        return TAKEN

    def prepare(names):
        if names == "b":
            prepared.set()
            raise ValueError("a bad vector")
        return request(names)

    with pytest.raises(ValueError, match="a bad vector"), WriteBehind(send) as writing:
        write_all(writing, "abc", prepare)
    assert sent == [("a", False)]


def test_an_error_between_batches_is_raised_once_what_is_in_flight_has_ended():
    failed, sent = Event(), []

    def send(records, stop):
        assert failed.wait(LONG)
        sent.append((names_of(records), stop.is_set()))
        return TAKEN

    with pytest.raises(OSError, match="the file ended"), WriteBehind(send) as writing:
        writing.write("a", lambda: [request("a")], False)
        failed.set()
        raise OSError("the file ended")
    assert sent == [("a", False)]
    assert writing.outcomes == {"a": None}


def test_an_error_of_sending_is_raised_and_nothing_is_sent_after_it():
    sent = []

    def send(records, stop):
        sent.append(names_of(records))
        if sent[-1] == "b":
            raise RuntimeError("a bug")
        return TAKEN

    with pytest.raises(RuntimeError, match="a bug"), WriteBehind(send) as writing:
        write_all(writing, "abcd")
    assert sent == ["a", "b"]
    assert left_threads() == []


def test_once_it_is_hopeless_what_is_left_is_neither_made_ready_nor_sent():
    ahead, prepared, sent = Event(), [], []

    def prepare(names):
        prepared.append(names)
        if names == "c":
            ahead.set()
        return request(names)

    def send(records, stop):
        sent.append(names_of(records))
        if sent[-1] == "a":
            return TAKEN
        assert ahead.wait(LONG)
        return refuse_all(records)

    with WriteBehind(send) as writing:
        write_all(writing, "abcdef", prepare)
    assert (prepared, sent) == (["a", "b", "c"], ["a", "b"])
    assert writing.outcomes == {"a": None} | {name: FailedWrite(name, "away", True) for name in "bcdef"}
    assert writing.hopeless == AWAY


def test_of_a_batch_of_several_requests_none_is_sent_once_it_is_hopeless():
    sent = []

    def send(records, stop):
        sent.append(names_of(records))
        return refuse_all(records)

    with WriteBehind(send) as writing:
        writing.write("abcd", lambda: [request("ab"), request("c"), request("d")], False)
    assert sent == ["ab"]
    assert list(writing.outcomes.values()) == [FailedWrite(name, "away", True) for name in "abcd"]


def test_an_error_of_making_ready_what_is_never_sent_is_not_raised():
    prepared = Event()

    def send(records, stop):
        assert prepared.wait(LONG)
        return refuse_all(records)

    def prepare(names):
        if names == "b":
            prepared.set()
            raise ValueError("a bad vector")
        return request(names)

    with WriteBehind(send) as writing:
        write_all(writing, "abc", prepare)
    assert list(writing.outcomes.values()) == [FailedWrite(name, "away", True) for name in "abc"]


def test_an_interruption_while_a_batch_is_made_ready_stops_what_is_in_flight():
    stopped = []

    def send(records, stop):
        stopped.append(stop.wait(LONG))
        return TAKEN

    def prepare(names):
        if names == "b":
            raise KeyboardInterrupt
        return request(names)

    with pytest.raises(KeyboardInterrupt), WriteBehind(send) as writing:
        write_all(writing, "abc", prepare)
    assert stopped == [True]
    assert left_threads() == []


@pytest.fixture
def interruptible():
    """Have SIGINT interrupt, which a shell has its background jobs ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interruption_while_a_request_is_waited_for_stops_it():
    prepared, stopped = Event(), []

    def send(records, stop):
        assert prepared.wait(LONG)
        # Python misses a signal that comes just before it waits for a lock, until the next one.
        for _ in range(LONG):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            if stop.wait(1):
                break
        stopped.append(stop.is_set())
        return TAKEN

    def prepare(names):
        if names == "b":
            prepared.set()
        return request(names)

    with pytest.raises(KeyboardInterrupt), WriteBehind(send) as writing:
        write_all(writing, "abc", prepare)
    assert stopped == [True]
    assert left_threads() == []
