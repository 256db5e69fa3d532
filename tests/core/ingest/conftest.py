"""A database that answers as a test says."""

import pytest

from flagvec.store.backend import Backend, WriteLimits


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
