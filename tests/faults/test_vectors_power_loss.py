"""Files of vectors after a power loss: those that have their names are whole."""

from __future__ import annotations

from itertools import islice

import pytest

from flagvec import Document

pytest.importorskip("pyarrow")

from flagvec.ingest.parquet import encode_to_parquet, read_vectors

DOCUMENTS = [Document(str(number), f"text number {number} " * 20) for number in range(400)]


def test_all_files_of_a_finished_run_are_whole(disk, tiny_m3, after_power_loss):
    encode_to_parquet(DOCUMENTS, tiny_m3, disk.path / "vectors")
    found = after_power_loss(disk).path / "vectors"
    assert [record.document for record in read_vectors(found)] == DOCUMENTS


def test_a_run_goes_on_after_a_power_loss_in_the_middle(disk, tiny_m3, after_power_loss, monkeypatch):
    monkeypatch.setattr("flagvec.ingest.parquet._DOCUMENTS_PER_BATCH", 20)
    disks = []

    def documents():
        yield from islice(DOCUMENTS, 200)
        # By now the names of files are on the disk, and what nobody synced is not.
        disk.wait_for_journal()
        disks.append(after_power_loss(disk))
        yield from islice(DOCUMENTS, 200, None)

    encode_to_parquet(documents(), tiny_m3, disk.path / "vectors", file_bytes=100_000)
    directory = disks[0].path / "vectors"
    before = list(read_vectors(directory, partial=True))
    assert 20 <= len(before) <= 200
    assert [record.document for record in before] == DOCUMENTS[: len(before)]
    report = encode_to_parquet(DOCUMENTS, tiny_m3, directory, file_bytes=100_000)
    assert (report.found, report.written) == (len(before), 400 - len(before))
    assert [record.document for record in read_vectors(directory)] == DOCUMENTS
