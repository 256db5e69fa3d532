"""Texts from anywhere in ColBERT's order."""

import pytest

from flagvec.frameworks.rerank import best_by_colbert
from flagvec.scoring import colbert_score

QUERY = "How to cook rice."
TEXTS = ["Bread is baked.", "Rice is cooked.", "", QUERY, "Rice is cooked."]


def test_texts_come_in_the_order_of_their_scores_and_equal_ones_as_they_came(tiny_m3):
    asked = tiny_m3.encode_queries(QUERY)["colbert_vecs"]
    scores = [float(colbert_score(asked, rows)) for rows in tiny_m3.encode_corpus(TEXTS)["colbert_vecs"]]
    found = best_by_colbert(tiny_m3, QUERY, TEXTS, TEXTS, None)
    assert dict(found) == pytest.approx(dict(enumerate(scores)), abs=1e-6)
    positions = [position for position, _ in found]
    assert positions[0] == 3
    assert positions.index(4) == positions.index(1) + 1
    assert [score for _, score in found] == pytest.approx(sorted(scores, reverse=True), abs=1e-6)


def test_no_more_than_the_limit_are_kept(tiny_m3):
    assert best_by_colbert(tiny_m3, QUERY, TEXTS, TEXTS, 2) == best_by_colbert(tiny_m3, QUERY, TEXTS, TEXTS, None)[:2]


def test_of_no_texts_the_model_is_not_asked(tiny_m3, monkeypatch):
    monkeypatch.setattr(tiny_m3, "encode", None)
    assert best_by_colbert(tiny_m3, QUERY, [], [], 3) == []
