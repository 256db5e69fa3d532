"""``flagvec search``."""

import pytest


def test_hits_come_best_first_one_a_line(flagvec, articles):
    done = flagvec("search", "Bread is baked in a hot oven.", "--store", articles)
    assert done.code == 0
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert rows[0][1:] == ["bread", "Bread is baked in a hot oven."]
    assert [row[0] for row in rows] == sorted((row[0] for row in rows), reverse=True)


def test_json_has_all_of_a_hit(flagvec, articles):
    done = flagvec("search", "bread", "--store", articles, "--mode", "dense", "-n", 1, "--json")
    [hit] = done.json
    assert hit.keys() == {"id", "score", "text", "metadata", "scores"}
    assert hit["scores"] == {"dense": hit["score"]}


def test_the_model_is_the_one_of_the_store(flagvec, articles, tiny_m3):
    found = flagvec("search", "bread", "--store", articles, "--mode", "dense", "--json").json
    from flagvec.cli.stores import opened
    from flagvec.store.address import StoreAddress

    with opened(StoreAddress.parsed(articles), tiny_m3) as store:
        expected = store.search("bread", mode="dense")
    assert {hit["id"]: hit["score"] for hit in found} == pytest.approx(
        {hit.id: hit.score for hit in expected}, abs=1e-2
    )


@pytest.mark.parametrize(
    ("options", "ids"),
    [(["--filter", '{"lang": "fr"}'], ["soupe"]), (["--filter", '{"year": {"gte": 2022}}'], ["bread"])],
)
def test_a_filter_is_json(flagvec, articles, options, ids):
    found = flagvec("search", "bread", "--store", articles, *options, "--json")
    assert [hit["id"] for hit in found.json] == ids


def test_weights_are_json(flagvec, articles):
    done = flagvec("search", "bread", "--store", articles, "--fusion", '{"dense": 1, "colbert": 2}', "--json")
    assert all(hit["scores"].keys() == {"dense", "colbert"} for hit in done.json)


def test_explain_adds_a_column_for_each_representation(flagvec, articles):
    done = flagvec("search", "bread", "--store", articles, "--rerank", "--explain")
    assert all(len(line.split("\t")) == 6 for line in done.out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--filter", "lang=en"], "'lang=en' is not JSON"),
        (["--filter", "[1]"], 'is not a JSON object: write one like \'{"lang": "en"}\''),
        (["--fusion", "sum"], "'sum': write rrf, or weights like"),
        (["--limit", "0"], "--limit"),
        (["--mode", "lexical"], "--mode"),
    ],
)
def test_a_wrong_option_is_named(flagvec, arguments, said):
    done = flagvec("search", "bread", "--store", "edge:./articles", *arguments)
    assert done.code == 2
    assert said in " ".join(done.err.split())


@pytest.mark.parametrize("query", ["", " "])
def test_an_empty_query_is_refused(flagvec, articles, query):
    done = flagvec("search", query, "--store", articles)
    assert done.code == 2
    assert f"QUERY is {query!r}: write what to search for" in " ".join(done.err.split())


def test_what_the_library_refuses_is_a_wrong_argument_in_one_line(flagvec, articles):
    done = flagvec("search", "bread", "--store", articles, "--rerank", "--fusion", '{"dense": 1}')
    assert done.code == 2
    assert done.err.count("\n") == 1 and done.err.startswith("flagvec: rerank='colbert' orders the hits")


def test_a_store_that_is_not_there_is_one_line(flagvec):
    done = flagvec("search", "bread", "--store", "edge:./none")
    assert (done.code, done.out) == (1, "")
    assert done.err == "flagvec: edge:./none does not exist: flagvec ingest makes it, and flagvec load too\n"


def test_milvus_lite_is_not_made_by_a_search(flagvec, tmp_path):
    done = flagvec("search", "bread", "--store", "milvus-lite:./none.db/articles")
    assert done.code == 1 and "does not exist" in done.err
    assert not list(tmp_path.iterdir())
