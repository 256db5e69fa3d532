"""Loads a model, forks in many ways, and says what the children gave.

    python encoding_fork_process.py DIRECTORY

It prints one line of JSON. ``forms`` has, by whether the parent had encoded before (``unused`` or ``encoded``), by the
thread that forked (``worker`` or ``main``) and by the way of forking, whether the child's output was ``equal`` to its
parent's or ``different``, or None if the child did not answer. ``children`` has what the functions of this module whose
names begin with ``child`` returned.
"""

import json
import multiprocessing
import os
import select
import signal
import sys
import threading
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from tqdm import tqdm

from flagvec import BGEM3FlagModel, FlagModel
from flagvec.engine.kernels import availability
from flagvec.frameworks.one_pass import one_pass
from flagvec.store.encoding import encode_query, model_lock

# Seconds. A child that works needs a tenth of one on an idle machine.
DEADLINE = 40
TEXTS = ["a library of many books", "hybrid search " * 40, "words " * 300]

model = BGEM3FlagModel(sys.argv[1], use_fp16=False, return_sparse=True, return_colbert_vecs=True)


def encoded(_=None):
    output = model.encode(TEXTS)
    weights = [sorted(one.items()) for one in output["lexical_weights"]]
    return [output["dense_vecs"].tolist(), weights, [one.tolist() for one in output["colbert_vecs"]]]


def by_os_fork(function=encoded):
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            answer = json.dumps(function())
        except Exception as error:
            answer = json.dumps(f"{type(error).__name__}: {error}")
        with os.fdopen(writing, "w") as pipe:
            pipe.write(answer)
        os._exit(0)
    os.close(writing)
    # The child writes at its end only.
    ready, _, _ = select.select([reading], [], [], DEADLINE)
    if not ready:
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return json.loads(answer) if answer else None


def put(queue):
    queue.put(encoded())


def by_multiprocessing():
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=put, args=(queue,))
    process.start()
    answer = queue.get() if queue._reader.poll(DEADLINE) else None
    process.kill()
    process.join()
    return answer


def by_process_pool():
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        waiting = pool.submit(encoded)
        try:
            return waiting.result(DEADLINE)
        except TimeoutError:
            for process in pool._processes.values():
                process.kill()


class Encoded(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, position):
        return encoded()


def by_data_loader():
    loader = torch.utils.data.DataLoader(
        Encoded(), batch_size=None, num_workers=1, timeout=DEADLINE, multiprocessing_context="fork"
    )
    try:
        return next(iter(loader))
    except RuntimeError:
        return None


def is_equal(found, expected):
    dense, weights, colbert = found
    return (
        np.allclose(dense, expected[0], rtol=0, atol=1e-5)
        and all(np.allclose(*pair, rtol=0, atol=1e-5) for pair in zip(weights, expected[1], strict=True))
        and all(np.allclose(*pair, rtol=0, atol=1e-5) for pair in zip(colbert, expected[2], strict=True))
    )


def fork_in_each_way():
    return {fork.__name__: fork() for fork in (by_os_fork, by_multiprocessing, by_process_pool, by_data_loader)}


def fork_in_each_thread():
    answers = {}
    # The main thread forks last: it keeps the OpenMP threads that loading or encoding has started until it forks.
    worker = threading.Thread(target=lambda: answers.update(worker=fork_in_each_way()))
    worker.start()
    worker.join()
    return answers | {"main": fork_in_each_way()}


@contextmanager
def held_by_a_thread(lock):
    """Let another thread hold a lock inside the block."""
    held, done = threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def repeated(function, threads):
    """Let other threads call a function with 0, 1, 2 ... inside the block."""
    done = threading.Event()

    def repeat():
        number = 0
        while not done.is_set():
            function(number)
            number += 1

    running = [threading.Thread(target=repeat) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in running:
            thread.join()


def right():
    return is_equal(encoded(), expected)


def child_while_a_search_holds_the_model():
    with held_by_a_thread(model_lock(model)):
        return by_os_fork(lambda: len(encode_query(model, "a text", ["dense"]).dense))


def child_while_a_thread_holds_the_lock_of_progress_bars():
    with held_by_a_thread(tqdm.get_lock()):
        return by_os_fork(lambda: is_equal(encoded_with_a_bar(), expected))


def encoded_with_a_bar():
    model.encode(TEXTS, show_progress=True)
    return encoded()


def child_while_threads_encode():
    with repeated(lambda number: model.encode(["word " * (number * 7 % 400 + 1)] * 3), threads=2):
        children = [by_os_fork(right) for _ in range(20)]
    return [*children, right()]


def child_of_a_child():
    return by_os_fork(lambda: [right(), by_os_fork(right)])


def child_that_loads_a_model():
    return by_os_fork(lambda: FlagModel(sys.argv[1], pooling_method="cls").encode("a text").shape)


def child_with_the_switch_of_tokenizers():
    answers = {}
    for value in ("true", "1", "false"):
        os.environ["TOKENIZERS_PARALLELISM"] = value
        answers[value] = by_os_fork(right)
    del os.environ["TOKENIZERS_PARALLELISM"]
    return answers


def child_with_warnings_as_errors():
    def work():
        warnings.simplefilter("error")
        return [right(), torch.get_num_threads()]

    return by_os_fork(work)


def child_with_a_model_on_a_gpu():
    # The device is not used, because the refusal comes first.
    model.target_devices = ["cuda:0"]
    try:
        return by_os_fork(right)
    finally:
        model.target_devices = ["cpu"]


def child_with_vectors_that_frameworks_share():
    shared = one_pass(model)
    shared.serve("dense")
    shared.serve("sparse")
    with repeated(lambda number: shared.documents([f"text {number}", "a text"]), threads=1):
        return [
            by_os_fork(
                lambda: np.allclose(one_pass(model).documents(TEXTS)["dense_vecs"], expected[0], rtol=0, atol=1e-5)
            )
            for _ in range(10)
        ]


def child_of_an_older_openmp():
    found = availability.openmp_function
    availability.openmp_function = lambda name: 0 if name == "omp_pause_resource_all" else found(name)

    def work():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            equal = right() and right()
        ours = [str(one.message) for one in caught if "OpenMP" in str(one.message)]
        return [equal, torch.get_num_threads(), ours]

    try:
        return by_os_fork(work)
    finally:
        availability.openmp_function = found


if __name__ == "__main__":
    answers = {"unused": fork_in_each_thread()}
    encoded()
    answers["encoded"] = fork_in_each_thread()
    expected = encoded()
    forms = {
        before: {
            thread: {
                way: None if found is None else "equal" if is_equal(found, expected) else "different"
                for way, found in ways.items()
            }
            for thread, ways in threads.items()
        }
        for before, threads in answers.items()
    }
    children = {name: fork() for name, fork in list(globals().items()) if name.startswith("child_")}
    sys.stdout.write(json.dumps({"forms": forms, "children": children}) + "\n")
