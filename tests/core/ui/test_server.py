"""The page's server: who may ask it, and what it answers."""

import json
import urllib.error
import urllib.request

import pytest

from flagvec.ui import serve
from flagvec.ui.questions import Questions
from flagvec.ui.server import bound


def ask(url, path, body=None, **headers):
    """Return status, headers and text of an answer."""
    data = None if body is None else json.dumps(body).encode()
    given = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    try:
        with urllib.request.urlopen(urllib.request.Request(url + path, data, given), timeout=30) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8765"])
@pytest.mark.parametrize("path", ["", "api/store", "static/app.js"])
def test_another_host_name_is_refused(served, host, path):
    status, _, text = ask(served, path, Host=host)
    assert status == 400 and "flagvec" not in text


def test_a_page_of_another_site_cannot_ask(served):
    question = {"query": "bread"}
    assert ask(served, "api/search", question, Content_Type="text/plain")[0] == 415
    assert ask(served, "api/search", question, Sec_Fetch_Site="cross-site")[0] == 403


def test_every_answer_confines_the_page(served):
    for path in ("", "api/store", "static/style.css", "none"):
        policy = ask(served, path)[1]["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy


def test_no_file_outside_the_page_is_served(served):
    assert ask(served, "static/../app.py")[0] == 404
    assert ask(served, "static/..%2f..%2f__init__.py")[0] == 404


@pytest.mark.parametrize(
    ("question", "argument"),
    [
        ({"query": ""}, "query"),
        ({"query": 1}, "query"),
        ({"query": "a" * 20_001}, "query"),
        ({"query": "bread", "filter": {"kind": {"like": 1}}}, "filter"),
    ],
)
def test_a_wrong_value_is_named(served, question, argument):
    status, _, text = ask(served, "api/search", question)
    assert status == 400 and json.loads(text)["argument"] == argument


def test_a_document_that_is_gone_is_said_to_be_gone(served):
    status, _, text = ask(served, "api/explain", {"query": "bread", "id": "none", "score": 0.5})
    assert status == 400 and "'none' is not in the store any more" in text


def test_scores_of_a_search_are_the_stores(served, store):
    fusion = {"dense": 1, "sparse": 0.3, "colbert": 1}
    found = json.loads(ask(served, "api/search", {"query": "bread", "fusion": fusion})[2])["hits"]
    assert [(hit["id"], hit["score"]) for hit in found] == [
        (hit.id, pytest.approx(hit.score, abs=1e-6)) for hit in store.search("bread", fusion=fusion)
    ]


SEARCHES = [
    {"fusion": {"dense": 1, "sparse": 0.3, "colbert": 1}},
    {"fusion": {"colbert": 1}},
    {"fusion": "rrf"},
    {"fusion": "rrf", "filter": {"kind": "food"}},
    {"rerank": "colbert"},
    {"mode": "dense"},
    {"mode": "sparse"},
]


@pytest.mark.parametrize("kind", ["store", "compact"])
@pytest.mark.parametrize("options", SEARCHES, ids=json.dumps)
@pytest.mark.parametrize("query", ["how is bread baked?", "wheel 車輪", "the sea"])
def test_an_explanation_adds_up_to_the_score_of_the_search(request, kind, options, query):
    store = request.getfixturevalue(kind)
    questions = Questions(store)
    hits = questions.search({"query": query, **options})["hits"]
    assert hits
    for hit in hits:
        asked = {"query": query, "id": hit["id"], "score": hit["score"], **options}
        found = json.loads(json.dumps(questions.explain(asked), allow_nan=False))
        scores, table = found["scores"], found["alignment"]
        assert sum(part["amount"] for part in found["parts"]) == pytest.approx(hit["score"], abs=1e-4)
        assert sum(token["product"] for token in found["shared"]) == pytest.approx(scores["sparse"], abs=1e-4)
        assert sum(one["part"] for one in table["query"]) == pytest.approx(scores["colbert"], abs=1e-4)


@pytest.mark.parametrize("score", [None, True, "1", float("nan")])
def test_an_explanation_needs_the_score_that_it_explains(served, score):
    status, _, text = ask(served, "api/explain", {"query": "bread", "id": "bread", "score": score})
    assert status == 400 and json.loads(text)["argument"] == "score"


def test_a_page_begins_with_the_settings(store):
    about = Questions(store, settings={"fusion": {"dense": 1, "sparse": 0.25}, "candidates": 50}).about()
    assert about["weights"] == {"dense": 1, "sparse": 0.25, "colbert": 0} and about["candidates"] == 50
    assert Questions(store, settings={"fusion": "rrf"}).about()["ranking"] == "ranks"


def test_a_page_can_be_stopped_and_the_store_goes_on(store):
    with serve(store) as page:
        assert ask(page.url, "api/store")[0] == 200
    with pytest.raises(urllib.error.URLError):
        ask(page.url, "api/store")
    assert len(store) == 8


def test_a_port_in_use_is_said_to_be(served):
    port = int(served.rsplit(":", 1)[1].strip("/"))
    with pytest.raises(OSError, match=rf"port {port} is in use: pass --port with another one, or --port 0"):
        bound(port)
