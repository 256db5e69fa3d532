"""Commands that begin before their server does; skipped without QDRANT_BINARY."""

import subprocess
import sys
import threading

import pytest

from flagvec import Document
from flagvec.cli.stores import opened, opened_without_model
from flagvec.store.address import StoreAddress

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")

# Seconds. A single verb gives up after ten seconds.
LATE = 11.0


@pytest.fixture
def address(server, monkeypatch):
    """A function that returns the URL of a collection."""
    monkeypatch.setenv("QDRANT_API_KEY", server.key)
    return lambda name: f"qdrant://127.0.0.1:{server.port}/{name}"


@pytest.fixture
def begun(tmp_path):
    """A function that starts a command and returns its process."""
    started = []

    def begin(*arguments):
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "flagvec", *map(str, arguments)],
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def count(url):
    with opened_without_model(StoreAddress.parsed(url)) as store:
        return store.count()


def test_commands_wait_for_a_server_that_comes_late(server, address, begun, tiny_m3, tiny_m3_directory, tmp_path):
    (tmp_path / "docs.jsonl").write_text('{"id": "rice", "text": "rice in water"}\n')
    with opened(StoreAddress.parsed(address("old")), tiny_m3) as store:
        store.create()
        store.add([Document(str(number), f"word{number} in a recipe") for number in range(5)])
    exported = begun("export", "--store", address("old"), "-o", "before")
    assert exported.wait(60) == 0
    server.kill()
    commands = [
        begun("ingest", "docs.jsonl", "--store", address("ingested"), "--model", tiny_m3_directory),
        begun("load", "before", "--store", address("loaded"), "--journal", "load.journal"),
        begun("export", "--store", address("old"), "-o", "after"),
        begun(
            "migrate", "--from", address("old"), "--to", address("new"), "--model", tiny_m3_directory,
            "--journal", "migrate.journal",
        ),
    ]  # fmt: skip
    late = threading.Timer(LATE, server.start)
    late.start()
    said = [command.communicate(timeout=120)[1] for command in commands]
    late.join()
    assert [command.returncode for command in commands] == [0, 0, 0, 0], said
    for url, line in zip(map(address, ("ingested", "loaded", "old", "old")), said, strict=True):
        assert f"{url} does not answer: " in line and "start the server, or correct the URL; waiting up to 300" in line
    assert [count(address(name)) for name in ("ingested", "loaded", "new")] == [1, 5, 5]
    assert list((tmp_path / "after").glob("*.parquet"))


def test_a_command_ends_with_75_if_its_server_does_not_come(server, address, begun):
    server.kill()
    stopped = begun("export", "--store", address("old"), "-o", "after", "--patience", "0")
    _, said = stopped.communicate(timeout=60)
    assert stopped.returncode == 75
    assert f"flagvec: {address('old')} does not answer: " in said
    server.start()
