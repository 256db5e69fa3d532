import numpy as np
import pytest
import torch

from debian import load_documents
from flagvec.mini_m3 import find_backbone
from mini_m3.fit_heads import DOCUMENT_LENGTH, Moments, fit, token_targets


@pytest.fixture
def moments():
    """Moments of states with one wide and one narrow axis, whose target is 2 x first - third + 5."""
    generator = np.random.default_rng(0)
    states = generator.normal(size=(4000, 3)) * [1.0, 4.0, 0.5] + [0.0, 7.0, 0.0]
    moments = Moments(3)
    for part in np.array_split(states, 3):
        moments.add(part, part @ [2.0, 0.0, -1.0] + 5)
    return moments, states


def test_rare_tokens_get_a_higher_target_than_common_ones():
    common, rare = token_targets([np.array([1, 2]), np.array([1, 3]), np.array([1, 4])])[0]
    assert 0 < common < rare


def test_a_token_gets_a_higher_target_in_a_shorter_text():
    short, long = token_targets([np.array([1, 2]), np.array([1, 3, 4, 5, 6, 7])])
    assert short[0] > long[0]


def test_weight_vectors_of_documents_have_the_length_that_was_set():
    targets = token_targets([np.array([1, 2, 2, 3]), np.array([1, 3, 5]), np.array([], dtype=np.int64)])
    lengths = [np.linalg.norm(targets[0][[0, 1, 3]]), np.linalg.norm(targets[1]), 0.0]
    assert np.mean(lengths) == pytest.approx(DOCUMENT_LENGTH)


def test_the_sparse_head_finds_a_linear_target(moments):
    weight, bias = moments[0].sparse_head()
    np.testing.assert_allclose(weight, [[2, 0, -1]], atol=0.05)
    np.testing.assert_allclose(bias, [5], atol=0.05)


def test_the_colbert_head_takes_the_mean_away_and_orders_axes_by_variance(moments):
    weight, bias = moments[0].colbert_head()
    turned = moments[1] @ weight.T + bias
    np.testing.assert_allclose(turned.mean(axis=0), 0, atol=1e-9)
    assert turned.var(axis=0)[0] > turned.var(axis=0)[1] > turned.var(axis=0)[2]


def test_the_colbert_heads_axes_are_orthogonal(moments):
    weight, _ = moments[0].colbert_head()
    products = weight @ weight.T
    np.testing.assert_allclose(products, np.diag(np.diag(products)), atol=1e-9)


def test_fitting_twice_gives_the_same_heads():
    texts = [document.text for document in load_documents()[:12]]
    first, second = fit(texts, find_backbone()), fit(texts, find_backbone())
    assert {name: tuple(head["weight"].shape) for name, head in first.items()} == {
        "sparse_linear.pt": (1, 384),
        "colbert_linear.pt": (384, 384),
    }
    for name, head in first.items():
        assert all(torch.equal(tensor, second[name][key]) for key, tensor in head.items())
