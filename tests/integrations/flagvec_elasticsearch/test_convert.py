"""Records as requests and answers as documents, on paper."""

import base64
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagvec import Document
from flagvec.store.backend import Record
from flagvec.store.vectors import TextVectors
from flagvec_elasticsearch import convert
from flagvec_elasticsearch.schema import Layout

generator = np.random.default_rng(0)


def unit_rows(*shape):
    rows = generator.normal(size=shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def record(metadata=None, *, text="some text", sparse=None, colbert=None, name="a"):
    return Record(Document(name, text, metadata or {}), TextVectors(unit_rows(8), sparse, colbert))


def written(one, layout=None, packed=False):
    [row] = convert.rows([one], layout or Layout(), packed)
    action, source, end = row.split(b"\n")
    assert end == b""
    return json.loads(action), json.loads(source)


def test_a_record_is_written_under_its_id_with_all_that_is_read_of_it():
    action, source = written(record({"lang": "en", "a.b": 1}, name='ü"/\x00'))
    assert action == {"index": {"_id": 'ü"/\x00'}}
    assert (source["id"], source["text"]) == ('ü"/\x00', "some text")
    assert source["metadata"] == {"lang": "en", "a.b": 1}
    assert source["typed"] == {"present": ["lang"], "strings": ["lang=en"]}


def test_lexical_weights_are_keyed_by_token_and_left_out_if_empty():
    assert written(record(sparse={7: 0.5, 4_294_967_295: 1e-8}))[1]["sparse"] == {"7": 0.5, "4294967295": 1e-8}
    assert "sparse" not in written(record(sparse={}))[1]


def test_dense_vectors_are_written_at_length_one_in_float32():
    one = record()
    off = Record(one.document, TextVectors(one.vectors.dense * np.float32(1.0009)))
    vector = np.array(written(off)[1]["dense"], dtype=np.float32)
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-6)
    assert vector == pytest.approx(one.vectors.dense, abs=1e-6)


def test_dense_vectors_are_packed_for_servers_that_take_base64():
    one = record()
    packed = written(one, packed=True)[1]["dense"]
    assert np.frombuffer(base64.b64decode(packed), ">f4") == pytest.approx(one.vectors.dense, abs=1e-6)


def test_colbert_vectors_are_counted_also_if_there_are_none():
    source = written(record(colbert=unit_rows(3, 8)))[1]
    assert (source["colbert_rows"], len(base64.b64decode(source["colbert"]))) == (3, 3 * 8 * 2)
    empty = written(record(colbert=unit_rows(0, 8)))[1]
    assert (empty["colbert_rows"], "colbert" in empty) == (0, False)
    assert not {"colbert", "colbert_rows"} & written(record())[1].keys()


def test_colbert_vectors_are_read_as_they_were_written():
    rows = unit_rows(3, 8)
    value = written(record(colbert=rows))[1]["colbert"]
    assert convert.colbert_rows(value, 3, 8) == pytest.approx(rows, abs=1e-3)


@pytest.mark.parametrize(
    "value",
    [
        None, 7, True, ["AAAA"], {"a": 1}, b"AAAA", "", "?" * 64, "A" * 61 + "===", "é" * 64,
        *(base64.b64encode(bytes(size)).decode() for size in (46, 47, 64)),
    ],
    ids=repr,
)  # fmt: skip
def test_damaged_colbert_vectors_are_none(value):
    assert convert.colbert_rows(value, 3, 8) is None


def test_a_record_is_written_on_the_condition_that_it_still_has_a_version():
    rows = convert.rows([record(name="a"), record(name="b")], Layout(), packed=False, versions={"b": (7, 2)})
    actions = [json.loads(row.split(b"\n")[0])["index"] for row in rows]
    assert actions == [{"_id": "a"}, {"_id": "b", "if_seq_no": 7, "if_primary_term": 2}]


def test_colbert_vectors_are_numbers_if_elasticsearch_compares_them():
    rows = unit_rows(3, 8)
    source = written(record(colbert=rows), Layout(colbert_field="rank_vectors"))[1]
    assert np.array(source["colbert"], np.float32) == pytest.approx(rows)
    assert "colbert_rows" not in source


strings = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | strings,
    lambda values: st.lists(values, max_size=4) | st.dictionaries(strings, values, max_size=4),
)


@given(st.dictionaries(strings, json_values, max_size=4))
def test_any_metadata_is_written_unchanged(metadata):
    assert json.dumps(written(record(metadata))[1]["metadata"]) == json.dumps(metadata)


def test_no_records_are_no_rows():
    assert convert.rows([], Layout(), packed=False) == []


def test_a_row_is_two_lines_in_the_order_of_the_records():
    rows = convert.rows([record(name="a\nb"), record(name="c")], Layout(), packed=False)
    lines = b"".join(rows).decode().splitlines()
    assert [json.loads(line)["index"]["_id"] for line in lines[::2]] == ["a\nb", "c"]
    assert [json.loads(line)["id"] for line in lines[1::2]] == ["a\nb", "c"]


def test_a_document_is_read_from_a_hit():
    hit = {"_id": "a", "_source": {"text": "one", "metadata": {"n": 1}}}
    assert convert.to_document(hit) == Document("a", "one", {"n": 1})
