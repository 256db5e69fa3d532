"""One model serves many threads at once."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from flagvec.engine.forking import ForkGate

THREADS = 8


@pytest.fixture(scope="module")
def batches(golden):
    """Different texts for each thread, of different lengths."""
    return [golden.texts[start : start + 12] for start in range(0, 4 * THREADS, 4)]


def encode_all(model, batches):
    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(lambda texts: model.encode(texts, batch_size=5, max_length=64), batches))


def assert_equal(found, expected):
    np.testing.assert_allclose(found["dense_vecs"], expected["dense_vecs"], rtol=0, atol=1e-6)
    assert [set(weights) for weights in found["lexical_weights"]] == [set(w) for w in expected["lexical_weights"]]
    for vectors, others in zip(found["colbert_vecs"], expected["colbert_vecs"], strict=True):
        np.testing.assert_allclose(vectors, others, rtol=0, atol=1e-6)


def test_threads_give_the_same_as_calls_in_sequence(tiny_m3, batches):
    expected = [tiny_m3.encode(texts, max_length=64) for texts in batches]
    for _ in range(3):
        for found, alone in zip(encode_all(tiny_m3, batches), expected, strict=True):
            assert_equal(found, alone)


def test_threads_are_not_disturbed_by_calls_of_the_public_tokenizer(tiny_m3, batches):
    expected = [tiny_m3.encode(texts, max_length=64) for texts in batches]
    done = threading.Event()

    def tokenize():
        """Change truncation and padding at every call, which fails in a shared tokenizer ("Already borrowed")."""
        length = 4
        while not done.is_set():
            tiny_m3.tokenizer(batches[0], truncation=True, max_length=length, padding=True)
            length = 4 + length % 16

    with ThreadPoolExecutor(1) as other:
        tokenizing = other.submit(tokenize)
        try:
            for _ in range(5):
                for found, alone in zip(encode_all(tiny_m3, batches), expected, strict=True):
                    assert_equal(found, alone)
        finally:
            done.set()
        tokenizing.result()


def test_settings_of_the_public_tokenizer_do_not_affect_the_model(tiny_m3):
    expected = tiny_m3.encode("a text of several words")
    tiny_m3.tokenizer(["a text"], truncation=True, max_length=3, padding="max_length")
    assert_equal(tiny_m3.encode(["a text of several words"]), expected.as_batch())


def test_streams_of_two_threads_do_not_mix(tiny_bert, batches):
    def stream(texts):
        return np.concatenate(list(tiny_bert.encode_stream(texts, batch_size=3)))

    with ThreadPoolExecutor(THREADS) as threads:
        for found, texts in zip(threads.map(stream, batches), batches, strict=True):
            np.testing.assert_allclose(found, tiny_bert.encode(texts), atol=1e-6)


def test_a_fork_waits_for_the_batches_of_other_threads():
    gate, order = ForkGate(), []
    inside, leave = threading.Event(), threading.Event()

    def encode():
        with gate:
            inside.set()
            leave.wait()
            order.append("batch")

    def fork():
        gate.close()
        order.append("fork")
        gate.reopen()

    with ThreadPoolExecutor(2) as threads:
        encoding = threads.submit(encode)
        inside.wait()
        forking = threads.submit(fork)
        leave.set()
        encoding.result()
        forking.result()
    with gate:
        assert order == ["batch", "fork"]


def test_a_batch_waits_for_the_fork_of_another_thread():
    gate, order = ForkGate(), []

    def encode():
        with gate:
            order.append("batch")

    gate.close()
    with ThreadPoolExecutor(1) as threads:
        encoding = threads.submit(encode)
        order.append("fork")
        gate.reopen()
        encoding.result()
    assert order == ["fork", "batch"]


def test_a_thread_can_fork_in_its_own_batch():
    gate = ForkGate()
    with gate:
        gate.close()
        with gate:
            gate.reopen()


NESTED = """
import os
from flagvec.engine import forking

waited = []
forking._wait_for_ended = waited.append
gate = forking.ForkGate()
with gate:
    pass
child = os.fork()
if child:
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
gate.renew()
with gate:
    pass
gate.close()
os._exit(len(waited.pop()))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_child_that_forks_waits_for_no_thread_that_is_alive_or_its_parents(run_python):
    run_python(NESTED)
