import pytest

import demo
import quickstart
from debian import load_documents, load_queries

QUICKSTART_OUTPUT = """\
dense   (2, 384)
colbert [(10, 384), (9, 384)]
sparse  {'.': 0.07, 'a': 0.15, 'in': 0.13, 'is': 0.2, 'hot': 0.36, 'bread': 0.4, 'oven': 0.38, 'baked': 0.38}
0.0328 Bread is baked in a hot oven. {'dense': 0.59, 'sparse': 0.03}
0.0161 Rice is cooked in twice as much water. {'dense': 0.18, 'sparse': 0.0}
"""


@pytest.fixture
def few(monkeypatch, tmp_path, mini_m3):
    """Let the demo run on the queries that it shows and what is relevant to them."""
    queries = [query for query in load_queries() if query.text in demo.SHOWN_QUERIES]
    relevant = frozenset().union(*(query.relevant for query in queries))
    documents = [document for document in load_documents() if document.id in relevant]
    monkeypatch.setattr(demo, "load_queries", lambda: queries)
    monkeypatch.setattr(demo, "load_documents", lambda: documents)
    monkeypatch.setattr(demo, "build_mini_m3", lambda directory: mini_m3)
    monkeypatch.setattr(demo, "BUILD", tmp_path / "build")


def test_the_demo_prints_hits_side_by_side_then_measures_then_speed(few, capsys):
    demo.main()
    printed = capsys.readouterr().out
    for text in demo.SHOWN_QUERIES:
        assert f"“{text}”" in printed
    for name in (*demo.SIDE_BY_SIDE, *demo.MEASURED):
        assert name in printed
    assert "✓ poke" in printed
    assert printed.index("✓ poke") < printed.index("MRR@10") < printed.index("documents/s")


def test_the_demo_fits_100_columns_when_piped(few, capsys):
    demo.main()
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_the_demo_makes_its_index_anew(few, capsys):
    demo.main()
    first = capsys.readouterr().out
    demo.main()
    assert "4 documents" in first
    assert "4 documents" in capsys.readouterr().out


def test_the_demo_fails_when_a_search_fails(few, monkeypatch):
    monkeypatch.setitem(demo.MEASURED, "dense", {"mode": "dens"})
    with pytest.raises(ValueError, match="dens"):
        demo.main()


def test_the_quick_start_prints_what_the_readme_quotes(tmp_path, capsys):
    quickstart.main(tmp_path)
    assert capsys.readouterr().out == QUICKSTART_OUTPUT


def test_the_quick_start_can_be_run_again(tmp_path, capsys):
    quickstart.main(tmp_path)
    quickstart.main(tmp_path)
    assert capsys.readouterr().out == QUICKSTART_OUTPUT * 2
