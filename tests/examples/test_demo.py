import pytest

import demo
from debian import load_documents, load_queries


@pytest.fixture
def few(monkeypatch, tmp_path):
    """Let the demo run on the queries that it shows and the documents that are relevant to them."""
    queries = [query for query in load_queries() if query.text in demo.SHOWN_QUERIES]
    relevant = frozenset().union(*(query.relevant for query in queries))
    documents = [document for document in load_documents() if document.id in relevant]
    monkeypatch.setattr(demo, "load_queries", lambda: queries)
    monkeypatch.setattr(demo, "load_documents", lambda: documents)
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
