"""What every store does, over a database that only keeps a record of what it was asked."""

import asyncio
import logging
import threading
from concurrent.futures import CancelledError
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest

from flagvec import Document, Hit, StoreError, WriteError
from flagvec.filters.portable import Condition, NativeFilter, Not
from flagvec.ingest import pipeline
from flagvec.ingest.report import FailedWrite
from flagvec.store import writing
from flagvec.store.backend import Backend, Record, Refusal, WriteLimits
from flagvec.store.base import HybridStore
from flagvec.store.encoding import CHARACTERS_PER_BATCH_WITHOUT_COLBERT
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors

DOCUMENTS_PER_BATCH = Backend.limits.records


class ConstantModel:
    """Gives every text the same dense vector; what a store does with a model needs no more."""

    model_name_or_path = "models/constant"
    representations = frozenset({"dense"})
    dimension = 2
    colbert_dimension = None

    def encode_corpus(self, texts, convert_to_numpy=True):
        return np.tile(np.array([0.6, 0.8], np.float32), (len(texts), 1))

    encode_queries = encode_corpus


class Away(Exception):
    """What the recording raises when it is made to refuse a whole request."""

    def __init__(self, refusal):
        self.refusal = refusal


class RecordingBackend(Backend):
    """Keeps the batches that it is given; `place` is the database, which outlives the store."""

    name = "the recording"
    limits = WriteLimits(attempts=3, first_pause=0, jitter=0)

    def __init__(self, place):
        self.place = place

    def describe(self):
        return self.place.schema

    def create(self, schema):
        self.place.schema = schema

    def drop(self):
        self.place.schema = None

    def check(self, document):
        if document.text == "too long":
            raise ValueError(f"document {document.id!r}: the text is too long for the recording")

    def prepare(self, records):
        return [record.document for record in records]

    def write(self, documents, timeout):
        self.place.timeouts.append(timeout)
        self.place.batches.append(list(documents))
        return self.place.answer(documents)

    def classify(self, error):
        return error.refusal if isinstance(error, Away) else None

    def is_native_filter(self, value):
        return isinstance(value, str)

    def flush(self, timeout):
        self.place.commits += 1

    def search(self, query, options):
        self.place.options = options
        return self.place.find()

    def get(self, ids, timeout):
        return []

    def delete(self, ids, timeout):
        self.place.batches.append(list(ids))

    def delete_where(self, filter, timeout):
        self.place.filters.append(filter)

    def count(self, filter, timeout):
        self.place.filters.append(filter)
        return self.place.answer([]) or 0

    def scroll_vectors(self, filter, batch_size, ask):
        for batch in self.scroll(filter, batch_size, ask):
            yield [Record(document, TextVectors()) for document in batch]

    def scroll(self, filter, batch_size, ask):
        self.place.filters.append(filter)
        for number in range(3):
            names = [f"{number}-{place}" for place in range(batch_size)]
            yield ask(lambda timeout, names=names: [Document(name, "text") for name in names])


class RecordingStore(HybridStore):
    def __init__(self, place, model=None, **options):
        super().__init__(model or ConstantModel(), RecordingBackend(place), **options)


def takes_all(documents):
    return []


@pytest.fixture
def place():
    return SimpleNamespace(
        schema=None, batches=[], filters=[], timeouts=[], commits=0, answer=takes_all, find=lambda: []
    )


@pytest.fixture
def store(place):
    store = RecordingStore(place)
    store.create()
    return store


def test_documents_are_written_in_batches_of_bounded_number(store, place):
    store.add(f"text {number}" for number in range(2 * DOCUMENTS_PER_BATCH + 1))
    assert [len(batch) for batch in place.batches] == [DOCUMENTS_PER_BATCH, DOCUMENTS_PER_BATCH, 1]


def test_long_documents_are_written_in_batches_of_bounded_length(store, place):
    store.add([name * (CHARACTERS_PER_BATCH_WITHOUT_COLBERT // 2) for name in "abc"])
    assert [len(batch) for batch in place.batches] == [2, 1]


def test_a_generator_is_never_held_whole(store, place):
    written_before = []

    def texts():
        for number in range(5 * DOCUMENTS_PER_BATCH):
            written_before.append(sum(map(len, place.batches)))
            yield f"text {number}"

    store.add(texts())
    ahead = [number - written for number, written in enumerate(written_before)]
    # One batch may be in flight while the next is read.
    assert max(ahead) <= 2 * DOCUMENTS_PER_BATCH


def test_add_reports_each_id_once_in_order(store):
    report = store.add([Document("b", "x"), Document("a", "y"), Document("b", "z")])
    assert (report.ok, report.failed) == (("b", "a"), ())
    assert store.add([]).ok == ()


def test_the_last_of_the_documents_with_one_id_is_written(store, place):
    store.add([Document("b", "x"), Document("a", "y"), Document("b", "z")])
    assert [(document.id, document.text) for document in place.batches[0]] == [("b", "z"), ("a", "y")]


def test_what_was_written_before_an_error_is_committed(store, place):
    def texts():
        yield from (f"text {number}" for number in range(DOCUMENTS_PER_BATCH))
        yield "one more"
        raise OSError("the file ended")

    with pytest.raises(OSError, match="the file ended"):
        store.add(texts())
    assert (len(place.batches), place.commits) == (1, 1)


def test_a_list_with_a_bad_document_is_refused_before_anything_is_written(store, place):
    with pytest.raises(TypeError, match=f"documents\\[{DOCUMENTS_PER_BATCH}\\]"):
        store.add([*["text"] * DOCUMENTS_PER_BATCH, None])
    assert place.batches == []


@pytest.mark.parametrize("query", [None, b"text", ["text"], 3])
def test_a_query_that_is_no_str_is_refused(store, query):
    with pytest.raises(TypeError, match="query takes a str"):
        store.search(query)


def test_wrong_options_are_refused_before_the_store_is_opened(place):
    with pytest.raises(ValueError, match="limit=0"):
        RecordingStore(place).search("query", limit=0)


@pytest.mark.parametrize("verb", ["add", "search", "get", "delete"])
def test_a_store_that_was_not_created_says_so(place, verb):
    with pytest.raises(StoreError, match=r"the recording does not exist: call create\(\) first"):
        getattr(RecordingStore(place), verb)("a")


@pytest.mark.parametrize("verb", ["add", "search", "get", "delete"])
def test_a_closed_store_refuses_every_verb(store, verb):
    store.close()
    store.close()
    with pytest.raises(StoreError, match="the recording was closed: make a new RecordingStore"):
        getattr(store, verb)("a")


def test_a_closed_store_is_not_created_again(store):
    with store:
        pass
    with pytest.raises(StoreError, match="was closed"):
        store.create()


def test_a_store_of_another_schema_is_refused(place):
    place.schema = Schema("other", dimension=3, sparse=False, colbert_dimension=None)
    with pytest.raises(StoreError, match="holds dense vectors of 3 dimensions"):
        RecordingStore(place).count()


def test_a_store_of_another_model_of_the_same_shape_is_logged(place, caplog):
    place.schema = Schema("models/other", dimension=2, sparse=False, colbert_dimension=None)
    with caplog.at_level(logging.WARNING, "flagvec"):
        RecordingStore(place).count()
    assert "made with the model 'models/other' and is opened with 'models/constant'" in caplog.text


def test_a_model_in_another_directory_is_taken_for_the_same(place, caplog):
    place.schema = Schema("/elsewhere/constant", dimension=2, sparse=False, colbert_dimension=None)
    with caplog.at_level(logging.WARNING, "flagvec"):
        RecordingStore(place).count()
    assert caplog.text == ""


def test_many_ids_are_deleted_in_requests_of_bounded_number(store, place):
    store.delete(map(str, range(2_500)))
    assert [len(batch) for batch in place.batches] == [1_000, 1_000, 500]


def test_a_dense_model_is_searched_dense_without_a_word(store):
    assert list(islice(store.search("query"), 1)) == []


def test_a_document_that_the_database_refuses_is_raised_and_the_others_are_written(store, place, caplog):
    place.answer = lambda documents: [FailedWrite("b", "too sour", retryable=False)]
    with caplog.at_level(logging.WARNING, "flagvec"), pytest.raises(WriteError, match="'b': too sour") as caught:
        store.add([Document("a", "x"), Document("b", "y")])
    report = caught.value.report
    assert (report.ok, report.failed) == (("a",), (FailedWrite("b", "too sour", False),))
    assert report.failed_documents == [Document("b", "y")]
    assert caplog.messages == ["the recording: 1 of 2 documents were written; 'b': too sour"]
    assert len(place.batches) == 1


def test_once_the_database_is_away_the_rest_is_not_sent_and_but_for_one_batch_not_encoded(store, place, monkeypatch):
    monkeypatch.setattr(pipeline, "WORTH_A_THREAD", 0)

    def answer(documents):
        if len(place.batches) > 1:
            raise Away(Refusal("no route", retryable=True))
        return []

    place.answer = answer
    encode, encoded = store.model.encode_corpus, []

    def watched(texts, **options):
        encoded.extend(texts)
        return encode(texts, **options)

    store.model.encode_corpus = watched
    documents = (Document(str(number), "x") for number in range(5 * DOCUMENTS_PER_BATCH))
    report = store.add(documents, on_error="report")
    assert len(report.ok) == DOCUMENTS_PER_BATCH
    assert [failure.id for failure in report.failed] == [
        str(number) for number in range(DOCUMENTS_PER_BATCH, 5 * DOCUMENTS_PER_BATCH)
    ]
    assert {(failure.reason, failure.retryable) for failure in report.failed} == {("no route", True)}
    assert len(encoded) == 3 * DOCUMENTS_PER_BATCH
    assert len(place.batches) == 1 + 3
    assert place.commits == 1  # what is in, once


def test_documents_are_encoded_while_the_batch_before_is_written(store, place, monkeypatch):
    monkeypatch.setattr(pipeline, "WORTH_A_THREAD", 0)

    second_encoded = threading.Event()
    place.answer = lambda documents: [] if second_encoded.wait(30) else [FailedWrite(documents[0].id, "late", True)]
    encode, encoded = store.model.encode_corpus, []

    def watched(texts, **options):
        encoded.append(threading.current_thread())
        if len(encoded) == 2:
            second_encoded.set()
        return encode(texts, **options)

    store.model.encode_corpus = watched
    assert store.add(f"text {number}" for number in range(2 * DOCUMENTS_PER_BATCH)).failed == ()
    assert encoded == [threading.current_thread()] * 2


def test_of_documents_with_one_id_in_several_batches_the_last_is_written_last(store, place):
    store.add(Document(str(number % DOCUMENTS_PER_BATCH), str(number)) for number in range(5 * DOCUMENTS_PER_BATCH))
    assert [int(batch[0].text) for batch in place.batches] == [number * DOCUMENTS_PER_BATCH for number in range(5)]


def test_the_batches_before_a_bad_vector_are_written_and_committed_and_of_its_own_batch_none(store, place):
    encode, encoded = store.model.encode_corpus, []

    def broken(texts, **options):
        encoded.append(texts)
        return encode(texts, **options) * (1 if len(encoded) < 3 else 2)

    store.model.encode_corpus = broken
    with pytest.raises(ValueError, match=f"the dense vector of document '{2 * DOCUMENTS_PER_BATCH}' has length 2"):
        store.add(Document(str(number), "x") for number in range(4 * DOCUMENTS_PER_BATCH))
    assert [batch[0].id for batch in place.batches] == ["0", str(DOCUMENTS_PER_BATCH)]
    assert place.commits == 1


def test_an_error_that_is_no_answer_of_the_database_is_raised(store, place):
    def answer(documents):
        raise RuntimeError("a bug")

    place.answer = answer
    with pytest.raises(RuntimeError, match="a bug"):
        store.add("text")


def test_of_one_id_in_two_batches_the_last_outcome_is_reported(store, place):
    def answer(documents):
        if len(place.batches) > 1:
            return [FailedWrite("twice", "no", retryable=False)]
        return []

    place.answer = answer
    first = [Document(str(number), "x") for number in range(DOCUMENTS_PER_BATCH - 1)]
    report = store.add([Document("twice", "x"), *first, Document("twice", "y")], on_error="report")
    assert "twice" not in report.ok
    assert [failure.id for failure in report.failed] == ["twice"]


def test_a_timeout_reaches_the_database(store, place):
    store.add("text", timeout=3)
    assert place.timeouts == [3.0]
    store.search("text", timeout=0.5)
    assert place.options.timeout == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("bad", [0, -1, float("nan"), float("inf")])
def test_a_timeout_that_is_no_time_is_refused(store, bad):
    with pytest.raises(ValueError, match="timeout="):
        store.count(timeout=bad)


@pytest.mark.parametrize("bad", ["3", True, [1]])
def test_a_timeout_that_is_no_number_is_refused(store, bad):
    with pytest.raises(TypeError, match="timeout takes a number of seconds"):
        store.get("a", timeout=bad)


def test_a_filter_is_parsed_before_it_reaches_the_database(store, place):
    store.count({"lang": {"ne": "en"}})
    store.delete(filter={"lang": "de"})
    store.search("text", filter=NativeFilter("lang == 'fr'"))
    assert place.filters == [Not(Condition("lang", "eq", "en")), Condition("lang", "eq", "de")]
    assert place.options.filter == NativeFilter("lang == 'fr'")


@pytest.mark.parametrize("arguments", [{}, {"ids": "a", "filter": {"lang": "en"}}])
def test_delete_takes_ids_or_a_filter(store, arguments):
    with pytest.raises(TypeError, match="either ids or filter="):
        store.delete(**arguments)


def test_deleting_by_an_empty_filter_is_refused(store, place):
    with pytest.raises(ValueError, match="an empty filter holds for every document"):
        store.delete(filter={})
    assert place.filters == []


def test_a_bad_filter_is_refused_before_the_store_is_opened(place):
    store = RecordingStore(place)
    for verb in (store.count, store.scroll, lambda filter: store.search("text", filter=filter)):
        with pytest.raises(ValueError, match="is no operator"):
            verb(filter={"lang": {"like": "e"}})


def test_documents_are_scrolled_in_requests_of_the_size_asked_for(store):
    assert [document.id for document in store.scroll(batch_size=2)] == ["0-0", "0-1", "1-0", "1-1", "2-0", "2-1"]


def test_closing_a_store_ends_a_scroll_with_an_error(store):
    documents = store.scroll(batch_size=1)
    next(documents)
    store.close()
    with pytest.raises(StoreError, match="was closed"):
        next(documents)


def test_an_unknown_overflow_is_refused(place):
    with pytest.raises(ValueError, match="colbert_overflow='drop': choose 'error' or 'truncate' or 'pool'"):
        RecordingStore(place, colbert_overflow="drop")


async def test_stores_of_one_model_encode_one_call_at_a_time(place):
    class Watched(ConstantModel):
        inside, most = 0, 0

        def encode_queries(self, texts, convert_to_numpy=True):
            self.inside += 1
            self.most = max(self.most, self.inside)
            threading.Event().wait(0.01)
            self.inside -= 1
            return super().encode_corpus(texts)

    model = Watched()
    stores = [RecordingStore(place, model) for _ in range(4)]
    await stores[0].acreate()
    await asyncio.gather(*(store.asearch("text") for store in stores))
    assert model.most == 1


async def test_every_verb_has_its_twin(store):
    assert (await store.aadd("text")).ok == store.add("text").ok
    assert await store.asearch("text", limit=3, mode="dense") == store.search("text", limit=3, mode="dense")
    assert await store.aget("a") == store.get("a")
    assert await store.acount() == store.count()
    assert [document async for document in store.ascroll(batch_size=2)] == list(store.scroll(batch_size=2))
    assert [record async for record in store.ascroll_vectors()] == list(store.scroll_vectors())
    await store.adelete("a")
    await store.adrop()
    assert store._backend.describe() is None
    async with store:
        pass
    with pytest.raises(StoreError, match="was closed"):
        await store.acount()


def test_a_bad_document_in_a_list_is_reported_while_the_rest_is_written(store, place):
    given = [Document("a", "x"), Document("b", "y", {"bad": object()}), None, Document("c", "too long")]
    report = store.add(given, on_error="report")
    assert report.ok == ("a",)
    assert [failure.id for failure in report.failed] == ["b", "documents[2]", "c"]
    assert "metadata['bad'] is object" in report.failed[0].reason
    assert report.failed_documents == [given[1], given[3]]
    assert [document.id for document in place.batches[0]] == ["a"]


def test_a_bad_vector_is_reported_while_the_rest_of_its_batch_is_written(store, place):
    encode = store.model.encode_corpus
    store.model.encode_corpus = lambda texts, **options: encode(texts) * np.array([[1], [2], [1]], np.float32)
    report = store.add([Document("a", "x"), Document("b", "y"), Document("c", "z")], on_error="report")
    assert report.ok == ("a", "c")
    assert "the dense vector of document 'b' has length 2" in report.failed[0].reason


def test_an_unknown_way_to_handle_errors_is_refused(store):
    with pytest.raises(ValueError, match="on_error='ignore': choose 'raise' or 'report'"):
        store.add("text", on_error="ignore")


def test_a_text_that_is_cut_off_is_named_in_the_report_and_in_one_warning(store, caplog):
    encode = store.model.encode_corpus
    store.model.encode_corpus = lambda texts, **options: _with_truncated(encode(texts), (1,))
    store.model.passage_max_length = 8
    with caplog.at_level(logging.WARNING, "flagvec"):
        report = store.add([Document("a", "x"), Document("b", "y")])
    assert report.truncated == ("b",)
    assert "1 of 2 texts were longer than the 8 tokens" in caplog.text
    assert "passage_max_length" in caplog.text


def _with_truncated(vectors, positions):
    from flagvec import M3Output

    output = M3Output(dense_vecs=vectors)
    output.truncated = positions
    return output


def test_a_dict_is_a_document(store, place):
    store.add([{"text": "x", "id": "a", "metadata": {"n": 1}}, {"text": "y"}])
    assert place.batches[0][0] == Document("a", "x", {"n": 1})
    assert place.batches[0][1].text == "y"


def test_a_request_that_the_database_refuses_is_a_store_error_with_its_words(store, place):
    def refuse(*_):
        raise Away(Refusal("no such field; password=secret", retryable=False))

    place.answer = place.find = refuse
    words = r"the recording could not be searched: no such field; password=\*\*\*"
    with pytest.raises(StoreError, match=words) as caught:
        store.search("text")
    assert isinstance(caught.value.__cause__, Away)
    with pytest.raises(StoreError, match="could not be counted"):
        store.count()


def test_hits_below_the_least_score_are_left_out(store, place):
    place.find = lambda: [Hit("a", 0.9, "", {}), Hit("b", 0.4, "", {})]
    assert [hit.id for hit in store.search("text", min_score=0.5)] == ["a"]


@pytest.mark.parametrize("name", ["k", "top_k"])
def test_another_name_for_the_limit_is_corrected(store, name):
    with pytest.raises(TypeError, match=f"RecordingStore.search takes no argument '{name}'.*`limit`"):
        store.search("text", **{name: 3})


def test_a_misspelt_option_names_the_right_one(store):
    with pytest.raises(TypeError, match="did you mean 'candidates'"):
        store.search("text", candidate=3)


def test_a_filter_of_the_database_itself_is_passed_on(store, place):
    store.count("lang == 'fr'")
    assert place.filters == [NativeFilter("lang == 'fr'")]


def test_a_dropped_store_can_be_created_again(store, place):
    store.drop()
    store.drop()
    with pytest.raises(StoreError, match="does not exist"):
        store.count()
    store.create()
    assert len(store) == store.count() == 0


def test_an_empty_store_is_true(store):
    assert store


def test_requests_are_bounded_by_bytes(store, place):
    store._backend.limits = replace(store._backend.limits, bytes=25)
    store._backend.row_bytes = lambda row: 10
    store.add(["a", "b", "c", "d", "e"])
    assert [len(batch) for batch in place.batches] == [2, 2, 1]


def test_an_error_of_the_documents_is_raised_as_it_is(store):
    def documents():
        yield "a"
        raise Away(Refusal("another database", retryable=False))

    with pytest.raises(Away):
        store.add(documents(), on_error="report")


def test_deleting_by_an_empty_filter_of_the_database_is_refused(store, place):
    with pytest.raises(ValueError, match="an empty filter holds for every document"):
        store.delete(filter="")
    assert place.filters == []


async def cancelled(awaited, begun, then, with_all_tasks=False):
    """Cancel an await once its thread has begun, and return the error that it ends with.

    With all tasks it is cancelled as `asyncio.run` cancels whatever is left at its end.
    """
    task = asyncio.ensure_future(awaited)
    await asyncio.to_thread(begun.wait, 30)
    for one in asyncio.all_tasks() - {asyncio.current_task()} if with_all_tasks else {task}:
        one.cancel()
    for _ in range(5):
        # The task is cancelled within these turns of the loop.
        await asyncio.sleep(0)
    then()
    with pytest.raises(asyncio.CancelledError) as raised:
        await task
    return raised.value


async def test_cancelling_an_add_stops_it_and_the_error_carries_what_is_in(store, place):
    begun, goes_on = threading.Event(), threading.Event()

    def texts():
        yield from (Document(str(number), "x") for number in range(DOCUMENTS_PER_BATCH + 1))
        begun.set()
        assert goes_on.wait(30)
        yield from (Document(str(number), "x") for number in range(DOCUMENTS_PER_BATCH + 1, 4 * DOCUMENTS_PER_BATCH))

    report = (await cancelled(store.aadd(texts()), begun, goes_on.set)).report
    assert len(place.batches) <= 2
    assert set(report.ok) == {document.id for batch in place.batches for document in batch}
    assert len(report.ok) + len(report.failed) >= DOCUMENTS_PER_BATCH + 1
    assert place.commits == 1


async def test_an_iterable_that_blocks_does_not_keep_a_cancelled_add_from_ending(store, caplog, monkeypatch):
    monkeypatch.setattr(writing, "LONGEST_CANCELLING", 0.01)
    begun, goes_on = threading.Event(), threading.Event()

    def texts():
        yield Document("a", "x")
        begun.set()
        assert goes_on.wait(30)

    error = await cancelled(store.aadd(texts()), begun, lambda: None)
    assert not hasattr(error, "report")
    goes_on.set()
    while not caplog.messages:
        await asyncio.sleep(0.01)
    assert caplog.messages == [
        "the recording: an add that was cancelled has ended: 0 of 1 documents were written; 'a': add ended before the "
        "database confirmed it"
    ]


def test_a_search_that_the_database_refuses_for_the_moment_is_repeated(store, place):
    answers = [Away(Refusal("busy", retryable=True)), Away(Refusal("busy", retryable=True))]

    def find():
        if answers:
            raise answers.pop()
        return [Hit("a", 0.9, "", {})]

    place.find = find
    assert [hit.id for hit in store.search("text")] == ["a"]


@pytest.mark.parametrize("verb", ["get", "delete", "count", "delete by filter", "scroll", "flush"])
def test_whatever_can_be_done_twice_is_repeated(store, monkeypatch, verb):
    backend, calls = store._backend, []

    def twice(method):
        def call(*arguments):
            calls.append(arguments)
            if len(calls) == 1:
                raise Away(Refusal("busy", retryable=True))
            return method(*arguments)

        return call

    name = {"delete by filter": "delete_where"}.get(verb, verb)
    if verb == "scroll":
        page = twice(lambda timeout: [Document("a", "x")])
        monkeypatch.setattr(backend, "scroll", lambda filter, size, ask: (ask(page) for _ in range(2)))
    else:
        monkeypatch.setattr(backend, name, twice(getattr(backend, name)))
    use = {
        "get": lambda: store.get("a"),
        "delete": lambda: store.delete("a"),
        "count": store.count,
        "delete by filter": lambda: store.delete(filter={"n": 1}),
        "scroll": lambda: list(store.scroll()),
        "flush": lambda: store.add("text"),
    }[verb]
    use()
    assert len(calls) >= 2


async def test_an_add_that_is_cancelled_by_the_end_of_the_loop_carries_its_report(store):
    begun, goes_on = threading.Event(), threading.Event()

    def texts():
        yield Document("a", "x")
        begun.set()
        assert goes_on.wait(30)

    error = await cancelled(store.aadd(texts()), begun, goes_on.set, with_all_tasks=True)
    assert [failed.id for failed in error.report.failed] == ["a"]


async def test_an_add_that_is_cancelled_twice_logs_what_is_in(store, caplog):
    begun, goes_on = threading.Event(), threading.Event()

    def texts():
        yield Document("a", "x")
        begun.set()
        assert goes_on.wait(30)

    task = asyncio.ensure_future(store.aadd(texts()))
    await asyncio.to_thread(begun.wait, 30)
    for _ in range(2):
        task.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(1_000):
        if caplog.messages:
            break
        await asyncio.sleep(0.01)
    assert "an add that was cancelled has ended" in caplog.text


async def test_a_cancelled_future_that_the_iterable_waits_for_does_not_end_an_add_as_if_all_were_written(store):
    def texts():
        yield Document("a", "x")
        raise CancelledError

    with pytest.raises(CancelledError) as raised:
        await store.aadd(texts())
    assert [failed.id for failed in raised.value.report.failed] == ["a"]


def test_a_store_of_few_documents_a_call_can_be_scrolled(place):
    store = RecordingStore(place, max_limit=100)
    store.create()
    assert len(list(store.scroll())) == 3 * 100
