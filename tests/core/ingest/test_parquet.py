"""Documents that are encoded into Parquet files: each file whole or absent, and a run that ended early goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from flagvec import BGEM3FlagModel, ColbertStorage, Document
from flagvec.errors import SourceError
from flagvec.store.encoding import encode_documents

pytest.importorskip("pyarrow")
import pyarrow.parquet as pq

from flagvec.ingest.parquet import encode_to_parquet, read_vectors
from flagvec.ingest.sources import DocumentReader

DOCUMENTS = [Document(str(number), f"text number {number} " * (1 + number % 3), {"n": number}) for number in range(60)]
SMALL = 10_000


def encoded(model, documents=DOCUMENTS):
    texts = [one.text for one in documents]
    return encode_documents(model, texts, texts, model.representations).all_valid()


def rows_in(directory):
    return sum(pq.read_metadata(file).num_rows for file in directory.glob("*.parquet"))


def check_complete(directory, model, documents=DOCUMENTS):
    records = list(read_vectors(directory))
    assert [record.document for record in records] == documents
    for record, wanted in zip(records, encoded(model, documents), strict=True):
        np.testing.assert_allclose(record.vectors.dense, wanted.dense, atol=1e-5)
        assert record.vectors.sparse == pytest.approx(dict(wanted.sparse), abs=1e-5)
        np.testing.assert_allclose(record.vectors.colbert, wanted.colbert, atol=1e-3)


def in_batches_of(monkeypatch, documents):
    monkeypatch.setattr("flagvec.ingest.parquet._DOCUMENTS_PER_BATCH", documents)


def test_documents_are_written_with_all_their_vectors(tmp_path, tiny_m3):
    report = encode_to_parquet(DOCUMENTS, tiny_m3, tmp_path / "vectors")
    assert (report.written, report.found, report.failed, len(report.files)) == (60, 0, 0, 1)
    check_complete(tmp_path / "vectors", tiny_m3)


def test_dense_vectors_in_full_precision_are_those_of_the_model(tmp_path, tiny_m3):
    encode_to_parquet(DOCUMENTS, tiny_m3, tmp_path)
    wanted = encoded(tiny_m3)
    for record, one in zip(read_vectors(tmp_path), wanted, strict=True):
        assert np.array_equal(record.vectors.dense, one.dense)
        assert record.vectors.sparse == dict(one.sparse)
        assert np.array_equal(record.vectors.colbert, one.colbert.astype(np.float16))


def test_colbert_vectors_are_kept_as_codes(tmp_path, tiny_m3):
    storage = ColbertStorage(bits=2, pool=2, seed=3)
    encode_to_parquet(DOCUMENTS, tiny_m3, tmp_path, colbert=storage, dense="float16")
    files = read_vectors(tmp_path)
    assert files.schema.colbert_storage == storage
    assert files.dense == "float16"
    for record, one in zip(files, encoded(tiny_m3), strict=True):
        assert np.array_equal(record.vectors.colbert_codes, storage.encode(one.colbert))
        assert np.array_equal(record.vectors.dense, one.dense.astype(np.float16))
        assert record.vectors.colbert is None


def test_compact_says_its_bits_and_false_leaves_colbert_vectors_out(tmp_path, tiny_m3):
    encode_to_parquet(DOCUMENTS, tiny_m3, tmp_path / "compact", colbert="compact")
    assert read_vectors(tmp_path / "compact").schema.colbert_storage.bits is not None
    encode_to_parquet(DOCUMENTS, tiny_m3, tmp_path / "none", colbert=False)
    assert read_vectors(tmp_path / "none").schema.colbert_dimension is None


def test_a_model_of_dense_vectors_gives_files_of_these(tmp_path, tiny_bert):
    encode_to_parquet(DOCUMENTS, tiny_bert, tmp_path)
    assert pq.read_schema(next(tmp_path.glob("*.parquet"))).names == ["id", "text", "metadata", "dense"]
    assert len(read_vectors(tmp_path)) == 60


def test_files_are_rolled_at_a_size(tmp_path, tiny_m3, monkeypatch):
    in_batches_of(monkeypatch, 5)
    report = encode_to_parquet(DOCUMENTS, tiny_m3, tmp_path, file_bytes=SMALL)
    assert len(report.files) > 3
    assert [file.name for file in report.files] == [f"part-{number:05}.parquet" for number in range(len(report.files))]
    assert sorted(tmp_path.iterdir()) == list(report.files)
    check_complete(tmp_path, tiny_m3)


def test_the_same_documents_again_encode_nothing_and_more_are_added(tmp_path, tiny_m3):
    encode_to_parquet(DOCUMENTS[:40], tiny_m3, tmp_path)
    again = encode_to_parquet(DOCUMENTS[:40], tiny_m3, tmp_path)
    assert (again.written, again.found) == (0, 40)
    more = encode_to_parquet(DOCUMENTS, tiny_m3, tmp_path)
    assert (more.written, more.found) == (20, 40)
    check_complete(tmp_path, tiny_m3)


def test_what_was_encoded_before_an_error_of_the_source_is_kept(tmp_path, tiny_m3, monkeypatch):
    in_batches_of(monkeypatch, 5)

    def broken():
        yield from DOCUMENTS[:27]
        raise OSError("the cable was pulled")

    with pytest.raises(OSError, match="cable"):
        encode_to_parquet(broken(), tiny_m3, tmp_path)
    with pytest.raises(SourceError, match=r"does not hold all documents yet: repeat the command .* partial=True"):
        read_vectors(tmp_path)
    assert len(read_vectors(tmp_path, partial=True)) == 25
    report = encode_to_parquet(DOCUMENTS, tiny_m3, tmp_path)
    assert (report.written, report.found) == (35, 25)
    check_complete(tmp_path, tiny_m3)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_process_that_was_killed_goes_on_after_its_last_complete_file(tmp_path, tiny_m3, tiny_m3_directory):
    documents = [Document(str(number), f"text number {number} " * 20, {}) for number in range(800)]
    source, directory = tmp_path / "docs.jsonl", tmp_path / "vectors"
    source.write_text("".join(json.dumps({"id": one.id, "text": one.text}) + "\n" for one in documents))
    script = (
        "import sys; from flagvec import BGEM3FlagModel; from flagvec.ingest import parquet, sources;"
        "parquet._DOCUMENTS_PER_BATCH = 50;"
        f"parquet.encode_to_parquet(sources.DocumentReader({str(source)!r}),"
        f" BGEM3FlagModel({str(tiny_m3_directory)!r}, use_fp16=False, devices='cpu'),"
        f" {str(directory)!r}, file_bytes=300_000)"
    )
    for kills in range(2):
        process = subprocess.Popen([sys.executable, "-c", script])
        before, deadline = rows_in(directory), time.monotonic() + 300
        while rows_in(directory) == before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, f"it ended before kill {kills}"
        assert rows_in(directory) > before
    written = rows_in(directory)
    report = encode_to_parquet(DocumentReader(source), tiny_m3, directory, file_bytes=300_000)
    assert (report.found, report.written) == (written, 800 - written)
    check_complete(directory, tiny_m3, documents)
    assert {file.suffix for file in directory.iterdir()} == {".parquet"}


@pytest.mark.parametrize(
    "change",
    [
        lambda documents: documents[:10],
        lambda documents: documents[1:],
        lambda documents: [*documents[:20], replace(documents[20], text="other"), *documents[21:]],
        lambda documents: [*documents[:20], replace(documents[20], metadata={"n": -1}), *documents[21:]],
    ],
    ids=["fewer", "shifted", "another text", "other metadata"],
)
def test_other_documents_are_refused(tmp_path, tiny_m3, change):
    encode_to_parquet(DOCUMENTS[:40], tiny_m3, tmp_path)
    with pytest.raises(SourceError, match=r"holds the vectors of 40 documents, and these are not the first ones"):
        encode_to_parquet(change(DOCUMENTS), tiny_m3, tmp_path)


@pytest.mark.parametrize("options", [{"dense": "float16"}, {"colbert": False}, {"colbert": "compact"}], ids=str)
def test_another_form_is_refused_before_anything_is_encoded(tmp_path, tiny_m3, options):
    encode_to_parquet(DOCUMENTS, tiny_m3, tmp_path)
    with pytest.raises(SourceError, match="holds vectors of another model, or in another form"):
        encode_to_parquet(DOCUMENTS, tiny_m3, tmp_path, **options)
    check_complete(tmp_path, tiny_m3)


def test_a_model_that_cuts_texts_elsewhere_is_refused(tmp_path, tiny_m3, tiny_m3_directory):
    encode_to_parquet(DOCUMENTS, tiny_m3, tmp_path)
    shorter = BGEM3FlagModel(str(tiny_m3_directory), devices="cpu", passage_max_length=4)
    with pytest.raises(SourceError, match="another model, or in another form"):
        encode_to_parquet(DOCUMENTS, shorter, tmp_path)


def test_files_say_where_the_model_cuts_texts(tmp_path, tiny_m3):
    encode_to_parquet(DOCUMENTS, tiny_m3, tmp_path)
    assert read_vectors(tmp_path).limits == {
        "passage_max_length": tiny_m3.passage_max_length,
        "colbert_pool_factor": tiny_m3.colbert_pool_factor,
    }


def test_invalid_documents_are_reported_and_the_others_written(tmp_path, tiny_m3):
    bad = [Document("", "no id"), *DOCUMENTS[:3], Document("m", "x", {"n": float("nan")})]
    failures = []
    report = encode_to_parquet(bad, tiny_m3, tmp_path, on_failure=failures.append)
    assert (report.written, report.failed) == (3, 2)
    assert [one.id for one in failures] == ["documents[0]", "m"]
    assert "an id has 1 to 512" in failures[0].reason
    check_complete(tmp_path, tiny_m3, DOCUMENTS[:3])


def test_the_first_invalid_document_is_an_error_without_anyone_to_tell(tmp_path, tiny_m3):
    with pytest.raises(ValueError, match="an id has 1 to 512"):
        encode_to_parquet([*DOCUMENTS[:3], Document("", "no id")], tiny_m3, tmp_path)


def test_a_bad_line_of_a_file_is_reported_with_its_place(tmp_path, tiny_m3):
    source = tmp_path / "docs.jsonl"
    source.write_text('{"id": "a", "text": "b"}\nno json\n')
    failures = []
    encode_to_parquet(DocumentReader(source), tiny_m3, tmp_path / "vectors", on_failure=failures.append)
    assert [one.id for one in failures] == [f"{source}:2"]


def test_documents_are_read_as_they_are_needed(tmp_path, tiny_m3, monkeypatch):
    in_batches_of(monkeypatch, 5)
    read = []

    def documents():
        for one in DOCUMENTS:
            read.append(one)
            yield one

    progress = []
    encode_to_parquet(
        documents(), tiny_m3, tmp_path, on_progress=lambda report: progress.append((report.written, len(read)))
    )
    assert progress[-1] == (60, 60)
    assert all(seen - written <= 16 for written, seen in progress)
    assert len(progress) > 10


def test_texts_that_are_cut_off_are_counted(tmp_path, tiny_m3):
    report = encode_to_parquet([Document("a", "word " * 10_000), Document("b", "word")], tiny_m3, tmp_path)
    assert report.truncated == 1


@pytest.mark.parametrize("options", [{"dense": "float64"}, {"file_bytes": 0}, {"colbert": "small"}], ids=str)
def test_a_wrong_argument_is_refused_before_anything_is_made(tmp_path, tiny_m3, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        encode_to_parquet(DOCUMENTS, tiny_m3, tmp_path / "vectors", **options)
    assert not (tmp_path / "vectors").exists()


# Reading


def test_a_directory_without_files_is_refused(tmp_path):
    with pytest.raises(SourceError, match="holds no files of vectors: flagvec encode and flagvec export write them"):
        read_vectors(tmp_path)
    with pytest.raises(SourceError, match="holds no files of vectors"):
        read_vectors(tmp_path / "missing")


def test_a_damaged_file_is_named(tmp_path, tiny_m3):
    encode_to_parquet(DOCUMENTS, tiny_m3, tmp_path)
    [file] = tmp_path.glob("*.parquet")
    data = file.read_bytes()
    file.write_bytes(data[:-50])
    with pytest.raises(SourceError, match=r"part-00000.parquet' is damaged"):
        read_vectors(tmp_path)
    file.write_bytes(data[:100] + bytes(2_000) + data[2_100:])
    with pytest.raises(SourceError, match=r"part-00000.parquet' is damaged"):
        list(read_vectors(tmp_path))


def test_files_of_two_models_do_not_go_together(tmp_path, tiny_m3, tiny_bert):
    encode_to_parquet(DOCUMENTS, tiny_m3, tmp_path / "one")
    encode_to_parquet(DOCUMENTS, tiny_bert, tmp_path / "two")
    (tmp_path / "two" / "part-00000.parquet").rename(tmp_path / "one" / "part-00001.parquet")
    with pytest.raises(SourceError, match="hold vectors of different models or forms"):
        read_vectors(tmp_path / "one")


def test_reading_stops_where_the_reader_does(tmp_path, tiny_m3):
    encode_to_parquet(DOCUMENTS, tiny_m3, tmp_path)
    assert [one.document.id for one in islice(read_vectors(tmp_path), 2)] == ["0", "1"]


# One writer at a time


def test_two_writers_of_one_directory_are_refused(tmp_path, tiny_m3):
    def documents():
        yield from DOCUMENTS[:5]
        with pytest.raises(SourceError, match="another process is writing into"):
            encode_to_parquet(DOCUMENTS, tiny_m3, tmp_path)
        yield from DOCUMENTS[5:]

    assert encode_to_parquet(documents(), tiny_m3, tmp_path).written == 60
    check_complete(tmp_path, tiny_m3)


def test_a_call_that_is_refused_leaves_a_complete_directory_complete(tmp_path, tiny_m3):
    encode_to_parquet(DOCUMENTS[:40], tiny_m3, tmp_path)
    with pytest.raises(SourceError):
        encode_to_parquet(DOCUMENTS[1:], tiny_m3, tmp_path)
    with pytest.raises(SourceError):
        encode_to_parquet(DOCUMENTS, tiny_m3, tmp_path, colbert=False)
    check_complete(tmp_path, tiny_m3, DOCUMENTS[:40])


def test_no_documents_are_a_directory_of_none(tmp_path, tiny_m3):
    assert encode_to_parquet([], tiny_m3, tmp_path).written == 0
    assert list(read_vectors(tmp_path)) == []
    assert encode_to_parquet(DOCUMENTS, tiny_m3, tmp_path).written == 60
    check_complete(tmp_path, tiny_m3)


def test_files_of_vectors_are_no_source_of_documents(tmp_path, tiny_m3):
    encode_to_parquet(DOCUMENTS, tiny_m3, tmp_path)
    with pytest.raises(SourceError, match="holds documents with their vectors: flagvec load writes them to a store"):
        list(DocumentReader(tmp_path / "part-00000.parquet"))
