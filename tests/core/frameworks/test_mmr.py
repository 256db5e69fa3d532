"""What the frameworks' own functions for maximal marginal relevance need."""

import numpy as np
import pytest

from flagvec import Hit
from flagvec.frameworks.mmr import checked_share, vectors_of


def test_the_vectors_of_hits_are_those_of_their_texts(tiny_m3):
    texts = ["How to cook rice.", "Rinse it first."]
    hits = [Hit(text, 0.0, text, {}) for text in texts]
    np.testing.assert_allclose(vectors_of(hits, tiny_m3), tiny_m3.encode_corpus(texts)["dense_vecs"], atol=1e-6)


def test_without_hits_the_model_does_not_run(tiny_m3, monkeypatch):
    monkeypatch.setattr(tiny_m3, "encode_corpus", None)
    assert vectors_of([], tiny_m3).shape == (0, tiny_m3.dimension)


@pytest.mark.parametrize(
    ("value", "error"),
    [(True, TypeError), ("1", TypeError), (-0.1, ValueError), (1.1, ValueError), (float("nan"), ValueError)],
    ids=str,
)
def test_a_share_is_a_number_from_0_to_1(value, error):
    with pytest.raises(error, match="lambda_mult"):
        checked_share("lambda_mult", value)
