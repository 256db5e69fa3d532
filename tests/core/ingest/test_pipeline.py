"""Documents that are encoded while others are written; no test depends on how long anything takes."""

import signal
import sys
import threading
from concurrent.futures import CancelledError
from contextvars import ContextVar
from dataclasses import dataclass, replace
from threading import Event

import numpy as np
import pytest

from flagvec import Document, StoreError, WriteError
from flagvec.ingest import pipeline
from flagvec.ingest.pipeline import write_documents
from flagvec.ingest.report import FailedWrite, WriteReport
from flagvec.store.backend import Refusal
from flagvec.store.documents import InvalidDocument
from flagvec.store.vectors import EncodedDocuments, TextVectors

LONG = 30
AWAY = Refusal("away", retryable=False)


def encode_nothing(documents):
    return EncodedDocuments([TextVectors(np.ones(1, np.float32)) for _ in documents], {}, ())


def write(backend, names, encode=encode_nothing, *, per_request=1, on_error="raise", documents=None, **options):
    """Write a document for each name, in batches of `per_request`."""
    backend.limits = replace(backend.limits, records=per_request)
    given = (Document(name, "text") for name in names) if documents is None else documents
    return write_documents(
        given,
        backend,
        encode,
        most_characters=10**6,
        timeout=None,
        on_error=on_error,
        done=lambda count: None,
        **{"flush": lambda: backend.flush(None), "confirm": lambda: None, "stop": Event(), **options},
    )


@pytest.fixture(autouse=True)
def every_batch_is_worth_a_thread(monkeypatch):
    monkeypatch.setattr(pipeline, "WORTH_A_THREAD", 0)


def left_threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("flagvec-write")]


def names_of(documents):
    return "".join(document.id for document in documents)


def test_a_batch_is_encoded_while_the_one_before_is_written(scripted):
    in_flight, encoded = Event(), Event()

    def answer(sent):
        if sent[-1] == "a":
            in_flight.set()
            assert encoded.wait(LONG)
        return []

    def encode(documents):
        if names_of(documents) == "b":
            assert in_flight.wait(LONG)
            encoded.set()
        return encode_nothing(documents)

    write(scripted(answer), "ab", encode)
    assert encoded.is_set()


def test_no_more_than_one_batch_is_encoded_ahead(scripted):
    encoded, seen = [], []
    write(
        scripted(lambda sent: seen.append(len(encoded)) or []),
        "abcdefgh",
        lambda documents: encoded.append(documents) or encode_nothing(documents),
    )
    assert all(ready - sent <= 1 for sent, ready in enumerate(seen, 1))


def test_requests_are_sent_in_order_and_one_at_a_time(scripted):
    lock = threading.Lock()

    def answer(sent):
        assert lock.acquire(blocking=False)
        lock.release()
        return []

    backend = scripted(answer)
    backend.row_bytes = lambda row: 1
    backend.limits = replace(backend.limits, bytes=2)
    write(backend, "abcdefghi", per_request=4)
    assert backend.sent == ["ab", "cd", "ef", "gh", "i"]


def test_what_is_written_sees_the_context_of_the_caller(scripted):
    trace = ContextVar("trace", default="none")
    seen = []
    trace.set("mine")
    write(scripted(lambda sent: seen.append(trace.get()) or []), "abc")
    assert seen == ["mine"] * 3


def test_the_calling_thread_writes_a_batch_that_took_no_time_to_encode(scripted, monkeypatch):
    monkeypatch.setattr(pipeline, "WORTH_A_THREAD", LONG)
    writers = []
    write(scripted(lambda sent: writers.append(threading.current_thread()) or []), "abc")
    assert writers == [threading.current_thread()] * 3


def test_no_thread_is_left_at_the_end(scripted):
    write(scripted(lambda sent: []), "abc")
    assert left_threads() == []


def test_each_outcome_is_that_of_the_last_write_of_its_id(scripted):
    backend = scripted([[FailedWrite("a", "no", False)], [FailedWrite("b", "no", False)]])
    report = write(backend, "abab", per_request=2)
    assert (report.ok, report.failed) == (("a",), (FailedWrite("b", "no", False),))


def test_an_error_of_encoding_is_raised_once_what_is_in_flight_has_ended(scripted):
    encoded = Event()

    def encode(documents):
        if names_of(documents) == "b":
            encoded.set()
            raise ValueError("a bad vector")
        return encode_nothing(documents)

    backend = scripted(lambda sent: [] if encoded.wait(LONG) else None)
    with pytest.raises(ValueError, match="a bad vector"):
        write(backend, "abc", encode)
    assert (backend.sent, backend.flushed) == (["a"], 1)


def test_an_error_of_the_documents_is_raised_once_what_is_in_flight_has_ended(scripted):
    failed = Event()

    def documents():
        yield Document("a", "text")
        yield Document("b", "text")
        failed.set()
        raise OSError("the file ended")

    backend = scripted(lambda sent: [] if failed.wait(LONG) else None)
    with pytest.raises(OSError, match="the file ended"):
        write(backend, "", documents=documents())
    assert (backend.sent, backend.flushed) == (["a"], 1)


def test_an_error_of_writing_is_raised_and_nothing_is_sent_after_it(scripted):
    backend = scripted(lambda sent: RuntimeError("a bug") if sent[-1] == "b" else [])
    with pytest.raises(RuntimeError, match="a bug"):
        write(backend, "abcd")
    assert backend.sent == ["a", "b"]
    assert left_threads() == []


def test_once_the_database_is_away_nothing_more_is_encoded_or_sent(scripted, refused):
    ahead, encoded = Event(), []

    def encode(documents):
        encoded.append(names_of(documents))
        if encoded[-1] == "c":
            ahead.set()
        return encode_nothing(documents)

    def answer(sent):
        if sent[-1] == "a":
            return []
        assert ahead.wait(LONG)
        return refused

    backend = scripted(answer, AWAY)
    report = write(backend, "abcdef", encode)
    assert (encoded, backend.sent) == (["a", "b", "c"], ["a", "b"])
    assert report.ok == ("a",)
    assert report.failed == tuple(FailedWrite(name, "away", False) for name in "bcdef")


def test_what_was_written_before_the_database_refuses_is_flushed_and_not_tried_for_long(scripted, refused):
    stop, flushed = Event(), []
    backend = scripted([[], refused], Refusal("too slow", retryable=True))
    backend.limits = replace(backend.limits, attempts=1)
    report = write(backend, "abc", stop=stop, flush=lambda: flushed.append(stop.is_set()))
    assert (report.ok, flushed) == (("a",), [True])


def test_a_database_that_has_taken_nothing_is_not_flushed(scripted, refused):
    backend = scripted([refused], AWAY)
    assert write(backend, "abc").ok == ()
    assert backend.flushed == 0


def test_an_invalid_document_is_reported_in_its_place(scripted):
    invalid = InvalidDocument("b", ValueError("too sour"), Document("b", "text"))
    documents = [Document("a", "text"), invalid, Document("c", "text")]
    report = write(scripted(lambda sent: []), "", documents=documents, on_error="report")
    assert report.ok == ("a", "c")
    assert [(failure.id, failure.reason) for failure in report.failed] == [("b", "too sour")]


def test_the_last_of_the_documents_with_one_id_counts_if_it_is_invalid(scripted):
    invalid = InvalidDocument("a", ValueError("too sour"), Document("a", "text"))
    report = write(
        scripted(lambda sent: []), "", per_request=9, documents=[Document("a", "x"), invalid], on_error="report"
    )
    assert (report.ok, [failure.reason for failure in report.failed]) == ((), ["too sour"])


def test_a_failing_flush_does_not_hide_the_error_that_ended_the_work(scripted, caplog):
    def documents():
        yield Document("a", "x")
        yield Document("b", "x")
        raise OSError("the file ended")

    backend = scripted(lambda sent: [])
    backend.flush = lambda timeout: 1 / 0
    with pytest.raises(OSError, match="the file ended"):
        write(backend, "", documents=documents())
    assert "could not be flushed after an error" in caplog.text


def test_an_error_of_encoding_is_not_raised_once_the_database_is_away(scripted, refused):
    encoded = Event()

    def encode(documents):
        if names_of(documents) == "b":
            encoded.set()
            raise ValueError("a bad vector")
        return encode_nothing(documents)

    backend = scripted(lambda sent: refused if encoded.wait(LONG) else None, AWAY)
    report = write(backend, "abc", encode)
    assert report.failed == tuple(FailedWrite(name, "away", False) for name in "abc")


def test_a_document_is_truncated_if_its_last_version_is(scripted):
    def encode(documents):
        long = [position for position, document in enumerate(documents) if document.text == "long"]
        return replace(encode_nothing(documents), truncated=long)

    documents = [Document("a", "long"), Document("b", "short"), Document("a", "short"), Document("b", "long")]
    assert write(scripted(lambda sent: []), "", encode, documents=documents).truncated == ("b",)


def test_every_document_is_counted_once(scripted):
    counted = []
    write_documents(
        [Document("a", "x"), Document("a", "y"), InvalidDocument("b", ValueError("no"), None), Document("c", "z")],
        scripted(lambda sent: []),
        encode_nothing,
        most_characters=10**6,
        timeout=None,
        on_error="report",
        confirm=lambda: None,
        flush=lambda: None,
        done=counted.append,
        stop=Event(),
    )
    assert sum(counted) == 4


def test_an_interruption_while_a_batch_is_encoded_stops_what_is_in_flight(scripted, refused):
    interrupted = Event()

    def encode(documents):
        if names_of(documents) == "b":
            interrupted.set()
            raise KeyboardInterrupt
        return encode_nothing(documents)

    backend = scripted(lambda sent: refused if interrupted.wait(LONG) else None, Refusal("busy", retryable=True))
    backend.limits = replace(backend.limits, first_pause=3_600)
    with pytest.raises(KeyboardInterrupt):
        write(backend, "abc", encode)
    assert backend.sent == ["a"]
    assert left_threads() == []


@pytest.fixture
def interrupt():
    """A function that interrupts the main thread, as Ctrl-C does, until the test has ended."""
    # A shell has its background jobs ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    ended = Event()

    def interrupt():
        # Python misses a signal that comes just before it waits for a lock, until the next one.
        while not ended.is_set():
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            ended.wait(1)

    yield lambda: threading.Thread(target=interrupt, daemon=True).start(), ended
    ended.set()
    signal.signal(signal.SIGINT, before)


def test_an_interruption_while_a_request_is_waited_for_stops_its_retries(scripted, refused, interrupt):
    start, ended = interrupt
    encoded = Event()

    def encode(documents):
        if names_of(documents) == "b":
            encoded.set()
        return encode_nothing(documents)

    def answer(sent):
        assert encoded.wait(LONG)
        start()
        return refused

    backend = scripted(answer, Refusal("busy", retryable=True))
    backend.limits = replace(backend.limits, first_pause=3_600)
    try:
        with pytest.raises(KeyboardInterrupt):
            write(backend, "abc", encode)
    finally:
        ended.set()
    assert backend.sent == ["a"]
    assert left_threads() == []


def ends_with(error, *names):
    """Yield documents, and raise."""
    yield from (Document(name, "text") for name in names)
    raise error


def unconfirmed(report):
    return {failure.id for failure in report.failed if "ended before the database confirmed it" in failure.reason}


def test_an_error_of_the_documents_carries_what_is_in_and_what_was_read(scripted):
    error = OSError("the file ended")
    with pytest.raises(OSError, match="the file ended") as raised:
        write(scripted(lambda sent: []), "", documents=ends_with(error, *"abcde"), per_request=2)
    report = raised.value.report
    assert raised.value is error
    assert (report.ok, unconfirmed(report)) == (("a", "b", "c", "d"), {"e"})
    assert report.failed_documents == [Document("e", "text")]


def test_an_error_of_the_model_carries_what_is_in(scripted):
    def encode(documents):
        if names_of(documents) == "c":
            raise RuntimeError("out of memory")
        return encode_nothing(documents)

    with pytest.raises(RuntimeError, match="out of memory") as raised:
        write(scripted(lambda sent: []), "abcde", encode)
    assert raised.value.report.ok == ("a", "b")
    assert "c" in unconfirmed(raised.value.report)


def test_an_invalid_document_carries_what_is_in_and_itself(scripted):
    invalid = InvalidDocument("c", ValueError("too sour"), Document("c", "text"))
    documents = (one for one in [Document("a", "text"), Document("b", "text"), invalid])
    with pytest.raises(ValueError, match="too sour") as raised:
        write(scripted(lambda sent: []), "", documents=documents)
    report = raised.value.report
    assert report.ok == ("a",)
    assert [(failure.id, failure.reason) for failure in report.failed if failure.id == "c"] == [("c", "too sour")]


def test_a_list_is_refused_whole_with_all_its_invalid_documents(scripted):
    backend = scripted(lambda sent: [])
    invalid = [InvalidDocument(name, ValueError(f"bad {name}"), None) for name in "bc"]
    with pytest.raises(ValueError, match="bad b") as raised:
        write(backend, "", documents=[Document("a", "text"), *invalid])
    assert backend.sent == []
    assert [failure.id for failure in raised.value.report.failed] == ["b", "c"]


def test_a_flush_that_fails_after_all_was_written_carries_the_report(scripted):
    def fail(timeout):
        raise StoreError("the script could not be flushed: busy")

    backend = scripted(lambda sent: [])
    backend.flush = fail
    with pytest.raises(WriteError, match="could not be flushed: busy; the documents were written, but") as raised:
        write(backend, "ab", on_error="report")
    assert (raised.value.report.ok, raised.value.report.failed) == (("a", "b"), ())


def test_an_error_of_the_client_that_is_not_known_carries_what_is_in(scripted):
    with pytest.raises(RuntimeError, match="a bug") as raised:
        write(scripted(lambda sent: RuntimeError("a bug") if sent[-1] == "b" else []), "abc")
    assert raised.value.report.ok == ("a",)
    assert "b" in unconfirmed(raised.value.report)


def test_a_store_that_is_another_now_carries_an_empty_report(scripted):
    backend = scripted(lambda sent: [])

    def confirm():
        raise StoreError("the alias leads elsewhere")

    with pytest.raises(StoreError, match="leads elsewhere") as raised:
        write(backend, "ab", confirm=confirm)
    assert (raised.value.report.ok, backend.sent, backend.flushed) == ((), [], 0)


def test_if_the_database_cannot_be_asked_nothing_is_encoded_and_all_is_reported(scripted):
    encoded, backend = [], scripted(lambda sent: [])
    report = write(backend, "abc", encoded.append, confirm=lambda: AWAY)
    assert (encoded, backend.sent, report.ok) == ([], [], ())
    assert [(failure.id, failure.reason) for failure in report.failed] == [(name, "away") for name in "abc"]


def test_an_interruption_carries_what_is_in(scripted):
    in_flight, interrupted = Event(), Event()

    def answer(sent):
        if sent[-1] == "b":
            in_flight.set()
            assert interrupted.wait(LONG)
        return []

    def encode(documents):
        if names_of(documents) == "c":
            assert in_flight.wait(LONG)
            interrupted.set()
            raise KeyboardInterrupt
        return encode_nothing(documents)

    with pytest.raises(KeyboardInterrupt) as raised:
        write(scripted(answer), "abcd", encode)
    # What was in flight when it came is known too.
    assert raised.value.report.ok == ("a", "b")


def test_a_write_to_another_store_that_fails_within_the_documents_keeps_its_own_report(scripted):
    theirs = WriteReport(("x",), (FailedWrite("y", "no", False),))
    with pytest.raises(WriteError) as raised:
        write(scripted(lambda sent: []), "", documents=ends_with(WriteError(theirs), "a", "b"))
    assert raised.value.report.ok == ("a",)
    assert raised.value.__cause__.report is theirs


def test_an_error_that_takes_no_attributes_is_raised_all_the_same(scripted):
    @dataclass(frozen=True)
    class Frozen(Exception):
        code: int

    with pytest.raises(Frozen) as raised:
        write(scripted(lambda sent: []), "", documents=ends_with(Frozen(3), "a", "b"))
    assert raised.value.report.ok == ("a",)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have notes since Python 3.11")
def test_a_traceback_says_what_is_in(scripted):
    with pytest.raises(OSError, match="ended") as raised:
        write(scripted(lambda sent: []), "", documents=ends_with(OSError("ended"), "a", "b"))
    assert raised.value.__notes__[0].startswith("add: 1 of 2 documents were written; 'b': add ended before")


def test_of_an_id_that_came_twice_the_version_that_was_not_written_is_reported(scripted):
    documents = ends_with(OSError("ended"), "a", "b", "a")
    with pytest.raises(OSError, match="ended") as raised:
        write(scripted(lambda sent: []), "", documents=documents)
    assert (raised.value.report.ok, unconfirmed(raised.value.report)) == (("b",), {"a"})


def test_stopping_from_another_thread_ends_after_the_request_that_is_being_made(scripted):
    stop = Event()
    backend = scripted(lambda sent: stop.set() or [] if sent[-1] == "b" else [])
    with pytest.raises(CancelledError) as raised:
        write(backend, "abcdef", stop=stop)
    assert backend.sent == ["a", "b"]
    assert raised.value.report.ok == ("a", "b")
    assert backend.flushed == 1


def test_an_interruption_of_the_flush_carries_the_report(scripted):
    def interrupt(timeout):
        raise KeyboardInterrupt

    backend = scripted(lambda sent: [])
    backend.flush = interrupt
    with pytest.raises(KeyboardInterrupt) as raised:
        write(backend, "ab")
    assert raised.value.report.ok == ("a", "b")
