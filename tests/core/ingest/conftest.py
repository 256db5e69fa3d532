"""A database that answers as a test says."""

import numpy as np
import pytest

from flagvec import M3Output
from flagvec.store.backend import Backend, Refusal, WriteLimits
from flagvec.store.base import HybridStore


class Refused(Exception):
    """What a request that is refused as a whole raises."""


class ScriptedBackend(Backend):
    """Gives the answers of a list in turn, or of a function of all requests; `sent` has them as strings of ids."""

    name = "the script"
    limits = WriteLimits(attempts=4, first_pause=0, jitter=0)

    def __init__(self, answer, refusal=None):
        self.sent = []
        self.flushed = 0
        self.answer = answer
        self.refusal = refusal

    def prepare(self, records):
        return [record.document.id for record in records]

    def write(self, rows, timeout):
        self.sent.append("".join(rows))
        answer = self.answer(self.sent) if callable(self.answer) else self.answer[len(self.sent) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def classify(self, error):
        if not isinstance(error, Refused):
            return None
        return self.refusal() if callable(self.refusal) else self.refusal

    def flush(self, timeout):
        self.flushed += 1

    def describe(self):
        raise NotImplementedError

    create = drop = search = get = delete = delete_where = count = scroll = scroll_vectors = describe


@pytest.fixture
def scripted():
    """The class of databases that answer as a test says."""
    return ScriptedBackend


@pytest.fixture
def refused():
    """What such a database raises for a request that it refuses as a whole."""
    return Refused()


class CountingModel:
    """Gives every text the same vectors, and keeps the texts that it was given."""

    model_name_or_path = "models/counting"
    representations = frozenset({"dense", "sparse", "colbert"})
    dimension = colbert_dimension = 2

    def __init__(self):
        self.texts = []

    def encode_corpus(self, texts, return_dense, return_sparse, return_colbert_vecs, convert_to_numpy):
        self.texts += texts
        output = M3Output()
        if return_dense:
            output["dense_vecs"] = np.tile(np.array([0.6, 0.8], np.float32), (len(texts), 1))
        if return_sparse:
            output["lexical_weights"] = [{7: 0.5}] * len(texts)
        if return_colbert_vecs:
            output["colbert_vecs"] = [np.array([[0.6, 0.8]], np.float32)] * len(texts)
        return output


class MemoryBackend(Backend):
    """A database in memory. `flushed` is what a power loss would leave; `answer` may refuse a write."""

    name = "memory"
    limits = WriteLimits(records=10, attempts=3, first_pause=0.001, jitter=0)

    def __init__(self, name="memory", answer=lambda documents: []):
        self.name = name
        self.documents = {}
        self.vectors = {}
        self.flushed = {}
        self.answer = answer
        self.is_away = False
        self.schema = None

    def describe(self):
        self._ask()
        return self.schema

    def create(self, schema):
        self.schema = schema

    def drop(self):
        self.schema = None

    def check(self, document):
        if document.text == "too long":
            raise ValueError("the text is too long")

    def prepare(self, records):
        return list(records)

    def write(self, rows, timeout):
        self._ask()
        failed = self.answer([row.document for row in rows])
        if isinstance(failed, Exception):
            raise failed
        names = {failure.id for failure in failed}
        for row in rows:
            if row.document.id not in names:
                self.documents[row.document.id] = row.document
                self.vectors[row.document.id] = row.vectors
        return failed

    def classify(self, error):
        return error.args[0] if isinstance(error, Refused) else None

    def flush(self, timeout):
        self._ask()
        self.flushed = dict(self.documents)

    def delete(self, ids, timeout):
        for name in ids:
            self.documents.pop(name, None)

    def count(self, filter, timeout):
        return len(self.documents)

    def scroll(self, filter, batch_size, ask):
        yield list(self.documents.values())

    def search(self, query, options):
        raise NotImplementedError

    get = delete_where = scroll_vectors = search

    def _ask(self):
        if self.is_away:
            raise Refused(Refusal("away", retryable=True))


@pytest.fixture
def counting():
    """The class of models that keep the texts that they were given."""
    return CountingModel


@pytest.fixture
def refusing():
    """A function that makes what a database raises, from a `Refusal`."""
    return Refused


@pytest.fixture
def memory():
    """A function that makes a created store in memory, with a model."""

    def make(model, colbert=False, **options):
        store = HybridStore(model, MemoryBackend(**options), colbert=colbert)
        store.create()
        return store

    return make
