"""A compiled layer gives what the layer gives; the rest needs a CUDA device and is in test_cuda.py."""

import shutil

import pytest
import torch
from transformers import AutoModel

from flagvec import FlagModel
from flagvec.engine.compiled import compile_layers
from flagvec.engine.packed import PackedBatch
from flagvec.engine.post_norm_layer import plain_product, replace_layers, run_layers

CPU = torch.device("cpu")


def batch_of(*lengths):
    return PackedBatch.of([torch.arange(5, 5 + length).numpy() for length in lengths], CPU)


@pytest.fixture(scope="module", params=["bert", "xlm-roberta"])
def checkpoint(request, tmp_path_factory, build_checkpoint):
    return build_checkpoint(tmp_path_factory.mktemp("compiled") / request.param, request.param, width=64, seed=3)


def replaced(checkpoint):
    backbone = AutoModel.from_pretrained(checkpoint).eval().requires_grad_(False)
    backbone.set_attn_implementation("flagvec_packed")
    assert replace_layers(backbone, plain_product)
    return backbone


@pytest.mark.skipif(not shutil.which("g++"), reason="torch compiles with g++")
@pytest.mark.filterwarnings("ignore")  # torch's own, of its compiler
def test_compiled_layers_give_what_the_layers_give_for_any_number_of_tokens(checkpoint):
    plain, compiled = replaced(checkpoint), replaced(checkpoint)
    compile_layers(compiled)
    with torch.inference_mode():
        for batch in (batch_of(7), batch_of(30, 4, 11), batch_of(1)):
            torch.testing.assert_close(run_layers(compiled, batch), run_layers(plain, batch), atol=1e-5, rtol=1e-5)


def test_a_model_on_a_cpu_refuses_to_compile(checkpoint):
    with pytest.raises(ValueError, match=r"compile=True: .* on cpu cannot be compiled.*: leave it out"):
        FlagModel(checkpoint, devices="cpu", compile=True)
