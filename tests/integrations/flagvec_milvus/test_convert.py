import base64
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagvec import Document
from flagvec.store.backend import Record
from flagvec.store.vectors import TextVectors
from flagvec_milvus import convert
from flagvec_milvus.schema import Layout

LITE = Layout(native_colbert=False, metadata_parts=False, packed_terms=True)
SERVER = Layout(native_colbert=True, metadata_parts=True, packed_terms=False)

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)  # fmt: skip


def row_of(document, layout=LITE, **vectors):
    return convert.to_row(Record(document, TextVectors(**vectors)), layout)


def read_back(row):
    """Return a row as Milvus answers it: JSON fields parsed."""
    return {**row, "metadata": json.loads(row["metadata"])}


@given(metadata=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), values, max_size=4))
@pytest.mark.parametrize("layout", [LITE, SERVER], ids=["lite", "server"])
def test_a_document_comes_back_from_its_row(layout, metadata):
    document = Document("a", "text", metadata)
    assert convert.to_document(read_back(row_of(document, layout))) == document


@pytest.mark.parametrize("letter", ["x", "é", "米", "😀"])
def test_metadata_over_a_json_fields_size_go_into_parts_on_a_server(letter):
    document = Document("a", "text", {"long": letter * 100_000})
    row = row_of(document, SERVER)
    assert row["metadata"] == "{}"
    assert max(len(part.encode()) for part in row["metadata_parts"]) <= 65_535
    assert convert.to_document(read_back(row)) == document


def test_metadata_of_any_size_stay_in_one_field_on_lite():
    row = row_of(Document("a", "text", {"long": "x" * 1_000_000}))
    assert "metadata_parts" not in row
    assert len(row["metadata"]) > 1_000_000


@pytest.mark.parametrize("text", ["x" * 65_535, "米" * 21_845])
@pytest.mark.parametrize("layout", [LITE, SERVER], ids=["lite", "server"])
def test_a_text_of_as_many_bytes_as_a_field_holds_is_taken(layout, text):
    convert.check_document(Document("a", text), layout)


@pytest.mark.parametrize("text", ["x" * 65_536, "米" * 21_846])
@pytest.mark.parametrize("layout", [LITE, SERVER], ids=["lite", "server"])
def test_a_text_of_more_bytes_is_refused_by_name(layout, text):
    with pytest.raises(ValueError, match=r"document 'a': the text has 65,53\d bytes in UTF-8, .* at most 65,535"):
        convert.check_document(Document("a", text), layout)


def test_metadata_of_more_terms_than_a_server_takes_are_refused_by_name():
    document = Document("a", "text", {"tags": [f"tag{number}" for number in range(5_000)]})
    with pytest.raises(ValueError, match=r"document 'a': its metadata has 5,001 terms to filter by, .* at most 4,096"):
        convert.check_document(document, SERVER)
    convert.check_document(Document("a", "text", {"tags": document.metadata["tags"][:4_095]}), SERVER)


def test_metadata_of_any_number_of_terms_are_taken_by_lite():
    document = Document("a", "text", {"tags": [f"tag{number}" for number in range(5_000)]})
    convert.check_document(document, LITE)
    assert row_of(document)["terms"].count("|") == 5_001


def test_a_text_without_tokens_has_a_weight_that_no_query_asks_for():
    weights = row_of(Document("a", ""), sparse={})["sparse"]
    assert list(weights) == [convert.NO_TOKEN]
    assert 0 < weights[convert.NO_TOKEN] < 1e-37
    assert convert.own_score("sparse", TextVectors(sparse={1: 1.0}), weights) == 0.0


@pytest.mark.parametrize("tokens", [0, 1, 63, 64, 5_000])
def test_colbert_vectors_come_back_from_their_parts_in_half_precision(tokens):
    rows = np.random.default_rng(0).normal(size=(tokens, 384)).astype(np.float32)
    parts = convert.to_parts(rows)
    assert all(len(part) <= 65_535 for part in parts)
    assert np.array_equal(convert.colbert_rows(parts, 384), rows.astype(np.float16).astype(np.float32))


def test_colbert_vectors_in_the_shorter_parts_of_an_older_flagvec_are_read():
    rows = np.eye(4, dtype=np.float32)
    (text,) = convert.to_parts(rows)
    assert np.array_equal(convert.colbert_rows([text[:8], text[8:]], 4), rows)


@given(rows=st.integers(0, 3_000), width=st.integers(3, 300))
def test_codes_come_back_from_their_parts(rows, width):
    codes = np.random.default_rng(0).integers(0, 256, (rows, width), dtype=np.uint8)
    vectors = TextVectors(np.ones(8, np.float32), {1: 0.5}, colbert_codes=codes)
    row = convert.to_row(Record(Document("a", "text"), vectors), SERVER)
    assert all(len(part) <= 65_535 for part in row["colbert"])
    assert base64.b64decode(convert.from_parts(row["colbert"])) == codes.tobytes()


@pytest.mark.parametrize("value", [["AAAA", 1], [{"vector": [1.0]}]])
def test_a_field_of_something_else_than_text_has_no_text(value):
    assert convert.from_parts(value) is None


def test_native_colbert_vectors_are_structs_of_one_vector():
    (struct,) = row_of(Document("a", "text"), SERVER, colbert=np.array([[0.6, 0.8]], np.float32))["colbert"]
    assert list(struct) == ["vector"]
    assert struct["vector"].tolist() == pytest.approx([0.6, 0.8])


def test_native_colbert_vectors_are_compared_here_as_they_are_read_back():
    rows = convert.colbert_rows([{"vector": [0.6, 0.8]}, {"vector": [1.0, 0.0]}], 2)
    assert rows == pytest.approx(np.array([[0.6, 0.8], [1.0, 0.0]]))


@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=2_000),
    metadata=st.dictionaries(st.text("ab.", max_size=3), st.text() | st.integers(0, 9), max_size=5),
    layout=st.sampled_from([LITE, SERVER]),
)
def test_a_rows_size_is_a_bound_on_its_bytes(text, metadata, layout):
    vectors = TextVectors(np.ones(8, np.float32), {1: 0.5, 2: 0.25}, np.ones((3, 4), np.float32))
    row = convert.to_row(Record(Document("a", text, metadata), vectors), layout)
    strings = [value for value in row.values() if isinstance(value, str)]
    strings += [one for value in row.values() if isinstance(value, list) for one in value if isinstance(one, str)]
    floats = 8 + 2 * 2 + (12 if layout.native_colbert else 0)
    assert convert.row_bytes(row) >= sum(len(text.encode()) for text in strings) + 4 * floats
