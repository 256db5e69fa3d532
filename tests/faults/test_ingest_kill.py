"""An ingestion that SIGKILL ends again and again, and that goes on each time, has every document in the store once."""

from __future__ import annotations

import json
import os
import random
import time

import pytest

from stores import open_store

DOCUMENTS = 1200
KILLS = 3


@pytest.fixture(params=["edge", "lite", "elasticsearch"])
def kind(request, tmp_path):
    if request.param != "elasticsearch":
        yield request.param
        return
    if not os.environ.get("ELASTICSEARCH_URL"):
        pytest.skip("ELASTICSEARCH_URL is not set")
    yield request.param
    open_store("elasticsearch", tmp_path).drop()


def test_every_document_is_there_once_and_was_not_encoded_again_by_each_process(child, tmp_path, kind):
    arguments = kind, tmp_path, "--documents", DOCUMENTS
    moments = random.Random(kind)
    for _ in range(KILLS):
        writer = child("ingest_process.py", "write", *arguments)
        writer.wait_for(bool)
        time.sleep(moments.uniform(0, 1))
        writer.kill()
    writer = child("ingest_process.py", "write", *arguments)
    assert writer.finish() == 0, writer.errors
    report = json.loads(writer.lines[-1])["report"]
    assert (report["read"], report["is_complete"]) == (DOCUMENTS, True)
    reader = child("ingest_process.py", "read", *arguments)
    assert reader.finish() == 0, reader.errors
    found = json.loads(reader.lines[-1])
    # Twice, unless a kill comes in the milliseconds between the second encoding and the keeping of the vectors.
    assert found.pop("encoded") <= 3
    assert found == {"missing": [], "twice": [], "wrong": [], "differs": False}


def test_a_second_process_on_a_journal_is_refused_at_once_and_a_killed_one_leaves_it_free(child, tmp_path):
    journal, first, second = (tmp_path / name for name in ("journal", "first", "second"))
    for directory in (journal, first, second):
        directory.mkdir()
    arguments = "write", "edge", first, "--disk", journal, "--documents", 3 * DOCUMENTS
    writer = child("ingest_process.py", *arguments)
    writer.wait_for(lambda lines: any("read" in line for line in lines))
    # Otherwise it might end before the second one begins.
    writer.pause()
    refused = child("ingest_process.py", "write", "edge", second, "--disk", journal)
    assert refused.finish() == 1, refused.errors
    error = json.loads(refused.lines[-1])["error"]
    assert error.startswith(f"JournalError: the journal '{journal / 'journal'}' is in use by another ingestion")
    assert not (second / "encoded.log").exists()
    writer.kill()
    writer = child("ingest_process.py", *arguments)
    assert writer.finish() == 0, writer.errors
    assert json.loads(writer.lines[-1])["report"]["is_complete"]
