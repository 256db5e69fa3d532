"""Commands on servers: a server that goes away in the middle, and a migration that ends in a switched alias."""

import os
import uuid

import pytest
from qdrant_client import QdrantClient
from typer.testing import CliRunner

from flagvec import Document
from flagvec.cli.app import app
from flagvec.cli.stores import opened, opened_without_model
from flagvec.store.address import StoreAddress

DOCUMENTS = [Document(f"no-{number}", f"word{number} in a recipe", {"n": number}) for number in range(20)]


@pytest.fixture
def flagvec(tmp_path, monkeypatch):
    """Run a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.fixture
def proxy(request):
    """A proxy in front of the Elasticsearch node."""
    from importlib.util import module_from_spec, spec_from_file_location

    if "ELASTICSEARCH_URL" not in os.environ:
        pytest.skip("ELASTICSEARCH_URL is not set")
    spec = spec_from_file_location("flagvec_tests.faulty_proxy", request.path.parent / "faulty_proxy.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.FaultyProxy(os.environ["ELASTICSEARCH_URL"], lambda method, path: None) as proxy:
        proxy.unavailable = lambda method, path: module.Fault.UNAVAILABLE if "/_bulk" in path else None
        yield proxy


@pytest.fixture
def elasticsearch(proxy):
    """The URL of an index behind the proxy."""
    url = f"elasticsearch:{proxy.url.partition(':')[2]}/flagvec_test_{uuid.uuid4().hex}"
    yield url
    proxy.choose = lambda method, path: None
    with opened_without_model(StoreAddress.parsed(url)) as store:
        store.drop()


def test_a_server_that_goes_away_ends_with_75_and_the_same_command_goes_on(
    flagvec, proxy, elasticsearch, tiny_m3_directory, tmp_path
):
    rows = "".join(f'{{"id": "{one.id}", "text": "{one.text}"}}\n' for one in DOCUMENTS)
    (tmp_path / "docs.jsonl").write_text(rows)
    command = (
        "ingest", "docs.jsonl", "--store", elasticsearch, "--store", "edge:./index", "--model", tiny_m3_directory,
        "--patience", "1", "--json",
    )  # fmt: skip
    proxy.choose = proxy.unavailable
    stopped = flagvec(*command)
    assert stopped.exit_code == 75
    assert stopped.stdout == ""
    assert "503" in stopped.stderr and "the same command goes on from here" in stopped.stderr
    proxy.choose = lambda method, path: None
    resumed = flagvec(*command)
    assert resumed.exit_code == 0
    with opened_without_model(StoreAddress.parsed(elasticsearch)) as store:
        assert sorted(one.id for one in store.scroll()) == sorted(one.id for one in DOCUMENTS)
    with opened_without_model(StoreAddress.parsed("edge:./index")) as store:
        assert store.count() == len(DOCUMENTS)


@pytest.fixture(params=["qdrant", "elasticsearch"])
def place(request):
    """Return the URL of a name on a server, where what a test made is deleted afterwards."""
    variable = f"{request.param.upper()}_URL"
    if variable not in os.environ:
        pytest.skip(f"{variable} is not set")
    prefix = f"flagvec_test_{uuid.uuid4().hex}"
    server = os.environ[variable].partition(":")[2]
    yield lambda name: f"{request.param}:{server}/{prefix}_{name}"
    if request.param == "qdrant":
        client = QdrantClient(url=os.environ[variable], check_compatibility=False)
        for collection in client.get_collections().collections:
            if collection.name.startswith(prefix):
                client.delete_collection(collection.name)
        client.close()
    else:
        from elasticsearch import Elasticsearch

        with Elasticsearch(os.environ[variable]) as client:
            for name in client.indices.get(index=f"{prefix}*"):
                client.indices.delete(index=name)


def test_readers_of_an_alias_get_the_new_store(flagvec, place, tiny_m3, tiny_m3_directory):
    with opened(StoreAddress.parsed(place("old")), tiny_m3) as store:
        store.create()
        store.add(DOCUMENTS)
        store.switch_alias(StoreAddress.parsed(place("live")).name)
    alias = StoreAddress.parsed(place("live")).name
    moved = (
        "migrate", "--from", place("live"), "--to", place("new"), "--model", tiny_m3_directory, "--alias", alias,
        "--passage-instruction", "passage: ",
    )  # fmt: skip
    done = flagvec(*moved)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == (
        f"{place('new')} holds 20 documents, 20 encoded in 3 passes; the alias {alias} leads there now\n"
    )
    with opened_without_model(StoreAddress.parsed(place("live"))) as store:
        assert store.schema.passage_instruction == "passage: "
        assert store.count() == 20
    with opened_without_model(StoreAddress.parsed(place("old"))) as store:
        assert store.count() == 20


def test_a_store_is_not_migrated_into_itself(flagvec, place, tiny_m3, tiny_m3_directory):
    with opened(StoreAddress.parsed(place("old")), tiny_m3) as store:
        store.create()
        store.switch_alias(StoreAddress.parsed(place("live")).name)
    done = flagvec("migrate", "--from", place("live"), "--to", place("old"), "--model", tiny_m3_directory)
    assert done.exit_code == 2
    assert "give the new store another name" in " ".join(done.stderr.split())
