"""Vectors that documents bring, or that a journal keeps."""

import numpy as np
import pytest

from flagvec.ingest.encoded import from_bytes, to_bytes
from flagvec.store.vectors import TextVectors

DENSE = np.array([0.1, -1e-38, 3.4e38], np.float32)
SPARSE = {0: 0.1, 2**32 - 3: 1e-30}
COLBERT = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize("colbert", [None, COLBERT, COLBERT[:0]])
@pytest.mark.parametrize("sparse", [None, {}, SPARSE])
@pytest.mark.parametrize("dense", [None, DENSE])
def test_vectors_come_back_from_bytes_as_they_were(dense, sparse, colbert):
    found = from_bytes(to_bytes(TextVectors(dense, sparse, colbert)))
    assert found.sparse == sparse
    for array, expected in ((found.dense, dense), (found.colbert, colbert)):
        if expected is None:
            assert array is None
        else:
            assert array.dtype == np.float32 and array.tolist() == expected.tolist()
            assert array.shape == expected.shape
