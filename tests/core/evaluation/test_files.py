"""`read_queries`: JSON Lines, and the layouts of BEIR and MTEB."""

import gzip
import json

import pytest

from flagvec.errors import SourceError
from flagvec.evaluation import JudgedQuery, read_queries

QUERIES = [{"_id": "q1", "text": "loaf"}, {"_id": "q2", "text": "warm"}]
QRELS = [("q1", "bread", 2), ("q1", "rice", 0), ("q2", "soup", 1)]
EXPECTED = (JudgedQuery("q1", "loaf", {"bread": 2}), JudgedQuery("q2", "warm", {"soup": 1}))


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def write_tsv(path, rows=QRELS):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("query-id\tcorpus-id\tscore\n" + "".join(f"{a}\t{b}\t{c}\n" for a, b, c in rows))


def write_parquet(path, rows):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def as_rows(judgements):
    return [{"query-id": a, "corpus-id": b, "score": c} for a, b, c in judgements]


def test_a_line_has_a_query_and_what_is_relevant(tmp_path):
    write_lines(tmp_path / "q.jsonl", [{"query": "loaf", "relevant": ["bread"]}, {"query": "x", "relevant": {"y": 3}}])
    assert read_queries(tmp_path / "q.jsonl").queries == (
        JudgedQuery("1", "loaf", {"bread": 1}),
        JudgedQuery("2", "x", {"y": 3}),
    )


def test_a_compressed_file_and_the_first_queries_alone(tmp_path):
    with gzip.open(tmp_path / "q.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"id": f"q{n}", "text": "a", "relevant": ["b"]}) + "\n" for n in range(5))
    assert [query.id for query in read_queries(tmp_path / "q.jsonl.gz", limit=2)] == ["q0", "q1"]


def test_the_layout_of_beir(tmp_path):
    write_lines(tmp_path / "queries.jsonl", QUERIES)
    write_tsv(tmp_path / "qrels/test.tsv")
    write_tsv(tmp_path / "qrels/train.tsv", [("q1", "soup", 1)])
    assert read_queries(tmp_path).queries == EXPECTED
    assert read_queries(tmp_path / "queries.jsonl").queries == EXPECTED
    assert read_queries(tmp_path, split="train").queries == (JudgedQuery("q1", "loaf", {"soup": 1}),)


@pytest.mark.parametrize(
    ("queries", "qrels"),
    [
        ("queries/queries-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"),
        ("queries/test-00000-of-00001.parquet", "qrels/test-00000-of-00001.parquet"),
        ("queries.jsonl", "qrels/test.jsonl"),
        ("queries.jsonl", "default/test.jsonl"),
    ],
)
def test_the_layouts_of_mteb(tmp_path, queries, qrels):
    for name, rows in ((queries, QUERIES), (qrels, as_rows(QRELS))):
        (write_parquet if name.endswith("parquet") else write_lines)(tmp_path / name, rows)
    assert read_queries(tmp_path).queries == EXPECTED


def test_judgements_may_be_elsewhere(tmp_path):
    write_lines(tmp_path / "a.jsonl", QUERIES)
    write_tsv(tmp_path / "b.tsv")
    assert read_queries(tmp_path / "a.jsonl", qrels=tmp_path / "b.tsv").queries == EXPECTED


def test_what_is_left_out_is_counted(tmp_path):
    write_lines(tmp_path / "queries.jsonl", [*QUERIES, {"_id": "q3", "text": "of the train split"}])
    write_tsv(tmp_path / "qrels/test.tsv", [*QRELS, ("q9", "bread", 1)])
    found = read_queries(tmp_path)
    assert found.queries == EXPECTED
    assert [note.split(" queries")[0] for note in found.notes] == ["1 of 3", "1"]
    assert all(note.endswith(": left out") for note in found.notes)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['{"query": "a", "relevant": []}'], "q.jsonl, line 1: query '1' has no relevant document: name at least one"),
        (['{"query": "a"}'], "q.jsonl, line 1: it has 'query' and not 'relevant': add a list of the ids"),
        (['{"query": "a", "relevant": ["b"]}', "{"], "q.jsonl, line 2: not JSON"),
        (['{"id": 1, "query": "a", "relevant": ["b"]}'] * 2, "line 2: the id '1' is also that of line 1"),
        (["  "], "q.jsonl holds no queries"),
        ([], "is empty: it has 0 bytes"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path, lines, said):
    (tmp_path / "q.jsonl").write_text("\n".join(lines))
    with pytest.raises(SourceError, match=said):
        read_queries(tmp_path / "q.jsonl")


@pytest.mark.parametrize(
    ("judgements", "said"),
    [
        ("", "is empty: it has 0 bytes"),
        ("query-id\tcorpus-id\tscore\n", "holds no judgements: a line has the columns query-id, corpus-id and score"),
        ("query-id\tcorpus-id\tscore\nq1\tbread\t0\n", "calls no document relevant: a score of 1 or more does"),
        ("query-id\tcorpus-id\tscore\nq1\tbread\thigh\n", "line 2: the grade 'high' is not a whole number"),
        ("q1\t0\tbread\t1\nq2\t0\tsoup\t1\n", "no column 'query-id'; the columns are 'q1', '0', 'bread', '1'"),
        ("query-id\tcorpus-id\tscore\nother\tbread\t1\n", "ids like 'other', and those of the queries are like 'q1'"),
    ],
)
def test_bad_judgements_are_named(tmp_path, judgements, said):
    write_lines(tmp_path / "queries.jsonl", QUERIES)
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels/test.tsv").write_text(judgements)
    with pytest.raises(SourceError, match=said):
        read_queries(tmp_path)


def test_a_split_that_is_not_there_names_those_that_are(tmp_path):
    write_lines(tmp_path / "queries.jsonl", QUERIES)
    write_tsv(tmp_path / "qrels/dev.tsv")
    with pytest.raises(SourceError, match=r"no qrels of the split 'test'; qrels/ has dev, and split \(--split\)"):
        read_queries(tmp_path)


@pytest.mark.parametrize("path", ["none.jsonl", "."])
def test_a_path_without_queries_says_what_to_give(tmp_path, path):
    with pytest.raises(SourceError, match=r"give queries.jsonl and qrels/test.tsv as in BEIR"):
        read_queries(tmp_path / path)
