"""Loads a model, forks in four ways, and prints for each whether the child gave what the parent gives.

The arguments are the model's directory, whether the parent encodes before it forks (``encoded`` or ``unused``), and the
thread that forks (``main`` or ``worker``). The output is one JSON object.
"""

import json
import multiprocessing
import os
import select
import signal
import sys
import threading
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch

from flagvec import BGEM3FlagModel

# Seconds. A child that works needs a tenth of one on an idle machine.
DEADLINE = 40
TEXTS = ["a library of many books", "hybrid search " * 40, "words " * 300]

model = BGEM3FlagModel(sys.argv[1], use_fp16=False, return_sparse=True, return_colbert_vecs=True)


def encoded(_=None):
    output = model.encode(TEXTS)
    weights = [sorted(one.items()) for one in output["lexical_weights"]]
    return [output["dense_vecs"].tolist(), weights, [one.tolist() for one in output["colbert_vecs"]]]


def by_os_fork():
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with os.fdopen(writing, "w") as pipe:
            json.dump(encoded(), pipe)
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


def fork_in_each_way(answers):
    if sys.argv[2] == "encoded":
        encoded()
    for fork in (by_os_fork, by_multiprocessing, by_process_pool, by_data_loader):
        answers[fork.__name__] = fork()


if __name__ == "__main__":
    answers = {}
    if sys.argv[2] == "encoded":
        encoded()
    if sys.argv[3] == "main":
        fork_in_each_way(answers)
    else:
        worker = threading.Thread(target=fork_in_each_way, args=(answers,))
        worker.start()
        worker.join()
    expected = encoded()
    outcomes = {
        way: "hang" if found is None else "equal" if is_equal(found, expected) else "different"
        for way, found in answers.items()
    }
    sys.stdout.write(json.dumps(outcomes))
