"""Records as rows of a Parquet file and back, whatever strings, numbers and vectors they have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flagvec import ColbertStorage, Document
from flagvec.errors import SourceError
from flagvec.store.backend import Record
from flagvec.store.schema import Schema
from flagvec.store.vectors import LARGEST_TOKEN_ID, TextVectors

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402

from flagvec.ingest.vector_layout import arrow_schema, described, fitted, to_batch, to_records  # noqa: E402

WIDTH = 6
STORAGE = ColbertStorage(bits=4)
SCHEMAS = {
    "dense": Schema("m", WIDTH, False, None),
    "sparse": Schema("m", WIDTH, True, None),
    "native": Schema("m", WIDTH, True, 4),
    "codes": Schema("m", WIDTH, True, 4, colbert_storage=STORAGE),
    "unknown model": Schema("a'\"\x00米", WIDTH, True, 4, "cls", True, "instruct: \n", ""),
}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
WEIGHTS = st.dictionaries(
    st.integers(0, LARGEST_TOKEN_ID), st.floats(2.0**-126, 2.0**100, width=32, allow_subnormal=False), max_size=5
)
HALVES = st.floats(-1, 1, width=16)


@st.composite
def records(draw, schema):
    vectors = TextVectors(dense=np.array(draw(st.lists(HALVES, min_size=WIDTH, max_size=WIDTH)), np.float32))
    if schema.sparse:
        vectors.sparse = draw(WEIGHTS)
    if schema.colbert_dimension is not None:
        rows = draw(st.lists(st.lists(HALVES, min_size=4, max_size=4), max_size=4))
        matrix = np.array(rows, np.float32).reshape(-1, 4)
        if schema.colbert_storage is None:
            vectors.colbert = matrix
        else:
            vectors.colbert_codes = schema.colbert_storage.encode(matrix)
    return Record(Document(draw(TEXTS), draw(TEXTS), draw(st.dictionaries(TEXTS, JSON, max_size=3))), vectors)


def check_equal(found, wanted):
    assert [one.document for one in found] == [one.document for one in wanted]
    for one, other in zip((record.vectors for record in found), (record.vectors for record in wanted), strict=True):
        assert one.sparse == other.sparse
        for name in ("dense", "colbert", "colbert_codes"):
            mine, theirs = getattr(one, name), getattr(other, name)
            assert (mine is None) == (theirs is None)
            if mine is not None:
                assert mine.dtype == theirs.dtype
                assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("dense", ["float32", "float16"])
@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_a_file_gives_back_what_was_written(schema, dense, tmp_path_factory):
    path = tmp_path_factory.mktemp("layout") / "part.parquet"

    @settings(deadline=None, max_examples=60)
    @given(st.lists(records(schema), max_size=5), st.integers(1, 5))
    def check(given_records, size):
        columns = arrow_schema(schema, dense)
        with pq.ParquetWriter(path, columns) as writer:
            writer.write_batch(to_batch(given_records, columns))
        with pq.ParquetFile(path) as file:
            assert described(file.metadata.metadata, "file") == (schema, dense)
            found = [
                record
                for batch in file.iter_batches(size)
                for record in to_records(fitted(batch, columns, "file"), schema)
            ]
        check_equal(found, given_records)

    check()


def test_types_of_other_tools_with_the_same_values_are_read():
    schema = SCHEMAS["native"]
    columns = arrow_schema(schema, "float32")
    vectors = TextVectors(np.ones(WIDTH, np.float32), {7: 0.5}, np.eye(2, 4, dtype=np.float32))
    batch = to_batch([Record(Document("a", "b", {"c": 1}), vectors)], columns)
    large = batch.cast(
        pa.schema([
            ("id", pa.large_string()), ("text", pa.large_string()), ("metadata", pa.large_string()),
            ("dense", pa.list_(pa.float64(), WIDTH)), ("sparse_ids", pa.large_list(pa.int64())),
            ("sparse_weights", pa.large_list(pa.float32())),
            ("colbert", pa.large_list(pa.list_(pa.float32(), 4))),
        ])
    )  # fmt: skip
    check_equal(to_records(fitted(large, columns, "file"), schema), to_records(batch, schema))


def test_a_missing_column_is_refused():
    schema = SCHEMAS["sparse"]
    columns = arrow_schema(schema, "float32")
    batch = to_batch([], columns).drop_columns(["sparse_ids"])
    with pytest.raises(SourceError, match=r"x has the columns id: string, .*its metadata promises .*sparse_ids"):
        fitted(batch, columns, "x")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "does not hold vectors of flagvec"),
        ({b"flagvec": b"no json"}, "does not hold vectors of flagvec"),
        ({b"flagvec": b'{"version": 1}'}, "does not hold vectors of flagvec"),
        ({b"flagvec": b'{"version": 2}'}, "has layout 2; this version of flagvec reads layout 1: update flagvec"),
    ],
)
def test_a_file_that_is_not_described_is_refused(metadata, message):
    with pytest.raises(SourceError, match=message):
        described(metadata, "file")


def test_damaged_codes_are_refused():
    schema = SCHEMAS["codes"]
    columns = arrow_schema(schema, "float32")
    vectors = TextVectors(np.ones(WIDTH, np.float32), {}, colbert_codes=STORAGE.encode(np.eye(2, 4, dtype=np.float32)))
    vectors.colbert_codes = vectors.colbert_codes.reshape(-1)[:-1]
    batch = to_batch([Record(Document("a", "b"), vectors)], columns)
    with pytest.raises(ValueError, match="no codes"):
        to_records(batch, schema)


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_a_slice_of_rows_has_the_vectors_of_its_rows(schema):
    @settings(deadline=None, max_examples=20)
    @given(st.lists(records(schema), min_size=3, max_size=5))
    def check(given_records):
        batch = to_batch(given_records, arrow_schema(schema, "float32"))
        check_equal(to_records(batch.slice(1, 2), schema), given_records[1:3])

    check()
