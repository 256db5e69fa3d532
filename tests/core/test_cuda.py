"""On a GPU all outputs equal those of float32 on the CPU, packed and padded."""

import itertools
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from more_itertools import batched
from transformers import AutoModel

from flagvec import BGEM3FlagModel
from flagvec.engine.hidden_states import HiddenStateEncoder
from flagvec.engine.packed import PackedBatch, attend_packed, can_pack

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")

# For components of unit vectors, after two layers of large random weights in 24, 11 or 8 significant bits.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}
# FARTHEST bounds 1 - cosine of two vectors, WEIGHT_SHARE a difference as a share of the text's largest weight.
FARTHEST = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 5e-2}
WEIGHT_SHARE = {torch.float32: 1e-4, torch.float16: 8e-2, torch.bfloat16: 5e-1}
HALVES = [torch.float16, torch.bfloat16]
LENGTHS = [60, 3, 17, 17, 300, 1, 17, 64, 128, 2]


@pytest.fixture(scope="module", params=["bert", "xlm-roberta", "gte"])
def checkpoint(request, tmp_path_factory, build_checkpoint):
    directory = tmp_path_factory.mktemp("cuda") / request.param
    return build_checkpoint(directory, request.param, heads=True, width=128, seed=5)


def states_of(checkpoint, dtype, device, texts, batch_size=256):
    backbone = AutoModel.from_pretrained(checkpoint, dtype=dtype).eval().requires_grad_(False)
    encoder = HiddenStateEncoder(backbone, torch.device(device), padding_id=1)
    found = {}
    for positions, batch in encoder.run([encoder.window(texts, batch_size)], reduce=lambda batch: batch):
        states = torch.nn.functional.normalize(batch.states.float(), dim=-1).cpu()
        found.update(zip(positions.tolist(), states.split(batch.packed.lengths), strict=True))
    return [found[position] for position in range(len(texts))]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("batch_size", [256, 3, 1])
def test_hidden_states_equal_those_of_float32_on_the_cpu(checkpoint, dtype, batch_size):
    random = np.random.default_rng(0)
    texts = [random.choice(range(5, 1000), length) for length in LENGTHS]
    expected = states_of(checkpoint, torch.float32, "cpu", texts)
    found = states_of(checkpoint, dtype, "cuda:0", texts, batch_size)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=TOLERANCE[dtype], rtol=0)


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_runs_packed_if_there_is_a_kernel(checkpoint, dtype):
    backbone = AutoModel.from_pretrained(checkpoint, dtype=dtype).eval()
    cuda = torch.device("cuda:0")
    assert HiddenStateEncoder(backbone, cuda, 1)._is_packed == can_pack(cuda, dtype, head_width=32)
    if torch.cuda.get_device_capability(cuda) >= (8, 0) and find_spec("torch.nn.attention.varlen"):
        assert can_pack(cuda, dtype, head_width=32)


@pytest.mark.parametrize("dtype", HALVES)
def test_local_attention_equals_that_of_float32_on_the_cpu(dtype):
    cpu, cuda = torch.device("cpu"), torch.device("cuda:0")
    if not can_pack(cuda, dtype, head_width=32, locally=True):
        pytest.skip("there is no kernel for packed local attention")
    texts = [np.arange(length) for length in LENGTHS]
    states = torch.randn(3, sum(LENGTHS), 4, 32, generator=torch.Generator().manual_seed(7)).to(dtype)
    expected = attend_packed(*states.float(), PackedBatch.of(texts, cpu), reach=64)
    found = attend_packed(*states.to(cuda), PackedBatch.of(texts, cuda), reach=64)
    torch.testing.assert_close(found.float().cpu(), expected, atol=2e-2, rtol=0)


@pytest.fixture(scope="module", params=["heads of 12", "heads of 32"])
def m3_directory(request, tmp_path_factory, tiny_m3_directory, build_checkpoint):
    """A checkpoint with heads that the kernel refuses, and one with heads that it takes."""
    if request.param == "heads of 12":
        return tiny_m3_directory
    return build_checkpoint(tmp_path_factory.mktemp("cuda") / "m3", "xlm-roberta", heads=True, width=128, seed=5)


@pytest.mark.parametrize("to_numpy", [True, False])
@pytest.mark.parametrize("half", [{"use_fp16": True}, {"use_fp16": False, "use_bf16": True}, {"use_fp16": False}])
def test_all_three_outputs_equal_those_of_the_cpu(m3_directory, golden, half, to_numpy):
    def encode(device, **options):
        model = BGEM3FlagModel(
            m3_directory, devices=device, return_sparse=True, return_colbert_vecs=True,
            convert_to_numpy=to_numpy, **options,
        )  # fmt: skip
        return model.encode(golden.texts, max_length=128)

    found, expected = encode("cuda:0", **half), encode("cpu", use_fp16=False)
    dtype = torch.float16 if half["use_fp16"] else torch.bfloat16 if "use_bf16" in half else torch.float32
    assert_same_directions([found["dense_vecs"]], [expected["dense_vecs"]], FARTHEST[dtype])
    assert_same_directions(found["colbert_vecs"], expected["colbert_vecs"], FARTHEST[dtype])
    for one, other in zip(found["lexical_weights"], expected["lexical_weights"], strict=True):
        close = WEIGHT_SHARE[dtype] * max(other.values(), default=0)
        for token in one.keys() | other.keys():
            assert one.get(token, 0) == pytest.approx(other.get(token, 0), abs=close)


@pytest.mark.parametrize("texts_at_once", [1, 40])
def test_compiled_layers_and_recorded_queries_give_the_same(tmp_path, build_checkpoint, golden, texts_at_once):
    directory = build_checkpoint(tmp_path / "m3", "xlm-roberta", heads=True, width=128, seed=5)
    plain, compiled = (
        BGEM3FlagModel(directory, devices="cuda:0", return_sparse=True, return_colbert_vecs=True, compile=compile)
        for compile in (False, True)
    )
    # Twice, because the second time replays what the first recorded.
    for texts in [*batched(golden.texts, texts_at_once)] * 2:
        found, expected = (model.encode(list(texts), max_length=128) for model in (compiled, plain))
        assert_same_directions([found["dense_vecs"]], [expected["dense_vecs"]], FARTHEST[torch.float16])
        assert_same_directions(found["colbert_vecs"], expected["colbert_vecs"], FARTHEST[torch.float16])


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="only one CUDA device here")
def test_a_model_need_not_be_on_the_current_device(m3_directory, golden):
    texts = golden.texts * 40
    first, second = (
        BGEM3FlagModel(m3_directory, devices=device, return_sparse=True, return_colbert_vecs=True).encode(texts)
        for device in ("cuda:0", "cuda:1")
    )
    assert torch.cuda.current_device() == 0
    np.testing.assert_allclose(second["dense_vecs"], first["dense_vecs"], atol=5e-3)
    assert_same_directions(second["colbert_vecs"], first["colbert_vecs"], FARTHEST[torch.float16])


def assert_same_directions(found, expected, farthest):
    for one, other in zip(found, expected, strict=True):
        left, right = (torch.as_tensor(rows).float().cpu() for rows in (one, other))
        assert (1 - torch.nn.functional.cosine_similarity(left, right)).max() < farthest


def test_a_batch_that_does_not_fit_is_halved_until_it_fits(tmp_path, build_checkpoint, golden):
    directory = build_checkpoint(tmp_path / "wide", "xlm-roberta", heads=True, width=768)
    model = BGEM3FlagModel(directory, devices="cuda:0", return_sparse=True, return_colbert_vecs=True)
    texts = golden.texts * 60
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    torch.cuda.reset_peak_memory_stats()
    expected = model.encode(texts, batch_size=len(texts), max_length=128)
    needed = torch.cuda.max_memory_reserved() - before
    torch.cuda.empty_cache()
    budget = model._encoder._token_budget
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((before + needed / 3) / total)
    try:
        found = model.encode(texts, batch_size=len(texts), max_length=128)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert model._encoder._token_budget < budget, "all of it fitted, so nothing was shown"
    np.testing.assert_allclose(found["dense_vecs"], expected["dense_vecs"], atol=5e-3)
    assert [len(rows) for rows in found["colbert_vecs"]] == [len(rows) for rows in expected["colbert_vecs"]]


def test_a_stream_gives_the_same_as_one_call(m3_directory, golden):
    model = BGEM3FlagModel(m3_directory, devices="cuda:0", return_sparse=True)
    batches = list(model.encode_stream(golden.texts, batch_size=7))
    streamed = np.concatenate([batch["dense_vecs"] for batch in batches])
    np.testing.assert_allclose(streamed, model.encode_corpus(golden.texts)["dense_vecs"], atol=5e-3)
    weights = list(itertools.chain.from_iterable(batch["lexical_weights"] for batch in batches))
    assert len(weights) == len(golden.texts)
