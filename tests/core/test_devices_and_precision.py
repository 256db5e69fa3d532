"""The device that runs a model, and its number format."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from flagvec import BGEM3FlagModel, FlagModel
from flagvec.engine import devices
from flagvec.engine.devices import choose_devices, choose_dtype

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda", 0), torch.device("mps")


@pytest.fixture
def machine(monkeypatch):
    """Pretend that torch sees a number of CUDA devices, and MPS or not, and which format is faster on the CPU."""

    def pretend(cuda=0, mps=False, cpu_bfloat16=False, faster=torch.float32):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: cpu_bfloat16)
        monkeypatch.setattr(devices, "measured", lambda width: SimpleNamespace(choice=faster))

    pretend()
    return pretend


@pytest.mark.parametrize("given", ["cpu", ["cpu"], ("cpu",)])
@pytest.mark.parametrize("argument", ["devices", "device"])
def test_a_device_can_be_a_str_or_a_list_of_one(tiny_bert_directory, argument, given):
    model = FlagModel(tiny_bert_directory, **{argument: given})
    assert model.target_devices == ["cpu"]
    assert next(model.model.parameters()).device == CPU


@pytest.mark.parametrize(
    ("given", "chosen"), [("cuda", "cuda:0"), ("cuda:1", "cuda:1"), (1, "cuda:1"), ([0], "cuda:0"), ("cpu", "cpu")]
)
def test_a_cuda_device_can_be_a_name_or_an_index(machine, given, chosen):
    machine(cuda=2)
    assert choose_devices(given, None) == [torch.device(chosen)]


@pytest.mark.parametrize(
    ("seen", "best"), [({}, CPU), ({"mps": True}, MPS), ({"cuda": 2}, CUDA), ({"cuda": 1, "mps": True}, CUDA)]
)
def test_without_a_name_the_best_device_is_taken(machine, seen, best):
    machine(**seen)
    assert choose_devices(None, None) == [best]


def test_the_same_device_may_be_named_twice():
    assert choose_devices("cpu", "cpu") == [CPU]
    assert choose_devices(["cpu"], "cpu") == [CPU]


def test_two_different_devices_are_refused(machine):
    machine(cuda=1)
    with pytest.raises(
        ValueError, match="devices='cpu' and device='cuda:0' differ: they mean the same; pass one of them"
    ):
        choose_devices("cpu", "cuda:0")


@pytest.mark.parametrize(("given", "chosen"), [(["cuda:0", 1], ["cuda:0", "cuda:1"]), (["cpu", "cpu"], ["cpu", "cpu"])])
def test_a_list_may_name_several_devices(machine, given, chosen):
    machine(cuda=2)
    assert choose_devices(given, None) == [*map(torch.device, chosen)]


def test_an_empty_list_of_devices_is_refused(tiny_bert_directory):
    with pytest.raises(ValueError, match=r"devices=\[\] names no device: pass None for the best one here"):
        FlagModel(tiny_bert_directory, devices=[])


@pytest.mark.parametrize("given", ["cuda", "cuda:0", 0, [0], "cuda:5"])
def test_a_missing_cuda_device_is_refused(machine, tiny_bert_directory, given):
    with pytest.raises(
        ValueError, match=r"devices='cuda:.': torch sees 0 CUDA devices; use one of them or devices='cpu'"
    ):
        FlagModel(tiny_bert_directory, devices=given)


def test_a_missing_mps_device_is_refused(machine):
    with pytest.raises(ValueError, match="devices='mps': torch sees no MPS device"):
        choose_devices("mps", None)


@pytest.mark.parametrize("given", ["gpu", "", "cpu,cuda", -1])
def test_an_unknown_device_is_refused(given):
    with pytest.raises(ValueError, match="torch does not know this device"):
        choose_devices(given, None)


@pytest.mark.parametrize("given", [True, [None], [["cpu"]], [1.5]])
def test_a_list_of_another_type_is_refused_as_a_device(given):
    with pytest.raises(TypeError, match="expected a str such as 'cuda:0', an int, or a list of these"):
        choose_devices(given, None)


@pytest.mark.parametrize("given", [1.5, CPU])
def test_a_value_that_is_neither_str_nor_int_nor_list_is_refused_as_a_device(given):
    with pytest.raises(TypeError, match="expected a str such as 'cuda:0', an int, or a list of these"):
        choose_devices(given, None)


def test_a_device_without_memory_is_refused():
    with pytest.raises(ValueError, match="meta"):
        choose_devices("meta", None)


@pytest.mark.parametrize(
    ("device", "cpu_bfloat16", "faster", "use_fp16", "use_bf16", "expected"),
    [
        (CUDA, False, None, True, False, torch.float16),
        (CUDA, False, None, False, False, torch.float32),
        (CUDA, False, None, True, True, torch.bfloat16),
        (CPU, True, torch.bfloat16, True, False, torch.bfloat16),
        (CPU, True, torch.float32, True, False, torch.float32),
        (CPU, False, torch.bfloat16, True, False, torch.float32),
        (CPU, True, torch.bfloat16, False, False, torch.float32),
        (CPU, True, torch.float32, False, True, torch.bfloat16),
        (CPU, False, None, False, True, torch.bfloat16),
        (MPS, False, None, True, False, torch.float32),
        (MPS, False, None, False, True, torch.bfloat16),
    ],
)
def test_each_device_has_its_half_precision(machine, device, cpu_bfloat16, faster, use_fp16, use_bf16, expected):
    machine(cpu_bfloat16=cpu_bfloat16, faster=faster)
    assert choose_dtype(device, use_fp16, use_bf16, width=384) == expected


def test_bfloat16_results_are_float32_and_close_to_float32s(tiny_m3_directory, tiny_m3, golden):
    model = BGEM3FlagModel(tiny_m3_directory, use_bf16=True, return_sparse=True, return_colbert_vecs=True)
    assert next(model.model.model.parameters()).dtype == torch.bfloat16
    found, expected = model.encode(golden.texts), tiny_m3.encode(golden.texts)
    assert found["dense_vecs"].dtype == np.float32
    assert (found["dense_vecs"] * expected["dense_vecs"]).sum(axis=1).min() > 0.99
    for vectors, others in zip(found["colbert_vecs"], expected["colbert_vecs"], strict=True):
        assert vectors.dtype == np.float32
        assert (vectors * others).sum(axis=1).min() > 0.98
    for weights, others in zip(found["lexical_weights"], expected["lexical_weights"], strict=True):
        assert all(weights.get(token, 0) == pytest.approx(others[token], abs=0.1) for token in others)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_bfloat16_vectors_are_unit_rows(tiny_bert_directory, golden, pooling):
    vectors = FlagModel(tiny_bert_directory, pooling, use_bf16=True).encode(golden.texts)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_use_fp16_false_keeps_float32(tiny_bert):
    assert {parameter.dtype for parameter in tiny_bert.model.parameters()} == {torch.float32}


def test_a_loaded_model_is_frozen_and_in_evaluation_mode(tiny_m3):
    assert not any(parameter.requires_grad for parameter in tiny_m3.model.parameters())
    assert not any(module.training for module in tiny_m3.model.modules() if module is not tiny_m3.model)
