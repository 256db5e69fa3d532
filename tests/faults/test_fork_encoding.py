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
from pathlib import Path
from typing import Any

import pytest
from children import Child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")

# Seconds, for a process that imports torch on a busy machine.
DEADLINE = 240
# OpenMP starts threads only if it may have more than one.
THREADS = {"OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def forked(tiny_m3_directory: Path) -> dict[str, Any]:
    """What ``encoding_fork_process.py`` said."""
    with Child("encoding_fork_process.py", tiny_m3_directory, seconds=DEADLINE, **THREADS) as process:
        assert process.finish() == 0, process.errors
        said: dict[str, Any] = json.loads(process.lines[-1])
        return said


@pytest.mark.parametrize("thread", ["main", "worker"])
@pytest.mark.parametrize("before", ["encoded", "unused"])
@pytest.mark.parametrize("way", ["by_os_fork", "by_multiprocessing", "by_process_pool", "by_data_loader"])
def test_a_child_gives_what_its_parent_gives(forked, way, before, thread):
    assert forked["forms"][before][thread][way] == "equal"


@pytest.fixture
def children(forked: dict[str, Any]) -> dict[str, Any]:
    """What the children gave, by the function that forked them."""
    answers: dict[str, Any] = forked["children"]
    return answers


def test_a_lock_that_a_search_held_is_free_in_the_child(children):
    assert children["child_while_a_search_holds_the_model"] == 48


def test_a_lock_of_progress_bars_that_another_thread_held_is_free_in_the_child(children):
    assert children["child_while_a_thread_holds_the_lock_of_progress_bars"] is True


def test_children_that_are_forked_while_threads_encode_give_the_same(children):
    assert children["child_while_threads_encode"] == [True] * 21


def test_a_child_of_a_child_encodes(children):
    assert children["child_of_a_child"] == [True, True]


def test_a_child_can_load_a_model(children):
    assert children["child_that_loads_a_model"] == [48]


@pytest.mark.parametrize("parallel", ["true", "1", "false"])
def test_a_child_tokenises_without_the_threads_of_its_parent(children, parallel):
    assert children["child_with_the_switch_of_tokenizers"][parallel] is True


def test_a_child_has_as_many_threads_as_its_parent_and_does_not_warn(children):
    assert children["child_with_warnings_as_errors"] == [True, 2]


def test_a_child_of_an_older_openmp_encodes_on_one_thread_and_warns_once(children):
    equal, threads, warned = children["child_of_an_older_openmp"]
    assert (equal, threads, len(warned)) == (True, 1, 1)
    assert "'spawn'" in warned[0]


def test_a_model_on_a_gpu_refuses_to_encode_in_a_child(children):
    found = children["child_with_a_model_on_a_gpu"]
    assert found.startswith("FlagvecError: ")
    assert "cuda:0" in found
    assert "'spawn'" in found


def test_vectors_that_frameworks_share_are_right_in_a_child(children):
    assert children["child_with_vectors_that_frameworks_share"] == [True] * 10


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
