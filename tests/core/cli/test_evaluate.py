"""``flagvec evaluate``, ``flagvec tune``, and searches with the settings that it writes."""

import json

import pytest

from flagvec.cli.stores import opened
from flagvec.search.settings import load_settings, save_settings
from flagvec.store.address import StoreAddress

ROWS = [
    {"id": "q1", "query": "bread in an oven", "relevant": ["bread"]},
    {"id": "q2", "query": "rice in water", "relevant": {"rice": 2, "soupe": 1}},
    {"id": "q3", "query": "la soupe", "relevant": ["soupe"]},
    {"id": "q4", "query": "cooked", "relevant": ["rice"]},
    {"id": "q5", "query": "hot", "relevant": ["bread"]},
]


@pytest.fixture
def queries(jsonl):
    return jsonl("q.jsonl", *ROWS)


def test_a_pipe_gets_a_line_for_each_search(flagvec, articles, queries):
    done = flagvec("evaluate", "--store", articles, "--queries", queries)
    assert (done.code, done.err) == (0, "")
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert [row[0] for row in rows][:3] == ["dense", "sparse", "rrf"] and len(rows) == 6
    # Three measures with the ends of their intervals, and two times.
    assert {len(row) for row in rows} == {12}


def test_json_has_measures_intervals_and_latency(flagvec, articles, queries):
    found = flagvec("evaluate", "--store", articles, "--queries", queries, "--json").json
    assert (found["queries"], found["documents"], found["notes"]) == (5, 3, [])
    one = found["searches"]["sparse"]
    assert one["measures"].keys() == {"MRR@10", "nDCG@10", "recall@10"}
    assert one["measures"]["MRR@10"].keys() == {"value", "low", "high"}
    assert 0 < one["store_ms"]["p50"] <= one["store_ms"]["p95"] and found["encoding_ms"]["p50"] > 0


def test_measures_and_the_number_of_queries_are_chosen(flagvec, articles, queries):
    options = ("--measure", "recall@1", "--measure", "MRR@2", "--limit", 2)
    found = flagvec("evaluate", "--store", articles, "--queries", queries, *options, "--json").json
    assert found["queries"] == 2
    assert list(found["searches"]["dense"]["measures"]) == ["recall@1", "MRR@2"]


def test_the_corpus_of_beir_is_ingested_and_evaluated_by_its_ids(flagvec, jsonl, tmp_path, tiny_m3_directory):
    corpus = [{"_id": name, "title": name, "text": f"{name} is good"} for name in ("bread", "rice", "soup")]
    jsonl("corpus.jsonl", *corpus)
    jsonl("queries.jsonl", {"_id": "q1", "text": "bread"}, {"_id": "q2", "text": "rice"})
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tbread\t1\nq2\trice\t1\n")
    ingest = ("ingest", "corpus.jsonl", "--store", "edge:./beir", "--model", tiny_m3_directory)
    assert flagvec(*ingest, "--id", "_id", "--text", r"{title}\n{text}").code == 0
    found = flagvec("evaluate", "--store", "edge:./beir", "--queries", ".", "--json").json
    assert found["queries"] == 2
    assert found["searches"]["sparse"]["measures"]["recall@10"]["value"] == 1


def test_documents_that_the_store_lacks_are_said(flagvec, articles, jsonl):
    file = jsonl("q.jsonl", *ROWS, {"query": "x", "relevant": ["gone"]})
    done = flagvec("evaluate", "--store", articles, "--queries", file)
    said = "1 of 4 relevant documents are not in the store ('gone') and count as not found, for 1 of 6 queries"
    assert done.code == 0 and done.err == f"flagvec: {said}\n"
    assert flagvec("evaluate", "--store", articles, "--queries", file, "--json").json["notes"] == [said]


@pytest.mark.parametrize("command", ["evaluate", "tune"])
@pytest.mark.parametrize(
    ("row", "code", "said"),
    [
        ({"query": "a", "relevant": []}, 1, "q.jsonl, line 1: query '1' has no relevant document: name at least one"),
        ({"query": "a"}, 1, "q.jsonl, line 1: it has 'query' and not 'relevant'"),
        ("{", 1, "q.jsonl, line 1: not JSON"),
    ],
)
def test_bad_queries_are_one_line(flagvec, articles, jsonl, command, row, code, said):
    done = flagvec(command, "--store", articles, "--queries", jsonl("q.jsonl", row))
    assert done.code == code and done.err.startswith(f"flagvec: {said}") and done.err.count("\n") == 1


def test_ids_of_another_corpus_are_one_line(flagvec, articles, jsonl):
    file = jsonl("q.jsonl", {"query": "a", "relevant": ["doc7"]})
    done = flagvec("evaluate", "--store", articles, "--queries", file)
    assert done.code == 2 and done.err.count("\n") == 1
    assert done.err.startswith("flagvec: the store has none of the 1 relevant ids, like 'doc7'; its own are like")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evaluate", "--measure", "MRR"], "measure 'MRR': add how many hits count"),
        (["evaluate", "--confidence", "95"], "confidence=95.0: give a number between 0 and 1"),
        (["evaluate", "--settings", "none.json"], "there is no such file; flagvec tune writes one"),
        (["tune", "--measure", "AP@10"], "measure='AP'"),
        (["tune", "--folds", "6"], "5 queries for folds=6"),
        (["tune", "--heatmap", "map.gifx"], "'map.gifx': a picture has a name that ends with"),
        (["tune", "-o", "none/tuned.json"], "'none' is no directory: make it, or choose another file"),
    ],
)
def test_a_wrong_argument_is_one_line_before_any_work(flagvec, articles, queries, arguments, said):
    command, *options = arguments
    done = flagvec(command, "--store", articles, "--queries", queries, *options)
    assert done.code in (1, 2) and said in " ".join(done.err.split())


def test_tune_writes_settings_that_search_and_evaluate_take(flagvec, articles, queries, tiny_m3, tmp_path):
    done = flagvec("tune", "--store", articles, "--queries", queries, "--steps", 4, "-o", "mine.json", "--json")
    assert done.code == 0
    assert (
        done.json["file"] == "mine.json"
        and done.json["search"] == json.loads((tmp_path / "mine.json").read_text())["search"]
    )
    options = load_settings("mine.json")
    hits = flagvec("search", "hot bread", "--store", articles, "--settings", "mine.json", "--json").json
    with opened(StoreAddress.parsed(articles), tiny_m3) as store:
        assert [hit["id"] for hit in hits] == [hit.id for hit in store.search("hot bread", **options)]
    rows = flagvec("evaluate", "--store", articles, "--queries", queries, "--settings", "mine.json").out.splitlines()
    assert rows[-1].startswith("mine.json\t")


def test_search_uses_the_weights_of_the_file(flagvec, articles, tmp_path):
    save_settings(tmp_path / "s.json", {"fusion": {"dense": 1, "colbert": 2}, "candidates": 2})
    done = flagvec("search", "bread", "--store", articles, "--settings", "s.json", "--limit", 3, "--json")
    assert done.code == 0
    assert all(hit["scores"].keys() == {"dense", "colbert"} for hit in done.json) and len(done.json) == 3


@pytest.mark.parametrize("option", [("--mode", "dense"), ("--fusion", "rrf"), ("--rerank",)])
def test_settings_take_the_place_of_what_they_hold(flagvec, articles, option):
    done = flagvec("search", "bread", "--store", articles, "--settings", "s.json", *option)
    assert done.code == 2 and f"--settings with {option[0]}: both say how to order the hits" in " ".join(
        done.err.split()
    )


def test_tune_says_what_it_gains(flagvec, articles, queries, tmp_path):
    done = flagvec("tune", "--store", articles, "--queries", queries, "--steps", 2, "--heatmap", "map.png")
    assert done.code == 0, done.err
    names = [line.split("\t")[0] for line in done.out.splitlines()]
    assert names == [
        "tuned, on held-out queries", "rrf", "equal weights", "gain over rrf", "gain over equal weights",
    ]  # fmt: skip
    assert done.err == "flagvec: wrote tuned.json and map.png\n"
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
