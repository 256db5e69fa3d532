"""Vectors that documents bring, or that a journal keeps."""

import numpy as np
import pytest

from flagvec import M3Output
from flagvec.ingest.encoded import from_bytes, to_bytes

DENSE = np.array([[0.1, -1e-38, 3.4e38], [1, 2, 3], [0, 0, 0]], np.float32)
SPARSE = [{0: 0.1, 2**32 - 3: 1e-30}, {}, {7: 0.5}]
COLBERT = [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((0, 3), np.float32), np.ones((1, 3), np.float32)]


@pytest.mark.parametrize("colbert", [None, COLBERT], ids=["no ColBERT", "ColBERT"])
@pytest.mark.parametrize("sparse", [None, SPARSE], ids=["not sparse", "sparse"])
@pytest.mark.parametrize("dense", [None, DENSE], ids=["not dense", "dense"])
@pytest.mark.parametrize("texts", [1, 3])
def test_the_vectors_of_a_batch_come_back_from_bytes_as_they_were(dense, sparse, colbert, texts):
    given = {"dense_vecs": dense, "lexical_weights": sparse, "colbert_vecs": colbert}
    output = M3Output({name: values[:texts] for name, values in given.items() if values is not None})
    if not output:
        return
    found = from_bytes(to_bytes(output))
    assert len(found) == texts
    for at, vectors in enumerate(found):
        assert vectors.sparse == (None if sparse is None else sparse[at])
        for array, expected in ((vectors.dense, dense), (vectors.colbert, colbert)):
            if expected is None:
                assert array is None
            else:
                assert array.dtype == np.float32 and array.tolist() == expected[at].tolist()
                assert array.shape == expected[at].shape
