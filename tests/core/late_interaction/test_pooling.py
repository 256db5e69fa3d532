"""Fewer ColBERT vectors a document, that still say what the document says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.cluster.hierarchy import fcluster, linkage

from flagvec import BGEM3FlagModel
from flagvec.engine.kernels import clusters
from flagvec.late_interaction.pooling import pooled_rows

TEXTS = ["How to cook rice in a pot with water.", "Rice.", "Rinse the rice first, and then rinse it once more."]


def unit_rows(count, dimension=8, seed=0):
    rows = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@st.composite
def hostile_rows(draw):
    """Draw rows of length 1 and of zeros, some of them equal or opposite."""
    different = draw(st.lists(arrays(np.int8, 5, elements=st.integers(-3, 3)), min_size=1, max_size=6))
    chosen = draw(st.lists(st.tuples(st.sampled_from(range(len(different))), st.sampled_from((-1, 0, 1))), max_size=40))
    rows = np.array([sign * different[number] for number, sign in chosen], np.float32).reshape(-1, 5)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1)


@given(count=st.integers(1, 60), factor=st.integers(1, 9), seed=st.integers(0, 5))
def test_there_are_about_as_many_fewer_vectors_all_of_length_one(count, factor, seed):
    pooled = pooled_rows(unit_rows(count, seed=seed), factor, normalize=True)
    assert pooled.dtype == np.float32
    assert len(pooled) == (count if factor == 1 else max(count // factor, 1))
    np.testing.assert_allclose(np.linalg.norm(pooled, axis=1), 1, atol=1e-5)


@given(hostile_rows(), st.integers(1, 4))
def test_hostile_rows_give_as_many_finite_rows_of_at_most_length_one(rows, factor):
    pooled = pooled_rows(rows, factor)
    assert pooled.dtype == np.float32
    assert pooled.shape == (max(len(rows) // factor, min(len(rows), 1)), 5)
    assert np.isfinite(pooled).all()
    assert (np.linalg.norm(pooled, axis=1) <= 1 + 1e-5).all()


@given(hostile_rows(), st.integers(2, 4))
def test_rows_that_are_all_the_same_stay_so(rows, factor):
    same = np.repeat(rows[:1], 9, axis=0)
    for row in pooled_rows(same, factor):
        np.testing.assert_allclose(row, same[0], atol=1e-6)


@pytest.mark.parametrize("has_kernel", [True, False])
@given(count=st.integers(2, 60), factor=st.integers(2, 4), seed=st.integers(0, 99))
def test_the_clusters_are_those_of_wards_method(has_kernel, count, factor, seed):
    rows = unit_rows(count, seed=seed)
    labels = fcluster(linkage(rows.astype(np.float64), "ward"), max(count // factor, 1), "maxclust")
    means = [rows[labels == label].mean(axis=0) for label in dict.fromkeys(labels.tolist())]
    with pytest.MonkeyPatch.context() as patch:
        if not has_kernel:
            patch.setattr(clusters, "can_cluster", lambda rows: False)
        np.testing.assert_allclose(pooled_rows(rows, factor, normalize=False), means, atol=1e-6)


def test_rows_that_are_equally_far_apart_are_merged_no_further_than_asked_for():
    assert len(pooled_rows(np.eye(8, dtype=np.float32), 2)) == 4


def test_a_factor_of_one_keeps_every_vector():
    rows = unit_rows(7)
    assert pooled_rows(rows, 1, normalize=True) is rows


def test_vectors_that_are_alike_become_their_mean_wherever_they_stand():
    one, two = np.eye(2, dtype=np.float32)
    near_one = np.array([0.8, 0.6], np.float32)
    pooled = pooled_rows(np.stack([one, two, near_one, two]), 2, normalize=True)
    mean = (one + near_one) / np.linalg.norm(one + near_one)
    np.testing.assert_allclose(pooled, [mean, two], atol=1e-6)


def test_means_keep_their_length_where_vectors_are_not_normalised():
    rows = np.array([[1, 0], [3, 0]], np.float32)
    np.testing.assert_allclose(pooled_rows(rows, 2, normalize=False), [[2, 0]])


def test_vectors_that_cancel_out_are_stood_for_by_the_first():
    rows = np.array([[1, 0], [-1, 0]], np.float32)
    assert pooled_rows(rows, 2, normalize=True).tolist() == [[1, 0]]


def test_a_long_text_is_clustered_in_spans():
    rows = unit_rows(2_500)
    pooled = pooled_rows(rows, 5, normalize=True)
    assert len(pooled) == 166 + 166 + 166  # of three spans of 833 or 834
    np.testing.assert_array_equal(pooled[:166], pooled_rows(rows[:834], 5, normalize=True))


@pytest.fixture(scope="module")
def pooling_model(tiny_m3_directory):
    return BGEM3FlagModel(
        tiny_m3_directory, use_fp16=False, return_sparse=True, return_colbert_vecs=True, colbert_pool_factor=3
    )


def test_a_models_factor_holds_for_documents_and_leaves_queries_whole(pooling_model, tiny_m3):
    expected = [pooled_rows(vectors, 3, normalize=True) for vectors in tiny_m3.encode(TEXTS)["colbert_vecs"]]
    for found in (pooling_model.encode_corpus(TEXTS), next(pooling_model.encode_stream(TEXTS))):
        for vectors, others in zip(found["colbert_vecs"], expected, strict=True):
            np.testing.assert_allclose(vectors, others, atol=1e-6)
    for encode in (pooling_model.encode_queries, pooling_model.encode):
        whole = tiny_m3.encode(TEXTS)["colbert_vecs"]
        assert [len(vectors) for vectors in encode(TEXTS)["colbert_vecs"]] == [len(vectors) for vectors in whole]


def test_a_call_can_say_otherwise(pooling_model, tiny_m3):
    (whole,) = tiny_m3.encode(TEXTS[:1])["colbert_vecs"]
    assert len(pooling_model.encode_corpus(TEXTS[0], colbert_pool_factor=1)["colbert_vecs"]) == len(whole)
    assert len(tiny_m3.encode(TEXTS[0], colbert_pool_factor=2)["colbert_vecs"]) == len(whole) // 2


def test_tensors_are_pooled_as_arrays_are(pooling_model):
    arrays = pooling_model.encode_corpus(TEXTS)["colbert_vecs"]
    tensors = pooling_model.encode_corpus(TEXTS, convert_to_numpy=False)["colbert_vecs"]
    for array, tensor in zip(arrays, tensors, strict=True):
        np.testing.assert_array_equal(array, tensor.numpy())


@pytest.mark.parametrize("factor", [0, -1, 2.0, "2", True, None])
def test_a_factor_that_is_no_whole_number_is_refused(tiny_m3, tiny_m3_directory, factor):
    with pytest.raises(ValueError, match=r"colbert_pool_factor=.*: give a whole number"):
        tiny_m3.encode(TEXTS, colbert_pool_factor=factor)
    with pytest.raises(ValueError, match=r"colbert_pool_factor=.*: give a whole number"):
        BGEM3FlagModel(tiny_m3_directory, colbert_pool_factor=factor)


@pytest.mark.parametrize("dimension", [0, -2, 16.0, "16", True])
def test_a_colbert_dim_that_is_no_length_is_refused(tiny_m3_directory, dimension):
    with pytest.raises(ValueError, match=r"colbert_dim=.*: give the length of ColBERT vectors, or -1"):
        BGEM3FlagModel(tiny_m3_directory, colbert_dim=dimension)
