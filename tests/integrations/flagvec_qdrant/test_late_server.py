"""Commands that begin before their server does; skipped without QDRANT_BINARY."""

import subprocess
import sys
import time
import uuid

import pytest

from flagvec import Document
from flagvec.cli.stores import opened, opened_without_model
from flagvec.store.address import StoreAddress

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")


@pytest.fixture
def address(server, monkeypatch):
    """A function that returns the URL of a collection."""
    monkeypatch.setenv("QDRANT_API_KEY", server.key)
    return lambda name: f"qdrant://127.0.0.1:{server.port}/{name}"


class Begun:
    """A command that runs in a process of its own; `said` is the file with its standard error."""

    def __init__(self, directory, arguments):
        self.said = directory / f"{uuid.uuid4().hex}.err"
        command = [sys.executable, "-m", "flagvec", *map(str, arguments)]
        with self.said.open("w") as file:
            self.process = subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL, stderr=file)

    def wait_until_it_waits(self):
        for _ in range(600):
            if "waiting up to 300 seconds" in self.said.read_text() or self.process.poll() is not None:
                return
            time.sleep(0.1)


@pytest.fixture
def begun(tmp_path):
    """A function that starts a command."""
    started = []

    def begin(*arguments):
        started.append(Begun(tmp_path, arguments))
        return started[-1]

    yield begin
    for command in started:
        command.process.kill()
        command.process.wait()


def count(url):
    with opened_without_model(StoreAddress.parsed(url)) as store:
        return store.count()


def test_commands_wait_for_a_server_that_comes_after_a_verb_would_give_up(
    server, address, begun, tiny_m3, tiny_m3_directory, tmp_path
):
    (tmp_path / "docs.jsonl").write_text('{"id": "rice", "text": "rice in water"}\n')
    with opened(StoreAddress.parsed(address("old")), tiny_m3) as store:
        store.create()
        store.add([Document(str(number), f"word{number} in a recipe") for number in range(5)])
    exported = begun("export", "--store", address("old"), "-o", "before")
    assert exported.process.wait(60) == 0, exported.said.read_text()
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
    for command in commands:
        command.wait_until_it_waits()
    server.start()
    ended = [command.process.wait(120) for command in commands]
    said = [command.said.read_text() for command in commands]
    assert ended == [0, 0, 0, 0], said
    for url, line in zip(map(address, ("ingested", "loaded", "old", "old")), said, strict=True):
        assert f"{url} does not answer: " in line and "start the server, or correct the URL; waiting up to 300" in line
    assert [count(address(name)) for name in ("ingested", "loaded", "new")] == [1, 5, 5]
    assert list((tmp_path / "after").glob("*.parquet"))


def test_a_command_ends_with_75_if_its_server_does_not_come(server, address, begun):
    server.kill()
    stopped = begun("export", "--store", address("old"), "-o", "after", "--patience", "0")
    try:
        assert stopped.process.wait(60) == 75
        assert f"flagvec: {address('old')} does not answer: " in stopped.said.read_text()
    finally:
        server.start()
