"""Documents from files: every format, every option, and every way in which a file can be bad."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys

import pytest

from flagvec import Document
from flagvec.errors import SourceError
from flagvec.ingest.dead_letters import DeadLetters
from flagvec.ingest.report import FailedWrite
from flagvec.ingest.sources import BadRow, DocumentReader
from flagvec.store.documents import text_id

pa = pytest.importorskip("pyarrow")

ROWS = [{"id": str(number), "text": f"text {number} é米", "lang": "en", "n": number} for number in range(5)]
DOCUMENTS = [Document(row["id"], row["text"], {"lang": "en", "n": row["n"]}) for row in ROWS]


def write_lines(path, rows=ROWS):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def write_csv(path, delimiter=","):
    lines = [delimiter.join(ROWS[0]), *(delimiter.join(map(str, row.values())) for row in ROWS)]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def write_parquet(path):
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=2)
    return path


def write_arrow(path, new=None):
    import pyarrow.ipc

    table = pa.Table.from_pylist(ROWS)
    with (new or pyarrow.ipc.new_file)(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return path


def read(*sources, **options):
    return list(DocumentReader([str(source) for source in sources], **options))


def bad(*sources, **options):
    return [one for one in read(*sources, **options) if isinstance(one, BadRow)]


@pytest.mark.parametrize("name", ["docs.jsonl", "docs.ndjson", "docs.json"])
def test_each_line_of_json_is_a_document(tmp_path, name):
    assert read(write_lines(tmp_path / name)) == DOCUMENTS


@pytest.mark.parametrize(("name", "delimiter"), [("docs.csv", ","), ("docs.tsv", "\t")])
def test_values_of_csv_are_strings(tmp_path, name, delimiter):
    found = read(write_csv(tmp_path / name, delimiter))
    assert found == [Document(one.id, one.text, {"lang": "en", "n": str(one.metadata["n"])}) for one in DOCUMENTS]


def test_parquet_is_read(tmp_path):
    assert read(write_parquet(tmp_path / "docs.parquet")) == DOCUMENTS


def test_an_arrow_file_and_an_arrow_stream_are_read(tmp_path):
    import pyarrow.ipc

    assert read(write_arrow(tmp_path / "docs.arrow")) == DOCUMENTS
    assert read(write_arrow(tmp_path / "stream.arrow", pyarrow.ipc.new_stream)) == DOCUMENTS
    assert read(write_arrow(tmp_path / "docs.feather")) == DOCUMENTS


@pytest.mark.parametrize("write", [write_lines, write_csv])
@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_compressed_file_is_read_whatever_its_name_says(tmp_path, write, codec):
    suffix = ".jsonl" if write is write_lines else ".csv"
    plain = write(tmp_path / f"docs{suffix}")
    data = pa.compress(plain.read_bytes(), codec=codec, asbytes=True)
    if codec == "gzip":
        data = gzip.compress(plain.read_bytes())
    for name in (f"a{suffix}.gz", f"b{suffix}.zst", f"c{suffix}"):
        (tmp_path / name).write_bytes(data)
        assert read(tmp_path / name) == read(plain)


def test_gzip_files_that_were_joined_are_read_to_the_end(tmp_path):
    lines = write_lines(tmp_path / "docs.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "docs.jsonl.gz").write_bytes(b"".join(map(gzip.compress, lines)))
    assert read(tmp_path / "docs.jsonl.gz") == DOCUMENTS


def test_a_data_set_that_was_saved_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    assert read(tmp_path / "saved") == DOCUMENTS


def test_a_split_of_a_data_set_is_chosen_after_a_colon(tmp_path):
    datasets = pytest.importorskip("datasets")
    splits = {"train": datasets.Dataset.from_list(ROWS[:2]), "test": datasets.Dataset.from_list(ROWS[2:])}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    assert read(tmp_path / "saved") == DOCUMENTS[:2]
    assert read(f"{tmp_path / 'saved'}:test") == DOCUMENTS[2:]
    with pytest.raises(SourceError, match="no split 'dev'; it has 'train', 'test'"):
        read(f"{tmp_path / 'saved'}:dev")


def test_standard_input_is_read_as_json_lines_also_compressed(tmp_path):
    script = "from flagvec.ingest.sources import *; print([one.id for one in DocumentReader('-')])"
    data = write_lines(tmp_path / "docs.jsonl").read_bytes()
    for given in (data, gzip.compress(data)):
        found = subprocess.run([sys.executable, "-c", script], input=given, capture_output=True, check=True)
        assert found.stdout.decode().strip() == "['0', '1', '2', '3', '4']"


def test_empty_standard_input_is_refused():
    script = "from flagvec.ingest.sources import *; list(DocumentReader('-'))"
    found = subprocess.run([sys.executable, "-c", script], input=b"", capture_output=True, check=False)
    assert b"standard input holds no rows" in found.stderr


def test_several_files_and_patterns_are_read_in_order(tmp_path):
    for number, row in enumerate(ROWS):
        write_lines(tmp_path / f"part{4 - number}.jsonl", [row])
    assert [one.id for one in read(tmp_path / "part*.jsonl")] == ["4", "3", "2", "1", "0"]
    assert [one.id for one in read(tmp_path / "part1.jsonl", tmp_path / "part0.jsonl")] == ["3", "4"]
    (tmp_path / "sub").mkdir()
    write_lines(tmp_path / "sub" / "deep.jsonl", ROWS[:1])
    assert [one.id for one in read(tmp_path / "**" / "deep.jsonl")] == ["0"]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path):
    assert read(write_lines(tmp_path / "docs[1].jsonl")) == DOCUMENTS


def test_a_reader_can_be_read_twice(tmp_path):
    reader = DocumentReader(write_lines(tmp_path / "docs.jsonl"))
    assert list(reader) == list(reader) == DOCUMENTS


def test_the_share_that_was_read_grows_from_0_to_1(tmp_path):
    rows = [{"text": f"text {number}"} for number in range(20_000)]
    reader = DocumentReader([str(write_lines(tmp_path / f"{name}.jsonl", rows)) for name in "ab"])
    shares = [reader.share_read for _ in reader]
    assert shares == sorted(shares)
    assert shares[0] < 0.1
    assert 0.4 < shares[20_000] < 0.6
    assert reader.share_read == 1.0


def test_the_share_of_standard_input_is_not_known():
    assert DocumentReader("-").share_read is None


# Columns


def test_columns_are_chosen(tmp_path):
    rows = [{"key": 7, "body": "a text", "lang": "en", "other": 1}]
    path = write_lines(tmp_path / "docs.jsonl", rows)
    assert read(path, text="body", id="key", metadata=["lang"]) == [Document("7", "a text", {"lang": "en"})]
    assert read(path, text="body", id="key") == [Document("7", "a text", {"lang": "en", "other": 1})]
    assert read(path, text="body", metadata=[]) == [Document(text_id("a text"), "a text", {})]


def test_a_template_joins_columns(tmp_path):
    path = write_lines(
        tmp_path / "docs.jsonl", [{"id": "a", "title": "Rice", "body": "Cook it.", "year": None, "n": 3}]
    )
    [found] = read(path, text=r"{title}\n{body}")
    assert found == Document("a", "Rice\nCook it.", {"year": None, "n": 3})
    assert read(path, text="{{{n}}} {year}|{title}")[0].text == "{3} |Rice"


@pytest.mark.parametrize("template", ["{title", "{}", "{title!r}", "{n:3}", "{{}}"])
def test_a_template_that_is_not_one_is_refused(template):
    with pytest.raises(ValueError, match=r"text='.*'\{title"):
        DocumentReader("-", text=template)


@pytest.mark.parametrize("write", [write_csv, write_parquet, write_arrow])
def test_a_missing_column_of_a_table_lists_the_columns_there_are(tmp_path, write):
    suffix = {write_csv: ".csv", write_parquet: ".parquet", write_arrow: ".arrow"}[write]
    path = write(tmp_path / f"docs{suffix}")
    for options in ({"text": "body"}, {"id": "body"}, {"metadata": ["body"]}, {"text": "{text}{body}"}):
        with pytest.raises(SourceError, match="no column 'body'; the columns are 'id', 'text', 'lang', 'n'"):
            read(path, **options)


def test_json_lines_that_never_have_the_column_are_refused(tmp_path):
    path = write_lines(tmp_path / "docs.jsonl")
    with pytest.raises(
        SourceError, match=r"docs.jsonl, line 1: no column 'body'; the columns are 'id', 'text', 'lang'"
    ):
        read(path, text="body")
    endless = write_lines(tmp_path / "long.jsonl", [{"a": 1}] * 1_000)
    seen = []
    with pytest.raises(SourceError, match="no column 'text'"):
        seen.extend(DocumentReader(endless))
    assert not seen


def test_json_lines_of_which_some_lack_the_column_are_bad_rows(tmp_path):
    path = write_lines(tmp_path / "docs.jsonl", [{"a": 1}, *ROWS, {"b": 2}])
    found = read(path)
    assert [one for one in found if isinstance(one, Document)] == DOCUMENTS
    assert [(one.line, one.reason) for one in found if isinstance(one, BadRow)] == [
        (1, "no column 'text'; the columns are 'a'"),
        (7, "no column 'text'; the columns are 'b'"),
    ]


def test_a_metadata_column_that_no_line_has_is_refused(tmp_path):
    path = write_lines(tmp_path / "docs.jsonl")
    assert read(path, metadata=["lang"])[0].metadata == {"lang": "en"}
    with pytest.raises(SourceError, match=r"docs.jsonl, first \d+ rows: no column 'year'; the columns are .*'lang'"):
        read(path, metadata=["lang", "year"])


@pytest.mark.parametrize("first", [999, 1_000])
def test_a_metadata_column_must_be_in_the_first_thousand_lines(tmp_path, first):
    rows = [{"id": str(number), "text": "x"} for number in range(1_100)]
    rows[first]["year"] = 2020
    path = write_lines(tmp_path / "docs.jsonl", rows)
    if first < 1_000:
        found = {one.id: one.metadata for one in read(path, metadata=["year"])}
        assert found == {row["id"]: {"year": 2020} if "year" in row else {} for row in rows}
        return
    seen = []
    with pytest.raises(SourceError, match="If only later rows have it, do not choose metadata"):
        seen.extend(DocumentReader(path, metadata=["year"]))
    assert not seen


def test_a_row_in_the_form_of_a_document_is_one(tmp_path):
    path = write_lines(tmp_path / "docs.jsonl", [{"id": "a", "text": "b", "metadata": {"c": 1}}])
    assert read(path) == [Document("a", "b", {"c": 1})]
    assert read(path, text="text", metadata=["metadata"]) == [Document("a", "b", {"metadata": {"c": 1}})]


def test_dead_letters_are_read_as_the_documents_that_they_hold(tmp_path):
    letters = DeadLetters(tmp_path / "dead.jsonl")
    letters.add([FailedWrite(one.id, "too large", False, one) for one in DOCUMENTS], "store")
    letters.add([FailedWrite("docs.jsonl:3", "not JSON", False, None)], None)
    for options in ({}, {"text": "{title} {body}", "id": "key", "metadata": ["x"]}):
        *found, last = read(tmp_path / "dead.jsonl", **options)
        assert found == DOCUMENTS
        assert last.reason == "a dead letter without a document: not JSON"


# Bad input


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "cut', "not JSON: Unterminated string"),
        (b'{"text": "a"} x', "not JSON: Extra data"),
        (b"[1, 2]", "a JSON array, not an object"),
        (b"null", "a JSON null, not an object"),
        (b'"text"', "a JSON string, not an object"),
        (b'{"text": 3}', "the column 'text' is int, not str: 3"),
        (b'{"text": null}', "the column 'text' is NoneType, not str: None"),
        (b'{"id": true, "text": "a"}', "the column 'id' is bool; an id is a str, a whole number or a UUID"),
        (b'{"text": "\xff"}', "not JSON: 'utf-8' codec can't decode byte 0xff"),
        (b'{"text": ' + b"[" * 100_000, "not JSON: "),
        (b'{"text": "a", "n": ' + b"9" * 5_000 + b"}", "not JSON: Exceeds the limit"),
    ],
    ids=range(11),
)
def test_a_malformed_line_names_file_and_line_and_the_others_are_read(tmp_path, line, reason):
    good = b'{"id": "a", "text": "good"}\n'
    path = tmp_path / "docs.jsonl"
    path.write_bytes(good + b"\n" + line + b"\n" + good)
    first, found, last = read(path)
    assert first == last == Document("a", "good")
    assert (found.source, found.line, found.id) == (str(path), 3, f"{path}:3")
    assert found.reason.startswith(reason)
    assert str(found.error).startswith(f"{path}, line 3: {reason}")
    assert found.document is None


def test_the_mark_at_the_beginning_of_utf_8_is_no_part_of_the_text(tmp_path):
    for path in (write_lines(tmp_path / "docs.jsonl"), write_csv(tmp_path / "docs.csv")):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        assert [one.id for one in read(path)] == ["0", "1", "2", "3", "4"]


def test_a_json_array_says_how_to_make_lines_of_it(tmp_path):
    (tmp_path / "docs.json").write_text(json.dumps(ROWS))
    with pytest.raises(SourceError, match=r"holds a JSON array: write one object a line"):
        read(tmp_path / "docs.json")


def test_a_bad_row_of_csv_names_its_line(tmp_path):
    path = tmp_path / "docs.csv"
    path.write_bytes(b'id,text\n1,"two\nlines"\n2\n3,good\n4,b\xff\n5,"a"b\n6,last\n')
    found = read(path)
    assert [one.text for one in found if isinstance(one, Document)] == ["two\nlines", "good", "last"]
    assert [(one.line, one.reason) for one in found if isinstance(one, BadRow)] == [
        (4, "1 fields, and the header has 2"),
        (6, "the column 'text' is not UTF-8"),
        (7, "not CSV: ',' expected after '\"'"),
    ]


def test_a_quote_of_csv_that_is_never_closed_names_the_line_where_the_row_begins(tmp_path):
    (tmp_path / "docs.csv").write_text('id,text\n1,good\n2,"open\n3,lost\n')
    first, last = read(tmp_path / "docs.csv")
    assert first.id == "1"
    assert (last.line, last.reason) == (3, "not CSV: unexpected end of data")


def test_a_field_of_csv_may_be_long(tmp_path):
    (tmp_path / "docs.csv").write_text("id,text\n1," + "x" * 1_000_000 + "\n")
    assert len(read(tmp_path / "docs.csv")[0].text) == 1_000_000


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    (tmp_path / "docs.csv").write_text("text,text\na,b\n")
    with pytest.raises(SourceError, match="more than one column 'text'"):
        read(tmp_path / "docs.csv")


def test_an_empty_file_says_so_before_anything_is_read(tmp_path):
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(SourceError, match=r"empty.jsonl' is empty: it has 0 bytes"):
        DocumentReader([write_lines(tmp_path / "docs.jsonl"), tmp_path / "empty.jsonl"])


@pytest.mark.parametrize(("name", "text"), [("docs.jsonl", "\n\n"), ("docs.csv", "id,text\n")])
def test_a_file_without_rows_says_so(tmp_path, name, text, caplog):
    (tmp_path / name).write_text(text)
    with pytest.raises(SourceError, match=f"{name} holds no rows"):
        read(tmp_path / name)
    assert read(tmp_path / name, write_lines(tmp_path / "other.jsonl")) == DOCUMENTS
    assert f"{name} holds no rows" in caplog.text


def test_a_directory_says_so(tmp_path):
    with pytest.raises(SourceError, match=r"is a directory: name its files, for example '.*\*.jsonl'"):
        DocumentReader(tmp_path)


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(SourceError, match="there is no such file"):
        DocumentReader(tmp_path / "docs.jsonl")
    with pytest.raises(SourceError, match="no file has a name of this pattern"):
        DocumentReader(tmp_path / "*.jsonl")


def test_an_unknown_format_lists_the_known_ones(tmp_path):
    (tmp_path / "docs.txt").write_text("a")
    with pytest.raises(SourceError, match=r"'.txt' is not known; .*rename the file to one of .jsonl, .ndjson"):
        DocumentReader(tmp_path / "docs.txt")
    with pytest.raises(ValueError, match="format="):
        DocumentReader(tmp_path / "docs.txt", format="xml")
    (tmp_path / "docs.txt").write_text('{"id": "a", "text": "b"}')
    assert read(tmp_path / "docs.txt", format="jsonl") == [Document("a", "b")]


def test_a_file_cut_in_a_gzip_block_gives_what_is_before_and_then_says_so(tmp_path):
    rows = [{"id": str(number), "text": f"text {number * 7919 % 10007}"} for number in range(20_000)]
    data = gzip.compress(write_lines(tmp_path / "docs.jsonl", rows).read_bytes())
    (tmp_path / "cut.jsonl.gz").write_bytes(data[: len(data) // 2])
    seen = []
    with pytest.raises(SourceError, match=r"ends in the middle of a gzip block, after line \d+: .*get it again"):
        seen.extend(DocumentReader(tmp_path / "cut.jsonl.gz"))
    assert [one.id for one in seen] == [str(number) for number in range(len(seen))]
    assert len(seen) > 5_000


def test_a_file_cut_in_a_zstd_block_says_so(tmp_path):
    data = pa.compress(write_lines(tmp_path / "docs.jsonl").read_bytes(), codec="zstd", asbytes=True)
    (tmp_path / "cut.jsonl.zst").write_bytes(data[:-10])
    with pytest.raises(SourceError, match=r"cannot be read after line 0: .*"):
        read(tmp_path / "cut.jsonl.zst")


@pytest.mark.parametrize("write", [write_parquet, write_arrow])
def test_a_damaged_table_says_so(tmp_path, write):
    path = write(tmp_path / ("docs.parquet" if write is write_parquet else "docs.arrow"))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match=r"is damaged or not an? (Parquet|Arrow) file"):
        read(path)


def test_no_sources_are_refused():
    with pytest.raises(SourceError, match="sources is empty"):
        DocumentReader([])


def test_a_bad_row_has_the_text_of_its_line(tmp_path):
    path = tmp_path / "docs.jsonl"
    path.write_text('{"text": "a"}\nnot json\n')
    [row] = bad(path)
    assert row.id == f"{path}:2"
    assert row.content == "not json"
