"""Ingestion into stores in memory that refuse, go away and come back; real stores are in tests/faults."""

import json
import os
import signal
import threading
from threading import Event

import numpy as np
import pytest

from flagvec import Document, EncodedDocument, JournalError, StoreDownError, StoreError
from flagvec.ingest import Journal, ingest, selection, verify
from flagvec.ingest import lane as lanes
from flagvec.ingest import windows as sizes
from flagvec.ingest.report import FailedWrite
from flagvec.store.backend import Refusal
from flagvec.store.base import HybridStore
from flagvec.store.documents import InvalidDocument
from flagvec.store.vectors import TextVectors

LONG = 30


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    """Windows of ten documents, each acknowledged at once, of which fifty are read at a time."""
    monkeypatch.setattr(sizes, "DOCUMENTS_PER_WINDOW", 10)
    monkeypatch.setattr(lanes, "ACKNOWLEDGED_EVERY", 0)
    monkeypatch.setattr(selection, "DOCUMENTS_COMPARED", 50)


@pytest.fixture
def model(counting):
    return counting()


@pytest.fixture
def into(tmp_path):
    """Ingests with a journal and dead letters in a directory of the test's own."""

    def run(documents, stores, **options):
        options = {"journal": tmp_path / "journal", "patience": 0.05, **options}
        return ingest(documents, stores=stores, dead_letters=tmp_path / "dead.jsonl", **options)

    return run


@pytest.fixture
def letters(tmp_path):
    """Reads the dead letters."""

    def read():
        path = tmp_path / "dead.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return read


def documents(count, first=0, text="text"):
    return [Document(str(number), f"{text} {number}", {"n": number}) for number in range(first, first + count)]


def held(store):
    return store.writing.backend.documents


def backend(store):
    return store.writing.backend


def refuse(*names, retryable=False):
    return lambda given: [FailedWrite(one.id, "sour", retryable) for one in given if one.id in names]


def test_one_encode_feeds_several_stores(memory, model, into):
    stores = {"a": memory(model), "b": memory(model)}
    report = into(documents(25), stores)
    assert len(model.texts) == report.encoded == 25
    assert list(held(stores["a"])) == list(held(stores["b"])) == [str(number) for number in range(25)]
    assert {name: store.written for name, store in report.stores.items()} == {"a": 25, "b": 25}
    assert report.is_complete


def test_each_store_gets_its_own_representations(memory, model, into):
    stores = {"all": memory(model, colbert=True), "two": memory(model)}
    into(documents(1), stores)
    present = {name: backend(store).vectors["0"].present for name, store in stores.items()}
    assert present == {"all": ("dense", "sparse", "colbert"), "two": ("dense", "sparse")}
    assert len(model.texts) == 1


def test_stores_of_different_models_are_refused(memory, model, into, counting):
    other = counting()
    other.representations = frozenset({"dense"})
    message = "b has another model than the one that encodes: sparse was True and is False"
    with pytest.raises(ValueError, match=message):
        into(documents(1), {"a": memory(model), "b": memory(other)})


def test_an_unchanged_corpus_is_neither_encoded_nor_written(memory, model, into):
    store = memory(model)
    into(documents(25), store)
    backend(store).answer = lambda given: pytest.fail("something was written")
    report = into(documents(25), store)
    assert (len(model.texts), report.encoded, report.stores["memory"].unchanged) == (25, 0, 25)


@pytest.mark.parametrize("changed", [Document("3", "other"), Document("3", "text 3", {"n": 4})])
def test_only_what_changed_is_encoded(memory, model, into, changed):
    store = memory(model)
    into(documents(25), store)
    given = documents(25)
    given[3] = changed
    assert into(given, store).encoded == 1
    assert held(store)["3"] == changed


def test_a_store_that_joins_later_gets_everything_and_the_first_gets_nothing_again(memory, model, into):
    first, second = memory(model), memory(model)
    into(documents(5), {"first": first})
    report = into(documents(5), {"first": first, "second": second})
    assert (report.encoded, report.stores["first"].written, report.stores["second"].written) == (5, 0, 5)


@pytest.mark.parametrize("distance", [1, 80])
def test_the_last_of_the_documents_with_one_id_wins_and_the_others_are_counted(
    memory, model, into, distance, monkeypatch
):
    store = memory(model)
    given = [*documents(30, 1_000), Document("twice", "old"), *documents(distance), Document("twice", "new")]
    assert into(given, store).duplicates == 1
    assert held(store)["twice"].text == "new"
    # The journal has the last version, which the first one replaces for a while.
    monkeypatch.setattr(lanes, "ACKNOWLEDGED_EVERY", 1_000)
    into(given, store)
    assert held(store)["twice"].text == "new"


def test_a_document_that_the_store_has_not_made_durable_is_not_acknowledged(memory, model, into, tmp_path):
    store = memory(model)
    backend(store).flush = lambda timeout: (_ for _ in ()).throw(RuntimeError("no disk"))
    with pytest.raises(RuntimeError, match="no disk"):
        into(documents(5), store)
    with Journal(tmp_path / "journal") as journal:
        assert journal.store("memory").documents == 0
    assert len(held(store)) == 5


def test_a_store_that_comes_back_in_time_loses_nothing(memory, model, into, refusing):
    attempts = []

    def answer(given):
        attempts.append(len(given))
        return refusing(Refusal("busy", retryable=True)) if 2 <= len(attempts) < 9 else []

    store = memory(model, answer=answer)
    report = into(documents(25), store, patience=LONG)
    assert len(held(store)) == 25
    assert report.stores["memory"].retries >= 5


def test_a_store_that_stays_away_ends_the_run_and_the_other_store_has_everything(memory, model, into):
    good, bad = memory(model), memory(model)

    def answer(given):
        backend(bad).is_away = len(held(bad)) >= 10
        return [] if not backend(bad).is_away else backend(bad)._ask()

    backend(bad).answer = answer
    with pytest.raises(StoreDownError, match="bad: away") as raised:
        into(documents(40), {"good": good, "bad": bad})
    report = raised.value.report
    assert (len(held(good)), len(held(bad))) == (40, 10)
    assert (report.stores["good"].written, report.stores["bad"].down, report.is_complete) == (40, "away", False)
    backend(bad).is_away, backend(bad).answer = False, lambda given: []
    again = into(documents(40), {"good": good, "bad": bad})
    assert len(held(bad)) == 40
    assert (again.stores["good"].unchanged, again.encoded) == (40, 30)


def test_once_all_stores_are_down_nothing_more_is_read(memory, model, into, refusing):
    store = memory(model, answer=lambda given: refusing(Refusal("forbidden", retryable=False)))
    read = []
    with pytest.raises(StoreDownError, match="forbidden"):
        into((read.append(one) or one for one in documents(2_000)), store)
    assert len(read) < 500


def test_a_store_that_is_away_at_the_start_does_not_keep_the_others_waiting(memory, model, into, monkeypatch):
    good, bad = memory(model), HybridStore(model, type(backend(memory(model)))("bad"), colbert=False)
    monkeypatch.setattr("flagvec.store.asking.PATIENCE", 0.01)
    backend(bad).is_away = True
    with pytest.raises(StoreDownError, match="bad: bad could not be opened: away"):
        into(documents(5), {"good": good, "bad": bad})
    assert len(held(good)) == 5


def test_what_a_store_refuses_for_good_is_a_dead_letter_and_nothing_else_is(memory, model, into, letters):
    store = memory(model, answer=refuse("3", "17"))
    report = into(documents(25), store)
    assert letters() == [
        {"id": name, "text": f"text {name}", "metadata": {"n": int(name)}, "reason": "sour", "store": "memory"}
        for name in ("3", "17")
    ]
    assert (len(held(store)), report.stores["memory"].refused, report.is_complete) == (23, 2, True)


def test_what_one_store_refuses_the_other_one_has(memory, model, into, letters):
    picky, other = memory(model, answer=refuse("3")), memory(model)
    into(documents(5), {"picky": picky, "other": other})
    assert [letter["store"] for letter in letters()] == ["picky"]
    assert "3" in held(other)


def test_a_document_that_the_backend_cannot_hold_is_not_encoded(memory, model, into, letters):
    into([Document("a", "too long"), Document("b", "text")], memory(model))
    assert model.texts == ["text"]
    assert [(letter["id"], letter["reason"]) for letter in letters()] == [("a", "the text is too long")]


def test_invalid_documents_are_dead_letters_of_no_store(memory, model, into, letters):
    line = InvalidDocument("docs.jsonl:3", ValueError("not JSON"), None)
    report = into([line, Document("a", "text", {"x": {1}}), Document("b", "text")], memory(model))
    assert [(one["id"], one["text"], one["store"]) for one in letters()] == [
        ("docs.jsonl:3", None, None),
        ("a", "text", None),
    ]
    assert (report.read, report.invalid) == (3, 2)


def test_a_report_names_the_file_of_dead_letters_in_its_summary_and_repr(memory, model, into, tmp_path):
    into(documents(2), store := memory(model))
    complete = into(documents(2), store)
    refused = into([Document("a", "too long")], store)
    assert "dead letters" not in complete.summary()
    assert refused.summary().endswith(f"; dead letters in {tmp_path / 'dead.jsonl'}")
    assert repr(refused) == f"IngestReport({refused.summary()})"


def test_an_ingestion_inside_another_one_on_the_same_journal_is_refused_before_it_encodes(memory, model, into):
    store = memory(model)

    def source():
        yield from documents(1)
        with pytest.raises(JournalError, match="is in use by another ingestion"):
            into(documents(5), store)

    assert into(source(), store).encoded == 1


def test_an_invalid_document_is_raised_if_asked(memory, model, into, letters):
    store = memory(model)
    with pytest.raises(ValueError, match="not JSON") as raised:
        into([*documents(120), InvalidDocument("x", ValueError("not JSON"), None)], store, on_error="raise")
    assert letters() == []
    assert raised.value.report.invalid == 1


def test_a_refused_document_is_raised_if_asked(memory, model, into, letters):
    with pytest.raises(StoreError, match="memory refuses document '3': sour"):
        into(documents(25), memory(model, answer=refuse("3")), on_error="raise")
    assert letters() == []


def test_a_resumed_run_writes_no_dead_letter_twice(memory, model, into, letters):
    def cut_off():
        yield InvalidDocument("line 1", ValueError("not JSON"), None)
        yield from documents(100)
        raise OSError("cut off")

    store = memory(model, answer=refuse("3"))
    with pytest.raises(OSError, match="cut off"):
        into(cut_off(), store)
    encoded = len(model.texts)
    report = into([InvalidDocument("line 1", ValueError("not JSON"), None), *documents(100)], store)
    assert [one["id"] for one in letters()] == ["line 1", "3"]
    assert len(model.texts) == 100 == encoded + report.encoded
    # A run that is new tries again.
    into([*documents(5)], store)
    assert [one["id"] for one in letters()] == ["line 1", "3", "3"]


def test_a_dead_letter_that_a_kill_cut_off_is_written_again(memory, model, into, letters, tmp_path):
    def cut_off():
        yield from documents(100)
        raise OSError("cut off")

    store = memory(model, answer=refuse("3", "4"))
    with pytest.raises(OSError, match="cut off"):
        into(cut_off(), store)
    written = letters()
    with (tmp_path / "dead.jsonl").open("a") as file:
        file.write('{"id": "90", "te')
    into(documents(100), store)
    assert letters() == written


def test_a_dead_letter_that_the_journal_does_not_have_yet_is_not_written_twice(memory, model, into, letters, tmp_path):
    store = memory(model)
    into(documents(20), store)
    with Journal(tmp_path / "journal") as journal:
        journal.begin_run(0)
    with (tmp_path / "dead.jsonl").open("a") as file:
        file.write(json.dumps({"id": "8", "text": "", "metadata": {}, "reason": "sour", "store": "memory"}) + "\n")
    before = letters()
    backend(store).answer = refuse("8")
    into(documents(20, text="new"), store)
    assert letters() == before


def test_an_ingestion_without_a_journal_writes_everything(memory, model, into):
    store = memory(model)
    into(documents(5), store, journal=None)
    assert into(documents(5), store, journal=None).stores["memory"].written == 5


def test_without_skipping_everything_is_encoded_again(memory, model, into):
    store = memory(model)
    into(documents(5), store)
    assert into(documents(5), store, skip_unchanged=False).encoded == 5


def test_a_run_that_skips_nothing_is_resumed_all_the_same(memory, model, into):
    store = memory(model)
    into(documents(100), store)

    def cut_off():
        yield from documents(95)
        raise OSError("cut off")

    with pytest.raises(OSError, match="cut off"):
        into(cut_off(), store, skip_unchanged=False)
    assert into(documents(100), store, skip_unchanged=False).encoded <= 60


def test_a_journal_of_another_model_is_refused(memory, model, into, counting):
    into(documents(5), memory(model))
    other = counting()
    other.model_name_or_path, other.passage_max_length = "models/other", 128
    message = "not for memory: model was 'counting' and is 'other'; passage_max_length was None and is 128. Use another"
    with pytest.raises(JournalError, match=message):
        into(documents(5), memory(other))


def test_a_journal_of_a_model_whose_directory_moved_is_taken(memory, model, into, counting):
    store = memory(model)
    into(documents(5), store)
    other = counting()
    other.model_name_or_path = "elsewhere/counting"
    assert into(documents(5), HybridStore(other, backend(store), colbert=False)).encoded == 0


def test_a_journal_of_a_store_that_was_made_anew_is_refused(memory, model, into):
    store = memory(model)
    into(documents(5), store)
    again = memory(model)
    backend(again).identity = lambda timeout: "memory (id 2)"
    with pytest.raises(JournalError, match=r"the store was memory and is memory \(id 2\)"):
        into(documents(5), again)


def test_a_store_that_lost_documents_is_named_and_gets_them_after_verify(memory, model, into, tmp_path):
    store = memory(model)
    into(documents(5), store)
    del held(store)["3"]
    with pytest.raises(JournalError, match=r"has 5 documents of memory, which holds 4: .*verify\(store, journal"):
        into(documents(5), store)
    with Journal(tmp_path / "journal") as journal:
        assert verify(store, journal, forget=True).missing == ("3",)
    assert into(documents(5), store).encoded == 1
    assert len(held(store)) == 5


def test_verify_names_what_differs(memory, model, into, tmp_path):
    store = memory(model)
    into(documents(5), store)
    held(store)["2"] = Document("2", "changed by hand")
    held(store)["new"] = Document("new", "from elsewhere")
    with Journal(tmp_path / "journal") as journal:
        found = verify(store, journal)
        assert (found.missing, found.changed, found.unknown, found.documents) == ((), ("2",), ("new",), 6)
        with pytest.raises(JournalError, match="knows no store 'other'; it knows 'memory'"):
            verify(store, journal, name="other")


def test_pruning_deletes_what_the_source_no_longer_has_and_leaves_the_rest(memory, model, into):
    store = memory(model)
    into(documents(200), store)
    held(store)["foreign"] = Document("foreign", "from elsewhere")
    report = into(documents(10), store, prune=True)
    assert (report.stores["memory"].pruned, len(held(store))) == (190, 11)
    assert backend(store).flushed == held(store)
    # The journal has forgotten them too.
    assert into(documents(20), store).encoded == 10


def test_a_source_with_invalid_documents_prunes_nothing(memory, model, into, caplog):
    store = memory(model)
    into(documents(20), store)
    into([*documents(10), InvalidDocument("x", ValueError("not JSON"), None)], store, prune=True)
    assert len(held(store)) == 20
    assert "nothing was pruned: 1 documents of the source are invalid" in caplog.text


def test_pruning_needs_a_journal(memory, model, into):
    with pytest.raises(ValueError, match="prune=True needs a journal"):
        into(documents(1), memory(model), journal=None, prune=True)


def test_a_document_that_brings_its_vectors_is_not_encoded(memory, model, into):
    store = memory(model)
    vectors = TextVectors(np.array([1, 0], np.float32), {9: 0.25})
    into([EncodedDocument("a", "text", {}, vectors), Document("b", "other")], store)
    assert model.texts == ["other"]
    made = backend(store).vectors
    assert (made["a"].dense.tolist(), made["a"].sparse, made["b"].sparse) == ([1, 0], {9: 0.25}, {7: 0.5})


def test_a_document_that_lacks_vectors_which_a_store_holds_is_refused(memory, model, into):
    with pytest.raises(ValueError, match="'a' brings no sparse vectors"):
        into([EncodedDocument("a", "text", {}, TextVectors(np.array([1, 0], np.float32)))], memory(model))


def test_what_was_encoded_twice_is_kept_until_it_is_written(memory, model, into, refusing):
    store = memory(model, answer=lambda given: refusing(Refusal("forbidden", retryable=False)))
    for _ in range(4):
        with pytest.raises(StoreDownError):
            into(documents(10), store)
    assert len(model.texts) == 20
    backend(store).answer = lambda given: []
    assert into(documents(10), store).encoded == 0
    assert backend(store).vectors["3"].sparse == {7: 0.5}


def test_what_was_kept_is_not_used_for_a_document_that_changed(memory, model, into, refusing):
    store = memory(model, answer=lambda given: refusing(Refusal("forbidden", retryable=False)))
    for _ in range(3):
        with pytest.raises(StoreDownError):
            into(documents(10), store)
    backend(store).answer = lambda given: []
    assert into(documents(10, text="new"), store).encoded == 10


def test_what_was_kept_is_encoded_again_for_a_store_that_needs_more(memory, model, into, refusing):
    store = memory(model, answer=lambda given: refusing(Refusal("forbidden", retryable=False)))
    for _ in range(3):
        with pytest.raises(StoreDownError):
            into(documents(10), {"first": store})
    joined = memory(model, colbert=True)
    assert into(documents(10), {"second": joined}).encoded == 10
    assert len(held(joined)) == 10


def test_verify_needs_no_model_that_fits(memory, model, into, tmp_path, counting):
    store = memory(model)
    into(documents(5), store)
    other = counting()
    other.passage_max_length = 8
    with Journal(tmp_path / "journal") as journal:
        assert verify(HybridStore(other, backend(store), colbert=False), journal).is_equal


def test_a_store_that_is_slow_is_at_most_two_windows_behind(memory, model, into):
    encoded_at = []

    def answer(given):
        encoded_at.append(len(model.texts))
        return []

    store = memory(model, answer=answer)
    into(documents(200), store)
    assert all(texts <= 10 * (window + 3) for window, texts in enumerate(encoded_at))


def test_an_error_of_the_source_leaves_what_was_encoded_acknowledged(memory, model, into):
    def cut_off():
        yield from documents(100)
        raise OSError("cut off")

    store = memory(model)
    with pytest.raises(OSError, match="cut off") as raised:
        into(cut_off(), store)
    assert raised.value.report.stores["memory"].written == len(model.texts) == len(backend(store).flushed)


def test_an_error_while_windows_fail_leaves_what_was_written_acknowledged(memory, model, into):
    encode, begun = model.encode_corpus, Event()

    def failing(texts, **options):
        if len(model.texts) >= 30:
            assert begun.wait(LONG)
            raise MemoryError("no more")
        return encode(texts, **options)

    def answer(given):
        if given[0].id == "20":
            begun.set()
            raise RuntimeError("a bug")
        return []

    model.encode_corpus = failing
    store = memory(model, answer=answer)
    with pytest.raises((MemoryError, RuntimeError)) as raised:
        into(documents(100), store)
    assert raised.value.report.stores["memory"].written == 20


def test_the_first_interrupt_ends_after_the_windows_that_are_on_their_way(memory, model, into, interruptible):
    def interrupted():
        for one in documents(500):
            if one.id == "150":
                os.kill(os.getpid(), signal.SIGINT)
            yield one

    store = memory(model)
    with pytest.raises(KeyboardInterrupt) as raised:
        into(interrupted(), store)
    assert 0 < len(model.texts) == raised.value.report.stores["memory"].written < 200
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    into(documents(500), store)
    assert len(held(store)) == len(model.texts) == 500


def test_the_second_interrupt_does_not_wait_for_a_request(memory, model, into, interruptible):
    sent, ended = Event(), Event()

    def answer(given):
        sent.set()
        ended.wait(LONG)
        return []

    def interrupt():
        sent.wait(LONG)
        # Python misses a signal that comes just before it waits for a lock, until the next one.
        while not ended.wait(0.1):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    store = memory(model, answer=answer)
    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            into(documents(100), store)
        assert not held(store)
    finally:
        ended.set()
        interrupting.join()


@pytest.fixture
def interruptible():
    # A shell has its background jobs ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_two_stores_of_one_name_are_refused(memory, model, into):
    with pytest.raises(ValueError, match=r"two stores are called 'memory': pass a dict"):
        into(documents(1), [memory(model), memory(model)])


def test_something_other_than_stores_is_refused(into):
    with pytest.raises(TypeError, match=r"stores\['x'\] is str, not a HybridStore"):
        into(documents(1), {"x": "qdrant://localhost"})
    with pytest.raises(ValueError, match="stores is empty"):
        into(documents(1), [])


def test_progress_is_the_report_so_far(memory, model, into):
    seen = []
    into(documents(200), memory(model), on_progress=seen.append)
    assert [report.read for report in seen] == [50, 100, 150, 200]
