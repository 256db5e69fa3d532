"""``flagvec ui`` as a process."""

import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from flagvec.search.settings import save_settings


@pytest.fixture
def folder(mini_m3, tmp_path):
    """A folder with a store in it."""
    from flagvec_qdrant import QdrantEdgeStore

    with QdrantEdgeStore(mini_m3, tmp_path / "store") as store:
        store.create()
        store.add(["Rice is cooked.", "Bread is baked."])
    return tmp_path


def begun(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "flagvec", "ui", "--store", "edge:./store", "--no-open", *arguments],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_serves_a_page_until_ctrl_c(folder):
    save_settings(folder / "tuned.json", {"fusion": {"dense": 1, "sparse": 0.25}})
    with begun(folder, "--port", "0", "--settings", "tuned.json") as process:
        line = next(line for line in process.stderr if line.startswith("flagvec:"))
        url = re.search(r"http://127\.0\.0\.1:\d+/", line)[0]
        with urllib.request.urlopen(f"{url}api/store") as answer:
            assert b'"sparse":0.25' in answer.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == "flagvec: ended\n"


def test_a_port_in_use_ends_the_command_in_one_line(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with begun(folder, "--port", str(port)) as process:
            assert process.wait(timeout=60) == 1
            said = process.stderr.read()
    assert said == f"flagvec: port {port} is in use: pass --port with another one, or --port 0 for any free one\n"
