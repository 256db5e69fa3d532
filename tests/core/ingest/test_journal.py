"""The journal's file, and what it remembers."""

import sqlite3
import threading

import pytest

from flagvec import Journal, JournalError

VECTORS = {"model": "counting", "dimension": 2}
# An id may hold anything that is valid Unicode.
HOSTILE = ["a'; DROP TABLE documents --", "zero\0byte", "\N{GRINNING FACE}", "\u0301", "A" * 512, "%_*?", " "]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal"


@pytest.fixture
def journal(path):
    with Journal(path) as opened:
        yield opened


@pytest.fixture
def store(journal):
    return journal.enter("store", "store (id 1)", VECTORS)


def test_what_was_acknowledged_is_there_when_it_is_opened_again(journal, store, path):
    journal.acknowledge(store, [("a", b"1"), ("b", b"2"), ("a", b"3")], run=1)
    with Journal(path) as again:
        assert again.contents(again.store("store"), ["a", "b", "c"]) == {"a": b"3", "b": b"2"}
        assert [(one.name, one.identity, one.documents) for one in again.stores()] == [("store", "store (id 1)", 2)]


def test_ids_of_any_kind_come_back(journal, store):
    journal.acknowledge(store, [(name, name.encode()) for name in HOSTILE], run=1)
    assert journal.contents(store, HOSTILE) == {name: name.encode() for name in HOSTILE}
    assert {name for page in journal.pages(store, size=2) for name in page} == set(HOSTILE)


def test_more_ids_than_one_statement_takes_are_found(journal, store):
    names = [str(number) for number in range(2_000)]
    journal.acknowledge(store, [(name, b"x") for name in names], run=1)
    assert len(journal.contents(store, names)) == 2_000
    assert len([name for page in journal.pages(store) for name in page]) == 2_000


def test_stores_do_not_see_each_others_documents(journal, store):
    other = journal.enter("other", "other", VECTORS)
    journal.acknowledge(store, [("a", b"1")], run=1)
    assert journal.contents(other, ["a"]) == {}


def test_a_run_that_did_not_end_goes_on_and_one_that_ended_does_not(journal):
    assert journal.begin_run(10) == (1, None)
    assert journal.begin_run(20) == (1, 10)
    journal.end_run(1)
    assert journal.begin_run(30) == (2, None)


def test_only_what_a_run_refused_counts_as_refused_by_it(journal, store):
    journal.begin_run(0)
    journal.refuse(store, [("a", b"1", "sour")], run=1, dead_letter_bytes=5)
    assert (journal.refused(store, ["a"], 1), journal.refused(store, ["a"], 2)) == ({"a": b"1"}, {})
    assert journal.begin_run(99) == (1, 5)
    journal.acknowledge(store, [("a", b"2")], run=1)
    assert journal.refused(store, ["a"], 1) == {}


def test_kept_vectors_go_once_all_stores_have_the_document(journal, store):
    other = journal.enter("other", "other", VECTORS)
    assert not journal.begin([("a", b"1", 2)]).second
    begun = journal.begin([("a", b"1", 2)])
    assert begun.second == {"a"}
    journal.keep(begun, b"vectors")
    journal.acknowledge(store, [("a", b"1")], run=1)
    found = journal.begin([("a", b"1", 1)])
    assert (found.second, found.kept, found.batches) == (set(), {"a": (begun.batch, 0)}, {begun.batch: b"vectors"})
    journal.acknowledge(other, [("a", b"1")], run=1)
    found = journal.begin([("a", b"1", 1)])
    assert (found.second, found.kept, found.batches) == (set(), {}, {})


def test_a_kill_between_two_batches_leaves_what_was_kept_where_it_was(journal):
    for name in ("a", "b"):
        journal.begin([(name, b"1", 1)])
    first = journal.begin([("a", b"1", 1)])
    journal.keep(first, b"of a")
    for _ in range(2):
        found = journal.begin([("b", b"1", 1), ("a", b"1", 1)])
        assert (found.second, found.kept, found.batches) == ({"b"}, {"a": (first.batch, 0)}, {first.batch: b"of a"})
    journal.keep(found, b"of b and a")
    kept = journal.begin([("b", b"1", 1), ("a", b"1", 1)])
    assert kept.kept == {"b": (found.batch, 0), "a": (first.batch, 0)}
    assert kept.batches == {first.batch: b"of a", found.batch: b"of b and a"}


def test_kept_vectors_of_another_content_are_not_used(journal):
    journal.keep(journal.begin([("a", b"1", 1)]), b"vectors")
    assert not journal.begin([("a", b"2", 1)]).kept
    assert journal.begin([("a", b"2", 1)]).second == {"a"}


def test_threads_share_a_journal(journal, store):
    def acknowledge(first):
        for number in range(first, first + 50):
            journal.acknowledge(store, [(str(number), b"x")], run=1)

    threads = [threading.Thread(target=acknowledge, args=(first,)) for first in (0, 50, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert journal.store("store").documents == 150


def test_an_error_in_a_transaction_leaves_the_journal_as_it_was(journal, store):
    with pytest.raises(JournalError):
        journal.acknowledge(store, [("a", b"1"), (object(), b"2")], run=1)
    assert journal.contents(store, ["a"]) == {}
    journal.acknowledge(store, [("b", b"1")], run=1)


def test_another_sqlite_file_is_refused_and_left_alone(path):
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE mine (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="is a SQLite file, but not a journal of flagvec: name another file"):
        Journal(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_sqlite_file_is_refused(path):
    path.write_text("something else " * 100)
    with pytest.raises(JournalError, match="file is not a database: name another file"):
        Journal(path)


def test_a_journal_of_a_newer_version_is_refused(path):
    Journal(path).close()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(JournalError, match="has layout 99, and this version of flagvec reads 1: update flagvec"):
        Journal(path)


def test_a_directory_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(JournalError, match=r"missing/journal': unable to open database file: its directory has to"):
        Journal(tmp_path / "missing" / "journal")


def test_a_journal_that_was_closed_says_so(journal):
    journal.close()
    with pytest.raises(JournalError, match="closed database"):
        journal.stores()


def test_one_ingestion_at_a_time_uses_a_journal(journal, path):
    with (
        Journal(path) as again,
        journal.used_alone(),
        pytest.raises(JournalError, match=r"is in use by another ingestion, and one at a time may use it.*: wait"),
        again.used_alone(),
    ):
        pass
    with Journal(path) as again, again.used_alone():
        pass


def test_a_journal_is_locked_under_any_of_its_names(journal, path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)
    with (
        Journal(link) as again,
        journal.used_alone(),
        pytest.raises(JournalError, match="is in use by another ingestion"),
        again.used_alone(),
    ):
        pass


def test_a_journal_in_use_can_be_read(journal, store, path):
    with journal.used_alone(), Journal(path) as again:
        assert [one.name for one in again.stores()] == ["store"]
