"""Encoding a store anew into another one, while the first one is written to, and switching an alias at the end."""

import json
import os
import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from qdrant_client import QdrantClient

from flagvec import Document, StoreError
from flagvec.ingest.migrate import migrate
from flagvec_elasticsearch import ElasticsearchStore
from flagvec_milvus import MilvusStore, lite_client
from flagvec_qdrant import QdrantEdgeStore, QdrantStore

DOCUMENTS = [Document(f"no-{number}", f"word{number} shared", {"n": number}) for number in range(600)]


def _local():
    return QdrantStore, QdrantClient(":memory:")


def _server():
    if "QDRANT_URL" not in os.environ:
        pytest.skip("QDRANT_URL is not set")
    return QdrantStore, QdrantClient(url=os.environ["QDRANT_URL"], check_compatibility=False, timeout=30)


def _elasticsearch():
    if "ELASTICSEARCH_URL" not in os.environ:
        pytest.skip("ELASTICSEARCH_URL is not set")
    return ElasticsearchStore, Elasticsearch(os.environ["ELASTICSEARCH_URL"], request_timeout=30)


@dataclass
class Migration:
    """An old store of `DOCUMENTS` and a new one of another model, and where their names begin."""

    old: Any
    new: Any
    live: str
    journal: Any
    dead_letters: Any

    def run(self, **options):
        return migrate(self.old, self.new, journal=self.journal, dead_letters=self.dead_letters, **options)


@pytest.fixture(params=[_local, _server, _elasticsearch], ids=["qdrant-local", "qdrant-server", "elasticsearch"])
def migration(request, seeded, tmp_path):
    store_class, client = request.param()
    prefix = f"flagvec_test_{uuid.uuid4().hex}"
    old = store_class(seeded(16), client, f"{prefix}_old")
    new = store_class(seeded(24), client, f"{prefix}_new", colbert=False)
    old.create()
    old.add(DOCUMENTS)
    yield Migration(old, new, f"{prefix}_live", tmp_path / "journal", tmp_path / "letters")
    old.drop()
    new.drop()
    client.close()


def ids_of(store):
    return sorted(one.id for one in store.scroll())


def test_the_new_store_has_all_documents_with_vectors_of_its_model(migration):
    report = migration.run()
    assert (report.documents, report.encoded, report.refused, report.alias) == (600, 600, 0, None)
    assert migration.new.get("no-7") == [DOCUMENTS[7]]
    [hit] = migration.new.search("word7 shared", limit=1, mode="dense")
    assert (hit.id, round(hit.score, 3)) == ("no-7", 1.0)
    assert len(migration.old) == 600


def test_the_second_pass_finds_nothing_if_nothing_was_written(migration):
    assert [one.encoded for one in migration.run().passes] == [600, 0]


def test_what_happens_to_the_old_store_meanwhile_is_caught_up(migration):
    def write(number, so_far):
        if number == 1:
            migration.old.add([Document("late", "a late one"), Document("no-3", "changed")])
            migration.old.delete("no-4")

    migration.run(on_progress=write)
    assert ids_of(migration.new) == ids_of(migration.old)
    assert [one.text for one in migration.new.get(["late", "no-3"])] == ["a late one", "changed"]


def test_the_alias_leads_to_the_new_store(migration):
    migration.old.switch_alias(migration.live)
    report = migration.run(alias=migration.live)
    assert report.alias == migration.live
    assert migration.old.leads_to(migration.live) == migration.live.replace("_live", "_new")


def test_the_alias_leads_to_the_old_store_until_all_is_caught_up(migration):
    migration.old.switch_alias(migration.live)
    seen = []
    migration.run(
        alias=migration.live, on_progress=lambda number, _: seen.append(migration.old.leads_to(migration.live))
    )
    # The last call is of the pass after the switch.
    assert set(seen[:-1]) == {migration.live.replace("_live", "_old")}


def test_what_was_written_just_before_the_switch_is_caught_up_after_it(migration):
    class Late(type(migration.new)):
        def switch_alias(self, alias):
            migration.old.add(Document("late", "just in time"))
            migration.old.delete("no-4")
            super().switch_alias(alias)

    migration.new.__class__ = Late
    migration.run(alias=migration.live)
    assert ids_of(migration.new) == ids_of(migration.old)


def test_a_migration_that_ended_early_goes_on(migration):
    # Longer than the first windows.
    migration.old.add(Document(one.id, one.text + " more" * 20) for one in DOCUMENTS)

    def fail(number, so_far):
        if so_far.read > 300:
            raise OSError("the machine is taken away")

    with pytest.raises(OSError, match="taken away"):
        migration.run(on_progress=fail)
    before = migration.new.count()
    assert 0 < before < 600
    report = migration.run()
    assert (report.documents, report.encoded) == (600, 600 - before)


def test_a_store_that_is_written_to_without_end_is_refused(migration):
    with pytest.raises(StoreError, match="written to during each of 20 passes over it: pause its writers"):
        migration.run(on_progress=lambda number, _: migration.old.add(Document(f"late-{number}", "more")))


def test_what_the_new_store_refuses_is_a_dead_letter_once(seeded, tmp_path):
    old = QdrantEdgeStore(seeded(16), tmp_path / "old")
    old.create()
    # Milvus takes texts of up to 65,535 bytes.
    old.add([*DOCUMENTS[:5], Document("long", "word " * 20_000)])
    new = MilvusStore(seeded(24), lite_client(tmp_path / "new.db"), "articles")
    (tmp_path / "letters").write_text('{"text": "of another run"}\n')
    report = migrate(old, new, journal=tmp_path / "journal", dead_letters=tmp_path / "letters")
    assert (report.documents, report.refused, len(report.passes)) == (5, 1, 2)
    assert [json.loads(line).get("id") for line in (tmp_path / "letters").read_text().splitlines()] == [None, "long"]


def test_a_name_of_a_store_is_no_alias_and_nothing_is_encoded(migration):
    old = migration.live.replace("_live", "_old")
    with pytest.raises(StoreError, match="is the name of a store and not an alias: choose another alias"):
        migration.run(alias=old)
    assert migration.new.found_schema() is None


def test_a_database_without_aliases_is_refused_an_alias(seeded, tmp_path):
    old, new = QdrantEdgeStore(seeded(16), tmp_path / "old"), QdrantEdgeStore(seeded(24), tmp_path / "new")
    with pytest.raises(TypeError, match="alias='live': QdrantEdgeStore has no aliases; leave alias out"):
        migrate(old, new, journal=tmp_path / "journal", alias="live")
