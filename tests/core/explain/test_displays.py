"""What notebooks, terminals and papers show: nothing is run, nothing is too long, nothing depends on a theme."""

import json
import re
from html.parser import HTMLParser
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from flagvec import Document, Hit, M3Output, Weighted
from flagvec.explain import compare, show_weights
from flagvec.store.documents import Hits
from flagvec_qdrant import QdrantEdgeStore

QUERY = "program to manage passwords and logins"
ATTACK = "<script>alert('x')</script><img src=x onerror=alert(1)>"
HOSTILE = f'{ATTACK} " onmouseover="alert(2) passwords \u202eevil\u202c مكتبة ' + "x" * 100_000
# The texts are longer, and two of them would exceed this.
MOST_BYTES = 100_000
RENDERED = 24 * 4


class Tags(HTMLParser):
    """Collects tags and attributes, and checks that what is opened is closed."""

    def __init__(self, html):
        super().__init__()
        self.found, self.attributes, self.open, self.shown = set(), set(), [], ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.found.add(tag)
        self.attributes.update(name for name, _ in attributes)
        self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.shown += data


@pytest.fixture(scope="module")
def views(store, mini):
    hits = store.search(QUERY, fusion=Weighted(), explain=True)
    return {
        "hits": hits,
        "hit": hits[0],
        "explanation": store.explain(QUERY, hits[0]),
        "weights": show_weights(mini, hits[0].text),
        "comparison": compare(QUERY, store),
        "output": mini.encode_corpus([hit.text for hit in hits], return_sparse=True, return_colbert_vecs=True),
    }


@pytest.fixture(scope="module")
def hostile(mini, tmp_path_factory):
    """The same views of documents that try to break out."""
    with QdrantEdgeStore(mini, tmp_path_factory.mktemp("hostile") / "store") as store:
        store.create()
        store.add([Document(f"{ATTACK}{number}", HOSTILE, {ATTACK: HOSTILE, "b": [1]}) for number in range(30)])
        query = f"passwords {ATTACK}"
        hits = store.search(query, 30, fusion=Weighted(), explain=True)
        yield {
            "hits": hits,
            "hit": hits[0],
            "explanation": store.explain(query, hits[0]),
            "weights": show_weights(mini, HOSTILE),
            "comparison": compare(query, store),
        }


NAMES = ["hits", "hit", "explanation", "weights", "comparison"]


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_document_is_shown_harmless_and_cut(hostile, name):
    html = hostile[name]._repr_html_()
    tags = Tags(html)
    assert not tags.found & {"script", "img"}
    assert not any(name.startswith("on") for name in tags.attributes)
    assert len(html) < MOST_BYTES
    assert "<script>" in tags.shown or name == "comparison" or "passwords" in tags.shown


@pytest.mark.parametrize("name", [*NAMES, "output"])
def test_html_sets_no_colour_of_a_theme(views, name):
    html = views[name]._repr_html_()
    Tags(html)
    assert "white" not in html.replace("white-space", "") and "#fff" not in html and "#000" not in html
    assert "color:inherit" in html
    assert re.search(r"<(style|script)", html) is None


@pytest.mark.parametrize("name", [name for name in NAMES if name != "hit"])
def test_a_terminal_shows_no_more_than_fits(hostile, views, name):
    for view in (hostile[name], views[name]):
        console = Console(width=100, file=StringIO())
        console.print(view)
        printed = console.file.getvalue()
        assert printed.count("\n") < RENDERED
        assert "\u202e" not in printed and "\x1b" not in printed


@pytest.mark.parametrize("name", ["explanation", "weights", "comparison"])
def test_figures_are_drawn_without_pyplot(views, hostile, name, tmp_path):
    from matplotlib.figure import Figure

    for position, view in enumerate((views[name], hostile[name])):
        figure = view.figure()
        assert isinstance(figure, Figure)
        path = tmp_path / f"{position}.png"
        # A font of the machine may lack a script.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("warnings.warn", lambda *arguments, **options: None)
            figure.savefig(path)
        assert path.stat().st_size > 5_000


def test_no_figure_sets_global_state(run_python):
    code = """
import sys
from flagvec import BGEM3FlagModel
from flagvec.explain import show_weights
show_weights(BGEM3FlagModel("mini-m3", use_fp16=False), "How to cook rice.").figure()
print("matplotlib.figure" in sys.modules, "matplotlib.pyplot" in sys.modules)
"""
    assert run_python(code).strip() == "True False"


def test_hits_are_a_list_whose_slices_have_views_too(store):
    hits = store.search(QUERY)
    assert isinstance(hits, list) and hits == list(hits)
    assert type(hits[2:4]) is Hits and hits[2:4] == list(hits)[2:4]
    assert isinstance(hits[0], Hit)
    assert hits[:0]._repr_html_().count("No hits") == 1


def test_many_hits_print_few():
    hits = Hits(Hit(str(number), 1.0, "text " * 100, {}) for number in range(5_000))
    assert len(repr(hits)) < 3_000
    assert repr(hits).endswith("... 4,980 more]")
    assert repr(hits[:2]) == repr(list(hits[:2]))
    assert "4,990 more hits" in hits._repr_html_()


def test_hits_become_a_data_frame(store):
    hits = store.search(QUERY, 3, fusion=Weighted())
    frame = hits.to_pandas()
    assert frame["rank"].tolist() == [1, 2, 3]
    assert frame["id"].tolist() == [hit.id for hit in hits]
    assert frame["score_colbert"].tolist() == [hit.scores["colbert"] for hit in hits]
    assert frame["metadata.package"].tolist() == [hit.metadata["package"] for hit in hits]
    assert Hits().to_pandas().columns.tolist() == ["rank", "id", "score", "text"]


def test_the_words_of_the_query_are_marked_in_hits(store):
    html = store.search("library of the Haskell language")._repr_html_()
    assert re.search(r"<mark [^>]*>Haskell</mark>", html)
    assert not re.search(r"<mark [^>]*>the</mark>", html)


def test_a_hit_that_no_search_found_is_shown_without_marks():
    html = Hit("a", 0.5, "passwords", {"n": None})._repr_html_()
    assert "<mark" not in html and "passwords" in html


def test_a_hit_keeps_its_place_but_not_its_search_when_it_is_pickled(store):
    import pickle

    hit = store.search(QUERY)[0]
    copied = pickle.loads(pickle.dumps(hit))
    assert copied == hit and copied.origin is None and hit.origin.query == QUERY


def test_right_to_left_words_take_their_own_direction(store, mini):
    html = show_weights(mini, "مكتبة لمعالجة النصوص")._repr_html_()
    assert 'dir="auto"' in html
    assert ">مكتبة</mark>" in html
    assert "<bdi>مكتبة</bdi>" in Hit("مكتبة", 1.0, "a", {})._repr_html_()


def test_an_output_shows_sizes_whatever_it_holds(mini):
    whole = mini.encode("How to cook rice.", return_sparse=True, return_colbert_vecs=True)
    assert "384 numbers" in whole._repr_html_()
    assert "0 texts" in M3Output()._repr_html_()
    for output in (M3Output(lexical_weights=[{1: 0.5}, {}]), M3Output(dense_vecs=np.eye(70, dtype=np.float32))):
        html = output._repr_html_()
        Tags(html)
        assert len(html) < 3_000


def test_what_one_search_alone_finds_is_told(store):
    comparison = compare(QUERY, store, searches={"dense": {"mode": "dense"}, "sparse": {"mode": "sparse"}})
    dense, sparse = ({hit.id for hit in hits} for hits in comparison.searches.values())
    assert set(comparison.only["dense"]) == dense - sparse
    assert {name for name, ranks in comparison.ranks.items() if len(ranks) == 2} == dense & sparse
    assert json.dumps(comparison.ranks)


def test_a_word_weighs_as_much_as_its_heaviest_token(mini):
    shown = show_weights(mini, "fprintd reads fingerprints")
    weights = mini.encode("fprintd reads fingerprints", return_sparse=True)["lexical_weights"]
    read = shown.read
    for word, weight in zip(read.words, shown.words, strict=True):
        assert weight == max(weights.get(read.ids[position], 0.0) for position in word.tokens)
