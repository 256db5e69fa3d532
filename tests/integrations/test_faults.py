"""A server that answers badly, late or no more while documents are written: nothing is lost and the report is true."""

import time
import uuid
from collections import deque
from dataclasses import replace

import pytest

from flagvec import Document, StoreError, WriteError

PER_REQUEST = 5
DOCUMENTS = [Document(str(number), f"shared word{number}") for number in range(4 * PER_REQUEST)]


@pytest.fixture(scope="module")
def proxies(load_module, request):
    return load_module(request.path.parent / "faulty_proxy.py")


@pytest.fixture
def fault(proxies):
    """The faults by name."""
    return proxies.Fault


@pytest.fixture
def faulty(server_factory, seeded, proxies):
    """A created store behind a proxy, the proxy, and the same store without one.

    The faults of the proxy's ``plan`` befall the next writing requests, in turn.
    """
    factory = server_factory
    name, plan = f"flagvec_faults_{uuid.uuid4().hex}", deque()

    def choose(method, path):
        return plan.popleft() if plan and factory.is_write(method, path) else None

    direct = factory.make(seeded(), name)
    direct.create()
    with proxies.FaultyProxy(factory.server_url(), choose) as proxy:
        proxy.plan = plan
        store = factory.make_at(proxy.url, seeded(), name)
        limits = store._backend.limits
        store._backend.limits = replace(limits, records=PER_REQUEST, attempts=3, first_pause=0.01, jitter=0.01)
        store.count()
        yield store, proxy, direct
        store.close()
    direct.close()
    factory.cleanup(name)


def ids(store):
    return {document.id for document in store.scroll()}


@pytest.mark.parametrize("kind", ["UNAVAILABLE", "LOST_REQUEST", "LOST_ANSWER"])
def test_a_fault_that_passes_loses_nothing(faulty, fault, kind):
    store, proxy, direct = faulty
    proxy.plan.extend([None, fault[kind], fault[kind], None, fault[kind]])
    report = store.add(DOCUMENTS)
    assert (len(report.ok), report.failed) == (len(DOCUMENTS), ())
    assert ids(direct) == {document.id for document in DOCUMENTS}
    assert not proxy.plan


def test_once_a_server_stays_away_the_report_says_which_documents_are_in(faulty, fault, caplog):
    store, proxy, direct = faulty
    proxy.plan.extend([None, None, *[fault.UNAVAILABLE] * 10])
    with pytest.raises(WriteError) as caught:
        store.add(DOCUMENTS)
    report = caught.value.report
    assert set(report.ok) == {document.id for document in DOCUMENTS[: 2 * PER_REQUEST]}
    assert [failure.id for failure in report.failed] == [document.id for document in DOCUMENTS[2 * PER_REQUEST :]]
    assert all(failure.retryable and failure.reason for failure in report.failed)
    assert f"{2 * PER_REQUEST} of {4 * PER_REQUEST} documents were written" in caplog.text
    proxy.plan.clear()
    assert report.failed_documents == DOCUMENTS[2 * PER_REQUEST :]
    assert store.add(report.failed_documents).failed == ()
    assert ids(direct) == {document.id for document in DOCUMENTS}


def test_a_server_that_dies_in_the_middle_is_reported(faulty, fault):
    store, proxy, direct = faulty

    def documents():
        yield from DOCUMENTS[: PER_REQUEST + 1]
        while len(direct.get(document.id for document in DOCUMENTS)) < PER_REQUEST:
            time.sleep(0.01)
        proxy.choose = lambda method, path: fault.LOST_REQUEST
        yield from DOCUMENTS[PER_REQUEST + 1 :]

    report = store.add(documents(), on_error="report")
    # Got, not scrolled: the store could no longer ask for what it wrote to be found.
    there = direct.get(document.id for document in DOCUMENTS)
    assert (
        set(report.ok) == {document.id for document in there} == {document.id for document in DOCUMENTS[:PER_REQUEST]}
    )
    assert len(report.failed) == len(DOCUMENTS) - PER_REQUEST
    assert all(failure.retryable for failure in report.failed)


def test_a_write_that_takes_longer_than_its_timeout_is_reported(faulty, fault):
    store, proxy, direct = faulty
    proxy.plan.extend([fault.SLOW] * 3)
    report = store.add(DOCUMENTS[:PER_REQUEST], timeout=1, on_error="report")
    assert [failure.retryable for failure in report.failed] == [True] * PER_REQUEST
    # It was late, not lost; that is why a write can be tried again.
    assert store.add(DOCUMENTS[:PER_REQUEST]).failed == ()
    assert direct.count() == PER_REQUEST


VERBS = {
    "search": lambda store: store.search("shared", timeout=1),
    "get": lambda store: store.get("1", timeout=1),
    "count": lambda store: store.count(timeout=1),
    "scroll": lambda store: list(store.scroll(timeout=1)),
    "delete": lambda store: store.delete("1", timeout=1),
    "delete by filter": lambda store: store.delete(filter={"n": 1}, timeout=1),
}


@pytest.mark.parametrize("use", VERBS.values(), ids=VERBS)
def test_no_verb_waits_longer_than_its_timeout(faulty, fault, use):
    store, proxy, _ = faulty
    proxy.choose = lambda method, path: fault.SLOW
    started = time.monotonic()
    with pytest.raises(StoreError, match=r"(?i)timed out|timeout") as caught:
        use(store)
    assert caught.value.__cause__ is not None
    assert time.monotonic() - started < proxy.delay


AGAIN = {
    "search": lambda store: store.search("shared"),
    "get": lambda store: store.get("1"),
    "count": lambda store: store.count(),
    "scroll": lambda store: list(store.scroll(batch_size=PER_REQUEST)),
    "delete": lambda store: store.delete("1"),
    "delete by filter": lambda store: store.delete(filter={"n": 1}),
}


@pytest.mark.parametrize("kind", ["UNAVAILABLE", "LOST_REQUEST", "LOST_ANSWER"])
@pytest.mark.parametrize("use", AGAIN.values(), ids=AGAIN)
def test_every_verb_is_repeated_after_a_fault_that_passes(faulty, fault, use, kind):
    store, proxy, direct = faulty
    direct.add(DOCUMENTS)
    expected = use(direct)
    direct.add(DOCUMENTS)
    # More than the clients themselves repeat.
    faults = deque([fault[kind]] * 5)
    proxy.choose = lambda method, path: faults.popleft() if faults else None
    assert use(store) == expected
    assert not faults


def test_a_verb_that_gives_up_says_how_often_and_how_long_it_was_tried(faulty, fault):
    store, proxy, _ = faulty
    proxy.choose = lambda method, path: fault.LOST_REQUEST
    with pytest.raises(StoreError, match=r"could not be counted: .* \(tried \d+ times in \d\.\d s\)"):
        store.count(timeout=1)


@pytest.mark.parametrize("use", VERBS.values(), ids=VERBS)
def test_a_server_that_has_gone_away_is_a_store_error(faulty, fault, use):
    store, proxy, _ = faulty
    proxy.choose = lambda method, path: fault.LOST_REQUEST
    with pytest.raises(StoreError, match="could not be") as caught:
        use(store)
    assert caught.value.__cause__ is not None


def test_a_server_that_has_gone_away_is_raised_by_add(faulty, fault):
    store, proxy, _ = faulty
    proxy.choose = lambda method, path: fault.LOST_REQUEST
    with pytest.raises(WriteError, match="0 of 1 documents were written"):
        store.add(DOCUMENTS[:1])
