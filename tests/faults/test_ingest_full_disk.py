"""An ingestion whose disk becomes full stops and says so, and goes on once there is room."""

from __future__ import annotations

import json
import signal

import disks

DOCUMENTS = 3000


def test_a_full_disk_under_the_journal_stops_the_run_and_loses_nothing(child, small_disk, tmp_path):
    disk = small_disk("tmpfs", 16)
    ballast = disk.fill(200_000)
    arguments = "edge", tmp_path, "--documents", DOCUMENTS, "--disk", disk.path
    writer = child("ingest_process.py", "write", *arguments)
    assert writer.finish() == 1, writer.errors
    error = json.loads(writer.lines[-1]).get("error", writer.errors)
    assert error.startswith("JournalError: the journal")
    assert "make room on its disk and run again" in error
    ballast.unlink()
    assert _resumed(child, arguments) == {"missing": [], "twice": [], "wrong": [], "differs": False}


def test_a_full_disk_under_an_edge_store_stops_the_run_and_loses_nothing(child, small_disk, tmp_path):
    disk = small_disk("tmpfs", 512)
    # So many that they are not all written before the disk is full.
    arguments = "edge", disk.path, "--documents", 5 * DOCUMENTS, "--disk", tmp_path, "--log", tmp_path
    writer = child("ingest_process.py", "write", *arguments)
    writer.wait_for(lambda lines: len(lines) >= 2)
    ballast = disk.fill(disks.MEGABYTE)
    code = writer.finish()
    # A disk that becomes full in the middle of a write ends the process by SIGBUS, because the engine maps its files.
    if code != -signal.SIGBUS:
        assert code == 1, writer.errors
        error = json.loads(writer.lines[-1]).get("error", writer.errors)
        assert error.startswith("StoreDownError: edge: ")
        assert "Run the same ingestion again once this is mended" in error
    ballast.unlink()
    assert _resumed(child, arguments) == {"missing": [], "twice": [], "wrong": [], "differs": False}


def _resumed(child, arguments):
    writer = child("ingest_process.py", "write", *arguments)
    assert writer.finish() == 0, writer.errors
    reader = child("ingest_process.py", "read", *arguments)
    assert reader.finish() == 0, reader.errors
    found = json.loads(reader.lines[-1])
    del found["encoded"]
    return found
