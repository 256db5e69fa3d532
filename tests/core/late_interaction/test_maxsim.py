"""MaxSim with codes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flagvec.engine.kernels import bit_vectors
from flagvec.late_interaction.codec import ColbertCodec
from flagvec.late_interaction.maxsim import maxsim
from flagvec.scoring import colbert_score


def vectors(rows, dimension, generator):
    found = generator.standard_normal((rows, dimension), dtype=np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    # Some vectors are hostile: zeros, and one number alone.
    found[::5] = 0
    found[3::7] = np.eye(1, dimension, dtype=np.float32)
    return found


@settings(deadline=None)
@given(
    bits=st.sampled_from([1, 2, 4, 8, 16]),
    dimension=st.sampled_from([1, 7, 16, 31, 32, 33, 100, 384, 1024]),
    rows=st.lists(st.integers(0, 40), max_size=6),
    query_rows=st.integers(0, 13),
    seed=st.integers(0, 9),
)
def test_scores_are_those_of_the_decoded_vectors(bits, dimension, rows, query_rows, seed):
    generator = np.random.default_rng(seed)
    codec = ColbertCodec(dimension, bits, seed)
    query = vectors(query_rows, dimension, generator)
    documents = [codec.encode(vectors(count, dimension, generator)) for count in rows]
    expected = [colbert_score(query, codec.decode(codes)) for codes in documents]
    np.testing.assert_allclose(maxsim(query, documents, codec), expected, atol=1e-5)


def test_a_text_of_8191_vectors_is_scored():
    generator = np.random.default_rng(0)
    codec, query = ColbertCodec(64), vectors(12, 64, generator)
    codes = codec.encode(vectors(8_191, 64, generator))
    assert maxsim(query, [codes], codec)[0] == pytest.approx(colbert_score(query, codec.decode(codes)), abs=1e-5)


def test_scores_do_not_depend_on_the_kernel(monkeypatch):
    generator = np.random.default_rng(0)
    codec, query = ColbertCodec(384), vectors(12, 384, generator)
    documents = [codec.encode(vectors(rows, 384, generator)) for rows in (3, 700, 0, 51)]
    with_kernel = maxsim(query, documents, codec)
    monkeypatch.setattr(bit_vectors, "can_compare_bits", lambda: False)
    np.testing.assert_allclose(maxsim(query, documents, codec), with_kernel, atol=1e-6)


def test_a_query_may_be_a_tensor_or_in_double_precision():
    rows = vectors(9, 64, np.random.default_rng(0))
    codec = ColbertCodec(64)
    codes = [codec.encode(rows)]
    expected = maxsim(rows, codes, codec)
    np.testing.assert_array_equal(maxsim(torch.from_numpy(rows), codes, codec), expected)
    np.testing.assert_array_equal(maxsim(rows.astype(np.float64), codes, codec), expected)


def test_a_query_of_another_width_is_refused():
    with pytest.raises(ValueError, match=r"query has the shape \(2, 65\); the codes are of \(vectors, 64\)"):
        maxsim(np.zeros((2, 65), dtype=np.float32), [], ColbertCodec(64))


def test_codes_of_another_codec_are_refused():
    rows = np.ones((3, 64), dtype=np.float32)
    own, other = ColbertCodec(64, 1).encode(rows), ColbertCodec(64, 2).encode(rows)
    with pytest.raises(ValueError, match=r"documents\[1\] has the shape \(3, 18\); .* have \(vectors, 10\)"):
        maxsim(rows, [own, other], ColbertCodec(64, 1))
