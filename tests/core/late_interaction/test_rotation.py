"""A rotation that is cheap to compute."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagvec.late_interaction.rotation import random_rotation

WIDTHS = (1, 2, 5, 32, 100, 128, 384, 768, 1024)


def matrix(dimension, seed=0):
    return random_rotation(dimension, seed).apply(np.eye(dimension, dtype=np.float32))


@pytest.mark.parametrize("dimension", WIDTHS)
def test_it_keeps_every_length_and_angle(dimension):
    rotated = matrix(dimension)
    np.testing.assert_allclose(rotated @ rotated.T, np.eye(dimension), atol=2e-6)


@given(st.sampled_from(WIDTHS), st.integers(0, 9), st.integers(0, 2**32 - 1))
def test_undoing_gives_the_vectors_back(dimension, rows, seed):
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)
    rotation = random_rotation(dimension, seed)
    np.testing.assert_allclose(rotation.undo(rotation.apply(vectors)), vectors, atol=1e-5)


@pytest.mark.parametrize("dimension", [64, 96, 384, 1024])
def test_it_spreads_one_number_over_half_of_the_vector_at_least(dimension):
    assert (np.abs(matrix(dimension)) > 1e-6).mean(axis=1).min() >= 0.5


def test_a_seed_gives_the_same_rotation_for_ever():
    # Codes that were stored by this version are read by later ones.
    np.testing.assert_array_equal(random_rotation(8, 7).signs, [[1, 1, 1, -1, -1, 1, -1, 1]])
    np.testing.assert_allclose(matrix(4, 1)[0], [0.5, 0.5, 0.5, 0.5])


def test_other_seeds_give_other_rotations():
    assert not np.allclose(matrix(64, 0), matrix(64, 1))
