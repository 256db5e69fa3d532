import logging
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest

from flagvec import Document, StoreError
from flagvec.retrieval.schema import Schema
from flagvec.retrieval.store import CHARACTERS_PER_BATCH, DOCUMENTS_PER_BATCH, HybridStore


class ConstantModel:
    """Gives every text the same dense vector; what a store does with a model needs no more."""

    model_name_or_path = "models/constant"
    representations = frozenset({"dense"})
    dimension = 2
    colbert_dimension = None

    def encode_corpus(self, texts, convert_to_numpy=True):
        return np.tile(np.array([0.6, 0.8], np.float32), (len(texts), 1))

    encode_queries = encode_corpus


class RecordingStore(HybridStore):
    """Keeps the batches that it is given; `place` is the database, which outlives the store."""

    def __init__(self, place):
        super().__init__(ConstantModel())
        self.place = place

    def _name(self):
        return "the recording"

    def _found_schema(self):
        return self.place.schema

    def _create(self):
        self.place.schema = self.schema

    def _write(self, records):
        self.place.batches.append([record.document for record in records])

    def _commit(self):
        self.place.commits += 1

    def _search(self, query, options):
        return []

    def _get(self, ids):
        return []

    def _delete(self, ids):
        self.place.batches.append(list(ids))

    def _count(self):
        return 0


@pytest.fixture
def place():
    return SimpleNamespace(schema=None, batches=[], commits=0)


@pytest.fixture
def store(place):
    store = RecordingStore(place)
    store.create()
    return store


def test_documents_are_written_in_batches_of_bounded_number(store, place):
    store.add(f"text {number}" for number in range(2 * DOCUMENTS_PER_BATCH + 1))
    assert [len(batch) for batch in place.batches] == [DOCUMENTS_PER_BATCH, DOCUMENTS_PER_BATCH, 1]


def test_long_documents_are_written_in_batches_of_bounded_length(store, place):
    store.add([name * (CHARACTERS_PER_BATCH // 2) for name in "abc"])
    assert [len(batch) for batch in place.batches] == [2, 1]


def test_a_generator_is_never_held_whole(store, place):
    written_before = []

    def texts():
        for number in range(5 * DOCUMENTS_PER_BATCH):
            written_before.append(sum(map(len, place.batches)))
            yield f"text {number}"

    store.add(texts())
    ahead = [number - written for number, written in enumerate(written_before)]
    assert max(ahead) <= DOCUMENTS_PER_BATCH


def test_add_returns_an_id_for_every_document_in_order(store):
    assert store.add([Document("b", "x"), Document("a", "y"), Document("b", "z")]) == ["b", "a", "b"]
    assert store.add([]) == []


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
    assert "made with the model 'models/other' and is used with 'models/constant'" in caplog.text


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
