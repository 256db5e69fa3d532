"""A store whose name comes to lead elsewhere while it is open."""

import logging
import os
import signal
from dataclasses import replace
from threading import Event, Thread

import pytest

from flagvec import ColbertStorage, StoreError
from flagvec.store import opening as module
from flagvec.store.backend import Backend, Refusal, WriteLimits
from flagvec.store.opening import Opening
from flagvec.store.schema import Schema

LONG = 10
OURS = Schema("models/m3", dimension=8, sparse=False, colbert_dimension=None, pooling="cls")
OTHER = replace(OURS, pooling="mean")


class Refusing(Exception):
    """What the client raises; it has the refusal that it means."""

    def __init__(self, reason, retryable=False):
        super().__init__(reason)
        self.refusal = Refusal(reason, retryable)


class Aliased(Backend):
    """A database of stores by name, to one of which the alias leads; `asked` has what it was asked."""

    name = "the alias 'live'"
    limits = WriteLimits(attempts=3, first_pause=0, jitter=0)

    def __init__(self):
        self.stores = {"first": OURS, "same": OURS, "other": OTHER}
        self.target = "first"
        self.opened = []
        self.asked = []
        self.identity_fails = []

    def identity(self, timeout):
        self.asked.append("identity")
        if self.identity_fails:
            raise self.identity_fails.pop()
        return self.target

    def describe(self):
        self.asked.append("describe")
        return self.stores.get(self.target)

    def open(self, schema):
        self.opened.append(self.target)

    def classify(self, error):
        return error.refusal if isinstance(error, Refusing) else None

    def read(self, timeout=None):
        """A request that only the first store and its like answer."""
        self.asked.append("read")
        if self.target not in self.stores:
            raise Refusing(f"no such collection: {self.target}")
        return self.target

    def create(self, schema):
        self.stores[self.target] = schema

    def drop(self):
        del self.stores[self.target]

    prepare = write = search = get = delete = delete_where = count = scroll = read


@pytest.fixture
def database():
    return Aliased()


@pytest.fixture
def opening(database):
    made = Opening(database, OURS, "Store")
    made.opened()
    database.asked.clear()
    return made


def fail_first_then_read(database):
    """Return a request that fails on the first store, as one does whose collection was deleted."""

    def request(timeout):
        if database.opened[-1] == "first":
            raise Refusing("no such collection: first")
        return database.read(timeout)

    return request


def test_before_documents_are_added_one_question_is_asked(opening, database):
    assert opening.confirm(None, Event()) is None
    assert database.asked == ["identity"]


def test_a_read_asks_nothing_but_what_is_read(opening, database):
    opening.ask("be read", database.read, None)
    assert database.asked == ["read"]


def test_documents_are_not_added_to_a_store_of_another_model(opening, database):
    database.target = "other"
    with pytest.raises(StoreError) as raised:
        opening.confirm(None, Event())
    assert str(raised.value) == (
        "the alias 'live' led to first when this store opened it, and leads to other now: the alias 'live' holds "
        "vectors of mean pooling, but is opened with the model 'models/m3' for vectors of cls pooling: make the model "
        "with the same arguments, or make another store"
    )


def test_where_the_name_leads_to_codes_the_next_documents_become_codes(database):
    native = replace(OURS, colbert_dimension=1024)
    codes = replace(native, colbert_storage=ColbertStorage(bits=2, pool=3))
    database.stores.update(first=native, same=codes)
    opening = Opening(database, native, "Store", colbert=True)
    opening.opened()
    assert opening.schema == native
    database.target = "same"
    opening.confirm(None, Event())
    assert opening.schema == codes


def test_a_name_that_leads_to_another_form_than_was_chosen_is_refused(database):
    native = replace(OURS, colbert_dimension=1024)
    codes = replace(native, colbert_storage=ColbertStorage(bits=2, pool=3))
    database.stores.update(first=codes, same=native)
    opening = Opening(database, native, "Store", colbert="compact")
    opening.opened()
    database.target = "same"
    with pytest.raises(StoreError, match=r"led to first .* leads to same now: .* is opened with colbert='compact'"):
        opening.confirm(None, Event())


def test_a_store_of_another_model_is_refused_until_the_alias_is_back(opening, database):
    database.target = "other"
    for use in (lambda: opening.confirm(None, Event()), opening.opened, opening.opened):
        with pytest.raises(StoreError, match="holds vectors of mean pooling"):
            use()
    database.target = "first"
    opening.opened()
    assert opening.ask("be read", database.read, None) == "first"


def test_a_new_store_of_the_same_model_is_opened_with_one_line_in_the_log(opening, database, caplog):
    database.target = "same"
    with caplog.at_level(logging.INFO, "flagvec"):
        assert opening.confirm(None, Event()) is None
        assert opening.confirm(None, Event()) is None
    assert database.opened == ["first", "same"]
    assert caplog.messages == [
        "the alias 'live' led to first and leads to same now, which fits the model too: going on there"
    ]


def test_a_read_that_fails_is_repeated_where_the_alias_leads_now(opening, database):
    database.target = "same"
    assert opening.ask("be read", fail_first_then_read(database), None) == "same"


def test_a_read_that_fails_because_another_model_is_there_names_both(opening, database):
    database.target = "other"
    with pytest.raises(StoreError, match="led to first when this store opened it, and leads to other now") as raised:
        opening.ask("be read", fail_first_then_read(database), None)
    assert isinstance(raised.value.__cause__, Refusing)


def test_a_read_that_fails_because_the_store_is_gone_says_so(opening, database):
    database.target = None
    with pytest.raises(StoreError, match="'live' is gone: it was deleted or renamed") as raised:
        opening.ask("be read", database.read, None)
    assert isinstance(raised.value.__cause__, Refusing)


def test_a_read_that_fails_for_another_reason_keeps_it(opening):
    def request(timeout):
        raise Refusing("no such field")

    with pytest.raises(StoreError, match="'live' could not be read: no such field"):
        opening.ask("be read", request, None)


def test_a_read_that_fails_keeps_its_reason_if_the_database_does_not_say_where_the_alias_leads(opening, database):
    database.identity_fails = [Refusing("forbidden")]

    def request(timeout):
        raise Refusing("no such field")

    with pytest.raises(StoreError, match="could not be read: no such field"):
        opening.ask("be read", request, None)


def test_a_read_asks_again_where_the_alias_leads_once_the_answer_is_old(opening, database, monkeypatch):
    monkeypatch.setattr(module, "CONFIRMED_FOR", -1)
    database.target = "other"
    with pytest.raises(StoreError, match="leads to other now"):
        opening.ask("be searched", database.read, None)
    assert "read" not in database.asked


def test_a_scroll_does_not_go_on_in_another_store(opening, database):
    ask = opening.asker("be read", None)
    assert ask(database.read) == "first"
    database.target = "same"
    opening.confirm(None, Event())
    with pytest.raises(StoreError, match="it led to first at first and leads to same now: begin again"):
        ask(database.read)


def test_where_the_alias_leads_is_asked_as_often_as_a_write_is_tried(opening, database):
    database.identity_fails = [Refusing("away", retryable=True) for _ in range(2)]
    assert opening.confirm(None, Event()) is None
    database.identity_fails = [Refusing("away", retryable=True) for _ in range(9)]
    assert opening.confirm(None, Event()).reason == "away"
    assert database.asked == ["identity"] * 6


def test_opening_is_repeated_while_the_database_is_away(database):
    database.identity_fails = [Refusing("away", retryable=True)]
    opening = Opening(database, OURS, "Store")
    opening.opened()
    assert database.opened == ["first"]


def test_a_store_that_was_dropped_and_created_anew_is_used(opening, database):
    opening.drop()
    opening.create()
    assert opening.ask("be read", database.read, None) == "first"


def test_opening_elsewhere_takes_no_longer_than_the_timeout_of_the_read_allows(opening, database, monkeypatch):
    monkeypatch.setattr(module, "CONFIRMED_FOR", -1)
    patiences, asked = [], opening._asked
    monkeypatch.setattr(
        opening, "_asked", lambda what, request, patience: patiences.append(patience) or asked(what, request, patience)
    )
    database.target = "same"
    opening.ask("be read", database.read, 5)
    assert [patience.of_attempt() <= 5 for patience in patiences] == [True]


def test_a_read_does_not_wait_for_a_database_that_does_not_say_where_the_alias_leads(opening, database, monkeypatch):
    monkeypatch.setattr(opening, "_confirmed_at", float("-inf"))
    database.identity_fails = [Refusing("no leader", retryable=True) for _ in range(9)]
    for _ in range(2):
        assert opening.ask("be read", database.read, None) == "first"
    assert database.asked == ["identity", "read", "read"]


def test_a_read_that_fails_in_the_store_that_it_has_just_moved_to_is_made_once(opening, database, monkeypatch):
    monkeypatch.setattr(opening, "_confirmed_at", float("-inf"))
    database.target, made = "same", []

    def request(timeout):
        made.append(database.opened[-1])
        raise Refusing("no such field")

    with pytest.raises(StoreError, match="no such field"):
        opening.ask("be read", request, None)
    assert made == ["same"]


def test_a_store_that_create_makes_anew_is_opened(opening, database):
    del database.stores["first"]
    opening.create()
    assert database.opened == ["first", "first"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_while_another_thread_opens_the_store_leaves_the_child_a_store_that_opens(database):
    begun, goes_on = Event(), Event()
    opening = Opening(database, OURS, "Store")

    def open_slowly(schema):
        begun.set()
        assert goes_on.wait(LONG)

    database.open = open_slowly
    thread = Thread(target=opening.opened)
    thread.start()
    assert begun.wait(LONG)
    child = os.fork()
    if not child:
        signal.alarm(LONG)  # a lock that is still held would keep the child for ever
        database.open = lambda schema: None
        try:
            opening.opened()
            opening.close()
        finally:
            os._exit(0 if opening._is_closed else 1)
    goes_on.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
