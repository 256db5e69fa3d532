"""Lists of numbers as queries of a store."""

import numpy as np
import pytest

from flagvec.store.ready_vectors import dense_query


def test_a_vector_of_any_length_is_brought_to_length_1():
    query = dense_query([3.0, 4.0])
    assert list(query) == ["dense_vecs"]
    np.testing.assert_allclose(query["dense_vecs"], [[0.6, 0.8]])
    assert query["dense_vecs"].dtype == np.float32


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        ([], "not the shape \\(0,\\)"),
        ([[1.0, 2.0]], "not the shape \\(1, 2\\)"),
        ([0.0, 0.0], "length 0.0: no direction"),
        ([1.0, float("nan")], "length nan"),
    ],
)
def test_what_has_no_direction_is_refused(embedding, message):
    with pytest.raises(ValueError, match=message):
        dense_query(embedding)
