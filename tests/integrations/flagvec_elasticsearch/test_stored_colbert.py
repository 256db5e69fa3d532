"""How an index keeps ColBERT vectors, on paper; the other tests run it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagvec import ColbertStorage, Document
from flagvec.late_interaction.stored import codes_to_text
from flagvec.scoring import colbert_score
from flagvec.store.backend import Record
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors
from flagvec_elasticsearch.convert import _source
from flagvec_elasticsearch.schema import Layout
from flagvec_elasticsearch.stored_colbert import Codes, HalfPrecision, stored_colbert

SCHEMA = Schema("tiny", dimension=8, sparse=False, colbert_dimension=8)
STORAGE = ColbertStorage(bits=4)
CODES = Codes(STORAGE.codec(8))
ROWS = np.eye(5, 8, dtype=np.float32)
QUERY = np.eye(3, 8, dtype=np.float32)
TEXT = codes_to_text(STORAGE.encode(ROWS))


def found(name="a", **colbert):
    return {"_source": {"colbert": colbert}, "fields": {"id": [name], "colbert.rows": [5]}}


@pytest.mark.parametrize(
    ("schema", "layout", "expected"),
    [
        (replace(SCHEMA, colbert_storage=STORAGE), Layout(), CODES),
        (SCHEMA, Layout(), HalfPrecision(8, (0,))),
        (SCHEMA, Layout(counts_rows=False), HalfPrecision(8, (0, None))),
        (SCHEMA, Layout(colbert_field="rank_vectors"), None),
        (replace(SCHEMA, colbert_dimension=None), Layout(), None),
    ],
)
def test_the_schema_and_the_layout_say_what_is_kept(schema, layout, expected):
    assert stored_colbert(schema, layout) == expected


@given(rows=st.integers(0, 50), width=st.integers(1, 40), bits=st.sampled_from([1, 2, 4, 8, 16]))
def test_the_size_of_codes_is_known_before_they_are_fetched(rows, width, bits):
    storage = ColbertStorage(bits=bits)
    codes = storage.encode(np.zeros((rows, width), np.float32))
    assert Codes(storage.codec(width)).size(rows) == len(codes_to_text(codes))


@given(rows=st.integers(0, 20))
def test_what_is_written_is_what_is_read(rows):
    codes = STORAGE.encode(np.eye(20, 8, dtype=np.float32)[:rows])
    record = Record(Document("a", "text"), TextVectors(np.eye(1, 8, dtype=np.float32)[0], colbert_codes=codes))
    source = _source(record, [1.0], Layout())
    assert source["colbert"]["rows"] == rows
    assert ("codes" in source["colbert"]) == bool(rows)
    assert not rows or CODES.is_intact({"_source": source}, rows)


def test_the_score_is_that_of_the_vectors_that_codes_stand_for():
    expected = colbert_score(QUERY, STORAGE.codec(8).decode(STORAGE.encode(ROWS)))
    assert CODES.comparison(QUERY)([found(codes=TEXT)], {"a": 5}) == {"a": pytest.approx(expected, abs=1e-4)}


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["codes", "rows"]), inner, max_size=2),
)


@given(colbert=anything, rows=st.none() | st.integers(-3, 9))
def test_whatever_another_tool_left_fails_no_search(colbert, rows):
    damaged = {"_source": {"colbert": colbert}, "fields": {"id": ["b"]}}
    scores = CODES.comparison(QUERY)([found(codes=TEXT), damaged], {"a": 5, "b": rows})
    assert scores.keys() == {"a"}


def test_a_document_of_which_nothing_was_found_is_damaged():
    assert not CODES.is_intact({"fields": {"colbert.rows": [5]}}, 5)
