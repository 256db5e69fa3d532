"""Ingestion into every kind of store, and into servers that answer badly, late or not at all."""

import json
import uuid
from collections import deque
from dataclasses import replace

import pytest

from flagvec import Document, JournalError
from flagvec.ingest import Journal, ingest, verify

DOCUMENTS = [Document(f"{number:03d}", f"shared word{number}", {"n": number}) for number in range(60)]


@pytest.fixture
def into(tmp_path):
    def run(documents, store, **options):
        return ingest(documents, stores={"store": store}, journal=tmp_path / "journal", **options)

    return run


def test_a_store_gets_what_changed_and_loses_what_the_source_no_longer_has(new_store, seeded, into, tmp_path):
    store = new_store(seeded())
    store.create()
    assert into(DOCUMENTS, store).stores["store"].written == 60
    changed = [replace(DOCUMENTS[0], text="shared new"), *DOCUMENTS[1:50]]
    report = into(changed, store, prune=True)
    assert (report.encoded, report.stores["store"].unchanged, report.stores["store"].pruned) == (1, 49, 10)
    assert sorted(store.scroll(), key=lambda one: one.id) == changed
    assert store.search("new", limit=1, mode="sparse")[0].id == "000"
    with Journal(tmp_path / "journal") as journal:
        assert verify(store, journal, name="store").is_equal


def test_a_store_that_was_made_anew_is_not_taken_for_the_one_in_the_journal(new_store, seeded, into):
    store = new_store(seeded())
    store.create()
    into(DOCUMENTS[:3], store)
    store.drop()
    store.create()
    with pytest.raises(JournalError, match=r"is not for store: the store was|which holds 0: they were deleted"):
        into(DOCUMENTS[:3], store)


@pytest.fixture(scope="module")
def proxies(load_module, request):
    return load_module(request.path.parent / "faulty_proxy.py")


@pytest.fixture
def behind_proxy(server_factory, seeded, proxies):
    """A store behind a proxy, whose ``plan`` befalls the next writing requests, and the same store without one."""
    factory = server_factory
    name, plan = f"flagvec_ingest_{uuid.uuid4().hex}", deque()

    def choose(method, path):
        return plan.popleft() if plan and factory.is_write(method, path) else None

    direct = factory.make(seeded(), name)
    direct.create()
    with proxies.FaultyProxy(factory.server_url(), choose, delay=0.3) as proxy:
        store = factory.make_at(proxy.url, seeded(), name)
        store._backend.limits = replace(store._backend.limits, records=5, first_pause=0.01, jitter=0.01)
        yield store, direct, plan
        store.close()
    direct.close()
    factory.cleanup(name)


def test_nothing_is_lost_or_doubled_by_a_server_that_fails_in_every_way(behind_proxy, proxies, into):
    store, direct, plan = behind_proxy
    fault = proxies.Fault
    away = [fault.UNAVAILABLE] * 12
    plan.extend([None, fault.LOST_ANSWER, fault.SLOW, None, *away, fault.LOST_REQUEST, None, fault.LOST_ANSWER])
    report = into(DOCUMENTS, store, patience=60)
    assert not plan
    assert report.stores["store"].retries >= 8
    assert (report.stores["store"].written, report.stores["store"].refused) == (60, 0)
    assert sorted(direct.scroll(), key=lambda one: one.id) == DOCUMENTS


def test_a_server_that_dies_ends_the_run_which_goes_on_once_it_is_back(behind_proxy, proxies, into):
    from flagvec import StoreDownError

    store, direct, plan = behind_proxy
    plan.extend([None, None, *[proxies.Fault.UNAVAILABLE] * 10_000])
    with pytest.raises(StoreDownError, match="store: "):
        into(DOCUMENTS, store, patience=0.5)
    plan.clear()
    report = into(DOCUMENTS, store)
    assert report.stores["store"].unchanged + report.stores["store"].written == 60
    assert sorted(direct.scroll(), key=lambda one: one.id) == DOCUMENTS


def test_two_stores_are_fed_by_one_encode(new_store, seeded, tmp_path):
    class Counting(seeded):
        encoded = 0

        def encode_corpus(self, texts, **options):
            Counting.encoded += len(texts)
            return super().encode_corpus(texts, **options)

    from flagvec_qdrant import QdrantEdgeStore

    model = Counting()
    first, second = new_store(model), QdrantEdgeStore(model, tmp_path / "edge")
    first.create()
    second.create()
    ingest(DOCUMENTS, stores={"first": first, "second": second}, dead_letters=tmp_path / "dead.jsonl")
    assert Counting.encoded == 60
    for store in (first, second):
        assert sorted(store.scroll(), key=lambda one: one.id) == DOCUMENTS
    second.close()
    assert not (tmp_path / "dead.jsonl").exists(), json.dumps((tmp_path / "dead.jsonl").read_text())
