"""Documents from the rows of tables of several libraries."""

from datetime import datetime

import pytest

from flagvec import Document
from flagvec.store.documents import text_id

ROWS = [{"no": 1, "body": "Rice.", "lang": "en"}, {"no": 2, "body": "Brot.", "lang": "de"}]
EXPECTED = [Document("1", "Rice.", {"lang": "en"}), Document("2", "Brot.", {"lang": "de"})]


def as_arrow(rows):
    return pytest.importorskip("pyarrow").Table.from_pylist(rows)


def as_pandas(rows):
    return pytest.importorskip("pandas").DataFrame(rows)


def as_polars(rows):
    return pytest.importorskip("polars").DataFrame(rows)


def as_dataset(rows):
    return pytest.importorskip("datasets").Dataset.from_list(rows)


@pytest.mark.parametrize("make", [list, iter, as_arrow, as_pandas, as_polars, as_dataset])
def test_rows_become_documents_whatever_table_they_are_in(make):
    assert Document.from_records(make(ROWS), text="body", id="no") == EXPECTED


def test_without_a_column_of_ids_the_id_depends_on_the_text():
    (document, _) = Document.from_records(ROWS, text="body")
    assert document == Document(text_id("Rice."), "Rice.", {"no": 1, "lang": "en"})


def test_only_the_columns_that_are_named_become_metadata():
    assert Document.from_records(ROWS, text="body", id="no", metadata=[])[0].metadata == {}


def test_a_missing_value_of_a_data_frame_is_none():
    frame = as_pandas([{"text": "a", "when": datetime(2024, 1, 1), "n": 1.0}, {"text": "b", "when": None, "n": None}])
    assert Document.from_records(frame)[1].metadata == {"when": None, "n": None}


@pytest.mark.parametrize("argument", ["text", "id", "metadata"])
def test_a_column_that_is_not_there_names_those_that_are(argument):
    given = {"text": "body", argument: ["other"] if argument == "metadata" else "other"}
    with pytest.raises(ValueError, match=r"rows\[0\] has no column 'other'; it has 'no', 'body', 'lang'"):
        Document.from_records(ROWS, **given)


def test_a_text_that_is_missing_is_refused_by_its_row():
    with pytest.raises(TypeError, match=r"rows\[1\]\['text'\] is NoneType, not str"):
        Document.from_records([{"text": "a"}, {"text": None}])


@pytest.mark.parametrize("rows", ["text", {"text": "a"}, 3, {1, 2}])
def test_something_that_is_not_a_table_is_refused(rows):
    with pytest.raises(TypeError, match="rows takes a list of dicts, a pandas or polars DataFrame"):
        Document.from_records(rows)


def test_an_id_that_is_neither_text_nor_number_is_refused():
    with pytest.raises(TypeError, match=r"rows\[0\]\['id'\] is float; an id is a str, a whole number or a UUID"):
        Document.from_records([{"text": "a", "id": 1.0}], id="id")


@pytest.mark.parametrize("make", ["pandas", "arrow"])
def test_two_columns_of_one_name_are_refused(make):
    if make == "pandas":
        table = pytest.importorskip("pandas").DataFrame([["a", 1, 2]], columns=["text", "n", "n"])
    else:
        arrow = pytest.importorskip("pyarrow")
        table = arrow.Table.from_arrays([arrow.array(["a"]), arrow.array([1]), arrow.array([2])], ["text", "n", "n"])
    with pytest.raises(ValueError, match="rows has more than one column 'n'"):
        Document.from_records(table)


def test_one_column_alone_is_not_a_table():
    with pytest.raises(TypeError, match=r"rows\[0\] is str, not a dict"):
        Document.from_records(pytest.importorskip("pyarrow").array(["a"]))
    with pytest.raises(TypeError, match=r"rows\[0\] is str, not a dict"):
        Document.from_records(pytest.importorskip("pandas").Series(["a"]))
