import importlib.util

import pytest

from debian import DATA, load_documents, load_queries
from demo import SHOWN_QUERIES

SAMPLE_FILES = ["debian-sample.jsonl.gz", "debian-sample-queries.jsonl.gz"]


@pytest.fixture(scope="module")
def draw_sample():
    spec = importlib.util.spec_from_file_location("draw_sample", DATA / "draw_sample.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_sample_has_2400_documents_and_308_queries():
    assert len(load_documents()) == 2400
    assert len(load_queries()) == 308


def test_ids_are_unique():
    for records in (load_documents(), load_queries()):
        assert len({record.id for record in records}) == len(records)


def test_every_document_has_a_text_of_its_own_and_names_its_package():
    documents = load_documents()
    assert len({document.text for document in documents}) == len(documents)
    assert all(document.text.strip() and document.metadata["package"] for document in documents)


def test_every_query_has_a_text_and_finds_a_document_of_the_sample():
    ids = {document.id for document in load_documents()}
    assert all(query.text.strip() and query.relevant and query.relevant <= ids for query in load_queries())


def test_no_query_is_a_document():
    texts = {document.text for document in load_documents()}
    assert not any(query.text in texts for query in load_queries())


def test_the_queries_that_the_demo_shows_are_in_the_sample():
    assert set(SHOWN_QUERIES) <= {query.text for query in load_queries()}


def test_the_sample_stays_small_enough_to_be_committed():
    assert sum((DATA / name).stat().st_size for name in SAMPLE_FILES) < 600_000


def test_drawing_keeps_what_is_relevant_and_fills_up_by_id(draw_sample, monkeypatch):
    monkeypatch.setattr(draw_sample, "DOCUMENTS", 3)
    corpus = [{"id": identifier, "package": identifier, "text": identifier} for identifier in "dcbea"]
    queries = [{"id": f"q{number}", "lang": "en", "text": "?", "relevant": ["d"]} for number in range(20)]
    documents, chosen = draw_sample.draw(corpus, queries)
    assert [document["id"] for document in documents] == ["a", "b", "d"]
    assert 0 < len(chosen) < 20


def test_drawing_leaves_other_languages_out(draw_sample):
    queries = [{"id": f"q{number}", "lang": "de", "text": "?", "relevant": ["a"]} for number in range(20)]
    assert draw_sample.draw([], queries) == ([], [])


def test_drawing_from_another_order_gives_the_same_sample(draw_sample):
    corpus = [{"id": str(number), "package": "p", "text": "t"} for number in range(30)]
    queries = [{"id": f"q{number}", "lang": "en", "text": "?", "relevant": [str(number)]} for number in range(20)]
    assert draw_sample.draw(corpus, queries) == draw_sample.draw(corpus[::-1], queries[::-1])


def test_the_same_records_are_written_as_the_same_bytes(draw_sample, tmp_path):
    for name in ("one", "two"):
        draw_sample.write(tmp_path / name, [{"id": "ä"}])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
