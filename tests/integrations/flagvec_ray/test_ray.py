"""Real actors of Ray on two CPUs write real documents, also if one of them is killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from flagvec import Document
from flagvec.ingest.parquet import encode_to_parquet as encode_here
from flagvec.ingest.parquet import read_vectors

ray = pytest.importorskip("ray", reason="ray is not installed")
import ray.data  # noqa: E402, F811

from flagvec_ray import Actors, ModelSettings, StoreSettings, encode, encode_to_parquet, ingest, read  # noqa: E402

# Ray's own code, and the sockets of processes that it leaves to itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("cluster"),
]

MANY = [Document(f"d{i}", f"Document {i} about rice and soup.", {"n": i}) for i in range(5_000)]
DOCUMENTS = MANY[:400]


def dataset(documents=DOCUMENTS):
    return ray.data.from_items([{"id": one.id, "text": one.text, **one.metadata} for one in documents])


def pids_of(actor):
    """Return the ids of the processes of this test's cluster that run an actor."""
    raylets = {int(pid) for pid in subprocess.run(
        ["pgrep", "-P", str(os.getpid())], capture_output=True, text=True).stdout.split()}  # fmt: skip
    found = []
    for entry in Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_text()
        except (OSError, ValueError):
            continue
        if parent in raylets and command.startswith("ray::") and actor in command:
            found.append(int(entry.name))
    return found


class Killer(threading.Thread):
    """Kills one process of an actor as soon as something was written."""

    def __init__(self, actor, has_begun):
        super().__init__()
        self.actor, self.has_begun, self.killed = actor, has_begun, None
        self.is_over = threading.Event()

    def run(self):
        while not self.is_over.is_set() and self.killed is None:
            if self.has_begun() and (pids := pids_of(self.actor)):
                os.kill(pids[0], signal.SIGKILL)
                self.killed = pids[0]
            time.sleep(0.01)

    def __exit__(self, *error):
        self.is_over.set()
        self.join()

    def __enter__(self):
        self.start()
        return self


def vectors_in(directory):
    return {record.document.id: record for record in read_vectors(directory)}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, one in expected.items():
        other = found[name]
        assert (other.document.text, other.document.metadata) == (one.document.text, one.document.metadata)
        np.testing.assert_allclose(other.vectors.dense, one.vectors.dense, atol=1e-6)
        assert other.vectors.sparse == pytest.approx(one.vectors.sparse, abs=1e-6)
        np.testing.assert_allclose(other.vectors.colbert, one.vectors.colbert, atol=1e-3)


@pytest.fixture
def expected(tiny_m3, tmp_path):
    encode_here(DOCUMENTS, tiny_m3, tmp_path / "here")
    return vectors_in(tmp_path / "here")


def test_files_hold_every_document_once_as_one_process_writes_them(tiny_settings, tmp_path, expected):
    report = encode_to_parquet(dataset(), tmp_path / "there", model=tiny_settings, actors=Actors(2, batch_size=100))
    assert (report.written, report.failed, report.skipped) == (400, 0, 0)
    assert len(list(read_vectors(tmp_path / "there"))) == 400
    assert_same(vectors_in(tmp_path / "there"), expected)


def test_files_hold_5000_documents_once_after_an_actor_was_killed(tiny_settings, tmp_path, tiny_m3):
    encode_here(MANY, tiny_m3, tmp_path / "here")
    with Killer("FilesActor", lambda: list((tmp_path / "there").glob("*.parquet"))) as killer:
        report = encode_to_parquet(
            dataset(MANY), tmp_path / "there", model=tiny_settings, actors=Actors(2, batch_size=100)
        )
    assert killer.killed is not None
    assert report.written == len(list(read_vectors(tmp_path / "there"))) == 5_000
    assert_same(vectors_in(tmp_path / "there"), vectors_in(tmp_path / "here"))


def test_a_second_call_skips_what_is_in_complete_files(tiny_settings, tmp_path):
    encode_to_parquet(dataset(DOCUMENTS[:100]), tmp_path / "there", model=tiny_settings)
    report = encode_to_parquet(dataset(DOCUMENTS[:150]), tmp_path / "there", model=tiny_settings)
    assert (report.written, report.skipped) == (50, 100)
    assert len(list(read_vectors(tmp_path / "there"))) == 150


def test_a_data_set_has_the_vectors_of_one_process(tiny_settings, expected):
    rows = {row["id"]: row for row in encode(dataset(), model=tiny_settings, actors=Actors(2)).iter_rows()}
    assert rows.keys() == expected.keys()
    for name, row in rows.items():
        np.testing.assert_allclose(row["dense"], expected[name].vectors.dense, atol=1e-6)


def read_in_a_process(url):
    """Return the documents of a store: a process that opened a Milvus Lite file keeps it until it ends."""
    code = (
        "import sys, json; from flagvec.cli.stores import opened_without_model;"
        "from flagvec.store.address import StoreAddress\n"
        "with opened_without_model(StoreAddress.parsed(sys.argv[1])) as store:\n"
        "    print(json.dumps([[one.id, one.text, dict(one.metadata)] for one in store.scroll()]))"
    )
    finished = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return [Document(*one) for one in json.loads(finished.stdout.splitlines()[-1])]


@pytest.mark.parametrize("killed", [None, "PackingActor", "WritingActor"])
def test_milvus_lite_gets_every_document_once_from_one_writer(killed, tiny_settings, tmp_path):
    pytest.importorskip("milvus_lite")
    url = f"milvus-lite:{tmp_path}/library.db/articles"
    with Killer(killed or "none of them", lambda: list(tmp_path.rglob("*.parquet"))) as killer:
        report = ingest(dataset(), model=tiny_settings, store=url, actors=Actors(1, batch_size=10))
    assert killed is None or killer.killed is not None
    assert (report.written, report.failed) == (400, 0)
    assert sorted(read_in_a_process(url), key=lambda one: int(one.id[1:])) == DOCUMENTS


@pytest.fixture
def on_server():
    if not (given := os.environ.get("ELASTICSEARCH_URL")):
        pytest.skip("ELASTICSEARCH_URL is not set")
    from elasticsearch import Elasticsearch

    name = f"flagvec_test_{uuid.uuid4().hex}"
    with Elasticsearch(given) as client:
        yield f"elasticsearch+{given.rstrip('/')}/{name}"
        client.indices.delete(index=name, ignore_unavailable=True)


def test_elasticsearch_gets_5000_documents_once_after_an_actor_was_killed(on_server, tiny_settings, tmp_path, tiny_m3):
    from flagvec.cli.stores import opened
    from flagvec.store.address import StoreAddress

    address = StoreAddress.parsed(on_server)
    with opened(address, tiny_m3) as store:
        store.create()

        def has_begun():
            return store.count() > 0

        with Killer("StoreActor", has_begun) as killer:
            report = ingest(dataset(MANY), model=tiny_settings, store=on_server, actors=Actors(2, batch_size=250))
        assert killer.killed is not None
        assert report.written + report.skipped == 5_000
        assert sorted(store.scroll(), key=lambda one: int(one.id[1:])) == MANY
        again = ingest(dataset(MANY), model=tiny_settings, store=on_server, actors=Actors(2))
        assert (again.written, again.skipped) == (0, 5_000)
        # As one process ranks them.
        ranked = store.search("rice and soup 77", limit=10)
        store.add(MANY)
        assert [hit.score for hit in store.search("rice and soup 77", limit=10)] == pytest.approx(
            [hit.score for hit in ranked], abs=1e-6
        )


def test_documents_that_no_store_holds_become_dead_letters(tiny_settings, tmp_path):
    rows = [{"id": "good", "text": "rice"}, {"id": "bad", "text": None}, {"id": "x" * 600, "text": "soup"}]
    letters = tmp_path / "letters.jsonl"
    url = f"edge:{tmp_path}/articles"
    report = ingest(ray.data.from_items(rows), model=tiny_settings, store=url, dead_letters=letters)
    assert (report.written, report.failed, report.dead_letters) == (1, 2, letters)
    reasons = {letter["id"]: letter["reason"] for letter in map(json.loads, letters.read_text().splitlines())}
    assert "NoneType, not str" in reasons["bad"]
    assert len(reasons) == 2


def test_files_are_read_on_the_cluster(tiny_settings, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": 1, "body": "rice", "when": {"y": 1}}\nno JSON\n')
    (tmp_path / "b.jsonl").write_text('{"id": 2, "body": "soup", "when": "later"}\n')
    documents = read(str(tmp_path / "*.jsonl"), text="body")
    report = encode_to_parquet(
        documents, tmp_path / "there", model=tiny_settings, dead_letters=tmp_path / "letters.jsonl"
    )
    assert (report.written, report.failed) == (2, 1)
    held = {record.document.id: record.document.metadata for record in read_vectors(tmp_path / "there")}
    assert held == {"1": {"when": {"y": 1}}, "2": {"when": "later"}}


def test_the_command_line_ingests_on_ray(tiny_m3_directory, tmp_path, monkeypatch):
    from flagvec.cli.app import app

    monkeypatch.chdir(tmp_path)
    Path("docs.jsonl").write_text("".join(f'{{"id": "{i}", "text": "rice {i}"}}\n' for i in range(20)))
    arguments = ["ingest", "docs.jsonl", "--store", "edge:./articles", "--model", str(tiny_m3_directory)]
    arguments += ["--model-class", "encoder-only-m3", "--engine", "ray", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["written"] == 20
    assert len(read_in_a_process("edge:./articles")) == 20


def test_the_command_line_refuses_to_split_on_ray(tiny_m3_directory, tmp_path, monkeypatch):
    from flagvec.cli.app import app

    result = CliRunner().invoke(
        app, ["ingest", "docs.jsonl", "--store", "edge:./articles", "--engine", "ray", "--split", "100"]
    )
    assert result.exit_code == 2
    assert "--split with --engine ray" in result.stderr


@ray.remote(num_cpus=0)
def embedded(embeddings):
    return embeddings.embed_documents(["rice"]) if hasattr(embeddings, "embed_documents") else (
        embeddings.get_text_embedding_batch(["rice"])
    )  # fmt: skip


def test_langchains_and_llama_indexs_classes_survive_rays_pickling(tiny_m3):
    from langchain_flagvec import FlagEmbeddings
    from llama_index_flagvec import FlagEmbedding

    for given in (FlagEmbeddings(model=tiny_m3), FlagEmbedding(model=tiny_m3)):
        here = embedded._function(given)
        np.testing.assert_allclose(ray.get(embedded.remote(given)), here, atol=1e-6)


def test_credentials_are_named_and_never_sent(monkeypatch):
    settings = StoreSettings("qdrant://localhost/articles", secrets={"QDRANT_API_KEY": "OTHER_KEY"})
    monkeypatch.setenv("OTHER_KEY", "the secret itself")
    assert settings._secret("QDRANT_API_KEY") == "the secret itself"
    assert b"the secret itself" not in ray.cloudpickle.dumps(settings)
    monkeypatch.delenv("OTHER_KEY")
    with pytest.raises(ValueError, match="the variable OTHER_KEY is not set on this node"):
        settings._secret("QDRANT_API_KEY")


def test_a_model_that_is_loaded_is_refused_with_what_to_pass(tiny_m3, tmp_path):
    with pytest.raises(TypeError, match="an actor loads its own model; pass its name"):
        encode_to_parquet(dataset(), tmp_path, model=tiny_m3)
    assert ModelSettings.of("bge-m3") == ModelSettings("bge-m3")
