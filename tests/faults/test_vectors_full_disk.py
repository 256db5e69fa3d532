"""Files of vectors on a full disk: a clear error, complete files only, and a run that goes on after room was made."""

from __future__ import annotations

import pytest

from flagvec import Document
from flagvec.errors import SourceError

pytest.importorskip("pyarrow")

from flagvec.ingest.parquet import encode_to_parquet, read_vectors

MEGABYTE = 2**20
DOCUMENTS = [Document(str(number), f"text number {number} " * 20) for number in range(1_500)]


@pytest.mark.parametrize("system", ["ext4", "tmpfs"])
@pytest.mark.parametrize("file_bytes", [500_000, 100 * MEGABYTE])
def test_a_run_stops_on_a_full_disk_and_goes_on_once_there_is_room(
    small_disk, tiny_m3, monkeypatch, system, file_bytes
):
    monkeypatch.setattr("flagvec.ingest.parquet._DOCUMENTS_PER_BATCH", 50)
    monkeypatch.setattr("flagvec.ingest.vector_writer._GROUP_BYTES", 200_000)
    disk = small_disk(system, 64)
    ballast = disk.fill(2 * MEGABYTE)
    directory = disk.path / "vectors"
    with pytest.raises(SourceError, match=r"cannot be written: No space left on device; make room, and repeat"):
        encode_to_parquet(DOCUMENTS, tiny_m3, directory, file_bytes=file_bytes)
    assert not list(directory.glob("*.unfinished"))
    with pytest.raises(SourceError, match=r"does not hold all documents yet|holds no files"):
        read_vectors(directory)
    before = len(read_vectors(directory, partial=True)) if list(directory.glob("*.parquet")) else 0
    assert before < 1_500
    assert (before > 0) == (file_bytes < MEGABYTE)
    ballast.unlink()
    report = encode_to_parquet(DOCUMENTS, tiny_m3, directory, file_bytes=file_bytes)
    assert (report.found, report.written) == (before, 1_500 - before)
    assert [record.document for record in read_vectors(directory)] == DOCUMENTS
