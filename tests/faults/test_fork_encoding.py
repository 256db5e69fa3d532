"""A child process encodes with a model that its parent loaded. Each child has a deadline, because faults here hang."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")

# Seconds, for a process that imports torch on a busy machine.
DEADLINE = 240
HERE = Path(__file__).parent
# OpenMP starts threads only if it may have more than one.
THREADS = {"OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1"}


def run(*arguments: str, **environment: str) -> str:
    finished = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **THREADS, **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def outcome(tiny_m3_directory: Path) -> Callable[[str, str], dict[str, str]]:
    @cache
    def of(before: str, thread: str) -> dict[str, str]:
        return json.loads(run(str(HERE / "forked_encoding.py"), str(tiny_m3_directory), before, thread))

    return of


@pytest.mark.parametrize("thread", ["main", "worker"])
@pytest.mark.parametrize("before", ["encoded", "unused"])
@pytest.mark.parametrize("way", ["by_os_fork", "by_multiprocessing", "by_process_pool", "by_data_loader"])
def test_a_child_gives_what_its_parent_gives(outcome, way, before, thread):
    assert outcome(before, thread)[way] == "equal"


SCRIPT = """
import os, sys, threading, time, warnings
import numpy as np
from flagvec import BGEM3FlagModel, FlagModel
from flagvec.engine import forking

def answer(work, seconds=40):
    "Fork, and return what `work` gives in the child, as text; None if it hangs."
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            found = str(work())
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        os.write(writing, found.encode())
        os._exit(0)
    os.close(writing)
    import select, signal
    ready, _, _ = select.select([reading], [], [], seconds)
    if not ready:
        os.kill(child, signal.SIGKILL)
    found = os.read(reading, 100_000).decode()
    os.close(reading)
    os.waitpid(child, 0)
    return found or None

model = BGEM3FlagModel(sys.argv[1], use_fp16=False, return_sparse=True, return_colbert_vecs=True)
TEXTS = ["a text", "another text " * 30]
expected = model.encode(TEXTS)["dense_vecs"]

def is_equal():
    return np.allclose(model.encode(TEXTS)["dense_vecs"], expected, rtol=0, atol=1e-5)
"""


def run_script(model: Path, code: str, **environment: str) -> list[str]:
    return run("-c", SCRIPT + code, str(model), **environment).splitlines()


def test_a_lock_that_a_search_held_is_free_in_the_child(tiny_m3_directory):
    code = """
from flagvec.store.encoding import encode_query, model_lock
held, done = threading.Event(), threading.Event()
def search():
    with model_lock(model):
        held.set()
        done.wait()
threading.Thread(target=search).start()
held.wait()
print(answer(lambda: len(encode_query(model, "a text", ["dense"]).dense)))
done.set()
"""
    assert run_script(tiny_m3_directory, code) == ["48"]


def test_a_lock_of_progress_bars_that_another_thread_held_is_free_in_the_child(tiny_m3_directory):
    code = """
from tqdm import tqdm
held, done = threading.Event(), threading.Event()
def show():
    with tqdm.get_lock():
        held.set()
        done.wait()
threading.Thread(target=show).start()
held.wait()
print(answer(is_equal))
done.set()
"""
    assert run_script(tiny_m3_directory, code) == ["True"]


def test_children_that_are_forked_while_threads_encode_give_the_same(tiny_m3_directory):
    code = """
import random
done = threading.Event()
def encode():
    numbers = random.Random(0)
    while not done.is_set():
        model.encode(["word " * numbers.randrange(1, 400) for _ in range(3)])
threads = [threading.Thread(target=encode) for _ in range(2)]
for thread in threads:
    thread.start()
print({answer(is_equal) for _ in range(20)})
done.set()
for thread in threads:
    thread.join()
print(is_equal())
"""
    assert run_script(tiny_m3_directory, code) == ["{'True'}", "True"]


def test_a_child_of_a_child_encodes(tiny_m3_directory):
    assert run_script(tiny_m3_directory, "print(answer(lambda: (is_equal(), answer(is_equal))))") == ["(True, 'True')"]


def test_a_child_can_load_a_model(tiny_m3_directory):
    code = "print(answer(lambda: FlagModel(sys.argv[1], pooling_method='cls').encode('a text').shape))"
    assert run_script(tiny_m3_directory, code) == ["(48,)"]


@pytest.mark.parametrize("parallel", ["true", "1", "false"])
def test_a_child_tokenises_without_the_threads_of_its_parent(tiny_m3_directory, parallel):
    assert run_script(tiny_m3_directory, "print(answer(is_equal))", TOKENIZERS_PARALLELISM=parallel) == ["True"]


def test_a_child_has_as_many_threads_as_its_parent_and_does_not_warn(tiny_m3_directory):
    code = """
import torch
warnings.simplefilter("error")
print(answer(lambda: (is_equal(), torch.get_num_threads())))
"""
    assert run_script(tiny_m3_directory, code) == ["(True, 2)"]


def test_a_child_of_an_older_openmp_encodes_on_one_thread_and_warns_once(tiny_m3_directory):
    code = """
import torch
from flagvec.engine.kernels import availability
found = availability.openmp_function
availability.openmp_function = lambda name: 0 if name == "omp_pause_resource_all" else found(name)
def work():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        equal = is_equal() and is_equal()
    ours = [str(one.message) for one in caught if "OpenMP" in str(one.message)]
    return equal, torch.get_num_threads(), len(ours), "'spawn'" in ours[0]
print(answer(work))
"""
    assert run_script(tiny_m3_directory, code) == ["(True, 1, 1, True)"]


def test_a_model_on_a_gpu_refuses_to_encode_in_a_child(tiny_m3_directory):
    # The device is not used, because the refusal comes first.
    code = """
model.target_devices = ["cuda:0"]
print(answer(is_equal))
"""
    (found,) = run_script(tiny_m3_directory, code)
    assert found.startswith("FlagvecError: ")
    assert "cuda:0" in found
    assert "'spawn'" in found


def test_vectors_that_frameworks_share_are_right_in_a_child(tiny_m3_directory):
    code = """
from flagvec.frameworks.one_pass import one_pass
shared = one_pass(model)
shared.serve("dense")
shared.serve("sparse")
done = threading.Event()
def embed():
    number = 0
    while not done.is_set():
        shared.documents([f"text {number}", "a text"])
        number += 1
thread = threading.Thread(target=embed)
thread.start()
def work():
    return np.allclose(one_pass(model).documents(TEXTS)["dense_vecs"], expected, rtol=0, atol=1e-5)
print({answer(work) for _ in range(10)})
done.set()
thread.join()
"""
    assert run_script(tiny_m3_directory, code) == ["{'True'}"]


APPLICATION = """
import json, os
from flagvec import FlagModel
model = FlagModel(os.environ["MODEL"], use_fp16=False, pooling_method="cls")
if os.environ["BEFORE"] == "encoded":
    model.encode("a text " * 50)
def application(environment, start_response):
    body = json.dumps(model.encode("a text " * 50).tolist()).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
"""


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=DEADLINE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE)
        self.sock.connect(self._path)


@pytest.fixture
def gunicorn(tmp_path: Path, tiny_m3_directory: Path) -> Iterator[Callable[[str], str]]:
    """A function that starts gunicorn with a preloaded model and returns the path of its socket."""
    pytest.importorskip("gunicorn")
    (tmp_path / "application.py").write_text(APPLICATION)
    with (
        tempfile.TemporaryDirectory() as short,
        (tmp_path / "log").open("w") as log,
    ):  # a socket's path has a limit of 107 bytes
        path = f"{short}/socket"
        started = []

        def start(before: str) -> str:
            server = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "--preload", "--workers=2", f"--bind=unix:{path}", "application"],
                cwd=tmp_path,
                env={**os.environ, **THREADS, "MODEL": str(tiny_m3_directory), "BEFORE": before},
                stderr=log,
                start_new_session=True,
            )
            started.append(server)
            while server.poll() is None:
                if "Booting worker" in (tmp_path / "log").read_text():
                    return path
                time.sleep(0.1)
            raise AssertionError((tmp_path / "log").read_text())

        yield start
        for server in started:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


@pytest.mark.parametrize("before", ["encoded", "unused"])
def test_workers_of_gunicorn_encode_with_a_preloaded_model(gunicorn, tiny_m3_directory, before):
    path = gunicorn(before)
    answers = []
    for _ in range(4):
        connection = UnixConnection(path)
        connection.request("GET", "/")
        answers.append(json.loads(connection.getresponse().read()))
        connection.close()
    assert len(answers[0]) == 48
    assert all(answer == answers[0] for answer in answers)
