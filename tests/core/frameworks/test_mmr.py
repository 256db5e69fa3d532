"""Maximal marginal relevance, against the plain formula."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagvec import Hit
from flagvec.frameworks.mmr import Diversity, checked_share, marginal_relevance, vectors_of

ROWS = np.eye(3, dtype=np.float32)


def by_the_formula(similarities, vectors, limit, threshold):
    chosen = []
    while len(chosen) < min(limit, len(similarities)):

        def marginal(row):
            repeated = max((float(vectors[row] @ vectors[other]) for other in chosen), default=None)
            if repeated is None:
                return float(similarities[row])
            return threshold * float(similarities[row]) - (1 - threshold) * repeated

        chosen.append(max((row for row in range(len(similarities)) if row not in chosen), key=marginal))
    return chosen


@given(count=st.integers(0, 12), limit=st.integers(1, 14), threshold=st.floats(0, 1), seed=st.integers(0, 9))
def test_rows_are_chosen_as_the_formula_says(count, limit, threshold, seed):
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(count, 4))
    similarities = random.normal(size=count)
    found = marginal_relevance(similarities, vectors, Diversity(limit, threshold))
    assert [row for row, _ in found] == by_the_formula(similarities, vectors, limit, threshold)


def test_of_no_rows_none_is_chosen_and_of_too_few_all():
    assert marginal_relevance(np.empty(0), ROWS[:0], Diversity(4, 0.5)) == []
    assert [row for row, _ in marginal_relevance(ROWS @ ROWS[1], ROWS, Diversity(9, 0.5))] == [1, 0, 2]


def test_the_vectors_of_hits_are_those_of_their_texts(tiny_m3):
    texts = ["How to cook rice.", "Rinse it first."]
    hits = [Hit(text, 0.0, text, {}) for text in texts]
    np.testing.assert_allclose(vectors_of(hits, tiny_m3), tiny_m3.encode_corpus(texts)["dense_vecs"], atol=1e-6)


def test_of_no_hits_the_model_is_not_asked(tiny_m3, monkeypatch):
    monkeypatch.setattr(tiny_m3, "encode_corpus", None)
    assert vectors_of([], tiny_m3).shape == (0, tiny_m3.dimension)


@pytest.mark.parametrize(
    ("value", "error"), [(True, TypeError), ("1", TypeError), (-0.1, ValueError), (1.1, ValueError)]
)
def test_what_is_no_share_is_refused(value, error):
    with pytest.raises(error, match="lambda_mult"):
        checked_share("lambda_mult", value)
