"""On a Mac's GPU all outputs equal those of the CPU."""

import pytest
import torch

from flagvec import BGEM3FlagModel

pytestmark = pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no MPS device here")


@pytest.mark.parametrize("to_numpy", [True, False])
def test_all_three_outputs_equal_those_of_the_cpu(tiny_m3_directory, golden, to_numpy):
    texts = golden.texts * 20  # MPS sorts more than 256 64-bit integers wrongly

    def encode(device):
        model = BGEM3FlagModel(
            tiny_m3_directory,
            devices=device,
            use_fp16=False,
            return_sparse=True,
            return_colbert_vecs=True,
            convert_to_numpy=to_numpy,
        )
        return model.encode(texts, max_length=128)

    found, expected = encode("mps"), encode("cpu")
    for one, other in zip(
        [found["dense_vecs"], *found["colbert_vecs"]], [expected["dense_vecs"], *expected["colbert_vecs"]], strict=True
    ):
        torch.testing.assert_close(torch.as_tensor(one).cpu(), torch.as_tensor(other), atol=1e-4, rtol=0)
    for one, other in zip(found["lexical_weights"], expected["lexical_weights"], strict=True):
        assert one == pytest.approx(other, abs=1e-3)
