"""Documents and vectors through Parquet files from one kind of store into others, and back."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flagvec import ColbertStorage, Document, StoreError
from flagvec.errors import SourceError
from flagvec.ingest import DocumentReader, Splitter, ingest

pytest.importorskip("pyarrow")

from flagvec.ingest.loading import load, unit
from flagvec.ingest.parquet import encode_to_parquet, export, read_vectors

HERE = Path(__file__).parent
HALF = 1e-3
HOSTILE = [
    "\x00",
    "\"'\\",
    "a'; DROP TABLE x;--",
    "é\u0301",
    "米飯 😀",
    " leading and trailing ",
    "\u202e",
    "%s {0}\n\t",
    "x" * 400,
]
DOCUMENTS = [
    Document(f"{HOSTILE[number % 9]}#{number}", f"word{number} shared {HOSTILE[number % 9]}", {
        "n": number, HOSTILE[number % 9]: [HOSTILE[(number + 1) % 9], None, 0.1, {"": True}], "big": 2**63 - 1,
    })
    for number in range(30)
] + [Document("without words", "", {})]  # fmt: skip


@pytest.fixture
def make(load_module: Callable[[Path], Any], seeded: Any) -> Iterator[Callable[..., Any]]:
    """A function that makes an empty store of a kind: ``edge``, ``milvus-lite`` or ``elasticsearch``."""
    factories = {
        one.name: one
        for package in ("qdrant", "milvus", "elasticsearch")
        for one in load_module(HERE / f"flagvec_{package}" / "factory.py").FACTORIES
    }
    made: list[tuple[Any, str, Any]] = []

    def make(kind: str, **options: Any) -> Any:
        factory, name = factories[kind], f"flagvec_test_{uuid.uuid4().hex}"
        if (reason := factory.skip_reason()) is not None:
            pytest.skip(reason)
        store = factory.make(seeded(), name, **options)
        made.append((factory, name, store))
        store.create()
        return store

    yield make
    for factory, name, store in made:
        store.close()
        factory.cleanup(name)


def by_id(records: Any) -> dict[str, Any]:
    return {record.document.id: record for record in records}


def check_equal(found: Any, wanted: Any, weights: float = 0.0) -> None:
    """Check that records are the same, lexical weights up to a relative error."""
    assert found.keys() == wanted.keys()
    for name, one in found.items():
        other = wanted[name]
        assert one.document == other.document
        np.testing.assert_allclose(one.vectors.dense, other.vectors.dense, atol=1e-6)
        assert (one.vectors.sparse or {}) == pytest.approx(dict(other.vectors.sparse or {}), rel=weights, abs=0)
        assert rows(one).shape == rows(other).shape
        np.testing.assert_allclose(rows(one), rows(other), atol=HALF)
        if one.vectors.colbert_codes is not None and other.vectors.colbert_codes is not None:
            assert np.array_equal(one.vectors.colbert_codes, other.vectors.colbert_codes)


def rows(record: Any) -> Any:
    """Return a record's ColBERT vectors, also those in codes of 16 bits; none if it has none."""
    found, codes = record.vectors.colbert, record.vectors.colbert_codes
    if codes is not None and codes.shape[1] == 32:
        found = codes.view("<f2").astype(np.float32)
    return np.empty((0, 16)) if found is None or not len(found) else found


def test_edge_to_files_to_milvus_lite_to_files_to_elasticsearch(make, tmp_path):
    edge = make("edge", colbert="native")
    milvus, elastic = (make(kind, colbert=ColbertStorage(bits=16)) for kind in ("milvus-lite", "elasticsearch"))
    edge.add(DOCUMENTS).raise_for_failures()
    origin = by_id(edge.scroll_vectors())
    assert export(edge, tmp_path / "edge").written == len(DOCUMENTS)
    check_equal(by_id(read_vectors(tmp_path / "edge")), origin)
    load(tmp_path / "edge", milvus, on_error="raise")
    check_equal(by_id(milvus.scroll_vectors()), origin)
    export(milvus, tmp_path / "milvus")
    check_equal(by_id(read_vectors(tmp_path / "milvus")), origin)
    load(tmp_path / "milvus", elastic, on_error="raise")
    check_equal(by_id(elastic.scroll_vectors()), origin)
    assert [hit.id for hit in elastic.search("word7", mode="sparse", limit=1)] == [DOCUMENTS[7].id]


def test_codes_stay_byte_by_byte_from_store_to_store(make, tmp_path):
    storage = ColbertStorage(bits=4, pool=2, seed=5)
    edge, milvus, elastic = (make(kind, colbert=storage) for kind in ("edge", "milvus-lite", "elasticsearch"))
    edge.add(DOCUMENTS).raise_for_failures()
    origin = by_id(edge.scroll_vectors())
    export(edge, tmp_path / "edge")
    assert read_vectors(tmp_path / "edge").schema.colbert_storage == storage
    load(tmp_path / "edge", milvus, on_error="raise")
    export(milvus, tmp_path / "milvus")
    load(tmp_path / "milvus", elastic, on_error="raise")
    check_equal(by_id(elastic.scroll_vectors()), origin)
    assert all(one.vectors.colbert_codes is not None for one in origin.values())
    for query in ("word7 shared", "word12"):
        there, here = (one.search(query, rerank="colbert", limit=3) for one in (edge, elastic))
        assert [hit.id for hit in there] == [hit.id for hit in here]
        assert [hit.score for hit in there] == pytest.approx([hit.score for hit in here], abs=1e-4)


def test_vectors_of_files_are_packed_as_each_store_asks(make, seeded, tmp_path):
    encode_to_parquet(DOCUMENTS, seeded(), tmp_path)
    storage = ColbertStorage(bits=4)
    native, codes, none = make("edge"), make("edge", colbert=storage), make("edge", colbert=False)
    report = load(tmp_path, {"native": native, "codes": codes, "none": none}, on_error="raise")
    assert all(one.written == len(DOCUMENTS) for one in report.stores.values())
    assert report.encoded == 0
    vectors = by_id(read_vectors(tmp_path))
    check_equal(by_id(native.scroll_vectors()), vectors)
    for name, record in by_id(codes.scroll_vectors()).items():
        assert np.array_equal(record.vectors.colbert_codes, storage.encode(vectors[name].vectors.colbert))
    assert all(not len(rows(record)) for record in none.scroll_vectors())


def test_codes_of_files_are_decoded_for_a_store_of_another_form(make, seeded, tmp_path):
    given, other = ColbertStorage(bits=8), ColbertStorage(bits=4, seed=1)
    encode_to_parquet(DOCUMENTS, seeded(), tmp_path, colbert=given)
    same, native, codes = make("edge", colbert=given), make("edge"), make("edge", colbert=other)
    load(tmp_path, {"same": same, "native": native, "codes": codes}, on_error="raise")
    files = by_id(read_vectors(tmp_path))
    check_equal(by_id(same.scroll_vectors()), files)
    decoded = {name: unit(given.codec(16).decode(one.vectors.colbert_codes)) for name, one in files.items()}
    for name, record in by_id(native.scroll_vectors()).items():
        np.testing.assert_allclose(rows(record), decoded[name], atol=HALF)
    for name, record in by_id(codes.scroll_vectors()).items():
        assert np.array_equal(record.vectors.colbert_codes, other.encode(decoded[name]))


def test_files_without_colbert_vectors_do_not_fit_a_store_with_them(make, seeded, tmp_path):
    encode_to_parquet(DOCUMENTS, seeded(), tmp_path, colbert=False)
    with pytest.raises(StoreError, match=r"the directory '.*' holds no ColBERT vectors, but is opened"):
        load(tmp_path, make("edge"), on_error="raise")
    store = make("edge", colbert=False)
    load(tmp_path, store, on_error="raise")
    assert store.count() == len(DOCUMENTS)


def test_files_of_another_width_do_not_fit(make, seeded, tmp_path):
    encode_to_parquet(DOCUMENTS, seeded(dimension=8), tmp_path)
    with pytest.raises(StoreError, match="holds dense vectors of 8 dimensions"):
        load(tmp_path, make("edge"), on_error="raise")


def test_of_documents_with_one_id_the_last_is_loaded(make, seeded, tmp_path):
    encode_to_parquet([Document("a", "one"), Document("a", "two")], seeded(), tmp_path)
    store = make("edge")
    load(tmp_path, store, on_error="raise")
    [found] = store.scroll_vectors()
    assert found.document.text == "two"
    [wanted] = seeded().encode_corpus(["two"], True, True, True, True)["colbert_vecs"]
    np.testing.assert_allclose(found.vectors.colbert, wanted, atol=HALF)


def test_a_load_with_a_journal_goes_on_and_writes_nothing_twice(make, seeded, tmp_path):
    encode_to_parquet(DOCUMENTS, seeded(), tmp_path / "vectors")
    store = make("edge")
    options = {"journal": tmp_path / "journal"}
    assert load(tmp_path / "vectors", {"edge": store}, **options, on_error="raise").stores["edge"].written == len(
        DOCUMENTS
    )
    again = load(tmp_path / "vectors", {"edge": store}, **options, on_error="raise")
    assert again.stores["edge"].written == 0
    assert again.stores["edge"].unchanged == len(DOCUMENTS)


def test_damaged_vectors_in_files_go_to_the_dead_letters(make, seeded, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    encode_to_parquet(DOCUMENTS[:3], seeded(), tmp_path / "vectors")
    [file] = (tmp_path / "vectors").glob("*.parquet")
    table = pq.read_table(file)
    dense = np.array(table["dense"].to_pylist(), np.float32)
    dense[1] = 2.0
    column = pa.FixedSizeListArray.from_arrays(pa.array(dense.reshape(-1)), 16)
    pq.write_table(table.set_column(3, table.schema.field("dense"), column), file)
    store = make("edge")
    report = load(tmp_path / "vectors", {"edge": store}, dead_letters=tmp_path / "dead.jsonl")
    assert report.stores["edge"].refused == 1
    assert store.count() == 2
    assert "has length 8, not 1" in (tmp_path / "dead.jsonl").read_text()


def test_a_filter_chooses_what_is_exported(make, tmp_path):
    store = make("edge")
    store.add(DOCUMENTS)
    assert export(store, tmp_path, filter={"n": {"lt": 5}}, dense="float16").written == 5
    assert read_vectors(tmp_path).dense == "float16"


def test_an_export_refuses_a_directory_with_vectors_before_it_reads(make, tmp_path):
    store = make("edge")
    store.add(DOCUMENTS)
    export(store, tmp_path)
    with pytest.raises(SourceError, match="holds files of vectors already: choose another"):
        export(store, tmp_path)
    assert len(read_vectors(tmp_path)) == len(DOCUMENTS)


def test_an_export_of_an_empty_store_is_a_directory_without_documents(make, tmp_path):
    store = make("edge")
    assert export(store, tmp_path).written == 0
    assert len(read_vectors(tmp_path)) == 0
    load(tmp_path, store, on_error="raise")


def test_a_document_that_lost_its_colbert_vectors_is_exported_without_and_logged(make, tmp_path, caplog):
    store = make("elasticsearch")
    store.add(DOCUMENTS)
    store.client.update(index=store.index_name, id=DOCUMENTS[3].id, doc={"colbert": {"codes": "damaged"}}, refresh=True)
    export(store, tmp_path)
    assert "1 documents have no usable ColBERT vectors" in caplog.text
    found = by_id(read_vectors(tmp_path))
    assert len(found) == len(DOCUMENTS)


def test_bad_rows_of_a_file_go_to_the_dead_letters_which_are_a_source_again(make, tmp_path):
    source, dead = tmp_path / "docs.jsonl", tmp_path / "dead.jsonl"
    source.write_text('{"id": "a", "text": "one"}\nno json\n{"id": "b", "text": "two", "n": 1}\n{"text": 3}\n')
    store = make("edge")
    report = ingest(DocumentReader(source), stores={"edge": store}, dead_letters=dead)
    assert (report.read, report.invalid, store.count()) == (4, 2, 2)
    letters = list(DocumentReader(dead))
    assert [one.reason for one in letters] == [
        f"a dead letter without a document: {source}, line {line}: {reason}"
        for line, reason in (
            (2, "not JSON: Expecting value: line 1 column 1 (char 0)"),
            (4, "the column 'text' is int, not str: 3"),
        )
    ]
    with pytest.raises(ValueError, match=r"docs.jsonl, line 2: not JSON"):
        ingest(DocumentReader(source), stores={"edge": store}, on_error="raise")
    with pytest.raises(ValueError, match=r"docs.jsonl, line 2: not JSON"):
        store.add(DocumentReader(source))
    assert [failure.id for failure in store.add(DocumentReader(source), on_error="report").failed] == [
        f"{source}:2",
        f"{source}:4",
    ]


def test_parts_of_long_documents_are_found_with_their_parent(make, tiny_m3, tmp_path):
    sentences = [f"Sentence number {number} has a few words." for number in range(40)]
    splitter = Splitter(tiny_m3, 60)
    store = make("edge")
    ingest(splitter.split_all([Document("long", " ".join(sentences), {"n": 1})]), stores={"edge": store})
    assert store.count({"parent": "long"}) == store.count() > 2
    assert store.get("long#1")[0].metadata == {"n": 1, "parent": "long"}
