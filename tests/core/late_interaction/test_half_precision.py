"""ColBERT vectors in half precision as text."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flagvec.late_interaction.half_precision import rows_from_text, rows_to_text, text_size


@given(st.integers(0, 20), st.integers(1, 65), st.integers(0, 2**32 - 1))
def test_rows_come_back_in_half_precision_from_a_text_of_the_promised_size(rows, dimension, seed):
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)
    text = rows_to_text(vectors)
    assert len(text) == text_size(rows, dimension)
    np.testing.assert_array_equal(rows_from_text(text, dimension), vectors.astype(np.float16).astype(np.float32))
