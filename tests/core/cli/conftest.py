"""Running commands in this process, and stores of the tiny model to run them on."""

import json
from dataclasses import dataclass

import pytest
from typer.testing import CliRunner

from flagvec import Document
from flagvec.cli.app import app
from flagvec.cli.stores import opened
from flagvec.store.address import StoreAddress

DOCUMENTS = [
    Document("rice", "Rice is cooked in twice as much water.", {"lang": "en", "year": 2020}),
    Document("bread", "Bread is baked in a hot oven.", {"lang": "en", "year": 2024}),
    Document("soupe", "La soupe est cuite une heure.", {"lang": "fr"}),
]


@dataclass(frozen=True)
class Finished:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def flagvec(monkeypatch, tmp_path):
    """Run a command at 80 columns in an empty folder; `input` is its standard input."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")

    def run(*arguments, input=None, **environment):
        result = CliRunner(env=environment).invoke(
            app, [str(one) for one in arguments], input=input, prog_name="flagvec"
        )
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Finished(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def jsonl(tmp_path):
    """Write a file of one JSON value a line."""

    def write(name, *rows):
        lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
        return name

    return write


@pytest.fixture
def articles(flagvec, tiny_m3):
    """The URL of an edge store of three documents."""
    with opened(StoreAddress.parsed("edge:./articles"), tiny_m3) as store:
        store.create()
        store.add(DOCUMENTS)
    return "edge:./articles"


@pytest.fixture
def documents_of():
    """Return the documents of a store, by their ids."""
    from flagvec.cli.stores import opened_without_model

    def read(url):
        with opened_without_model(StoreAddress.parsed(url)) as store:
            return {one.id: one for one in store.scroll()}

    return read
