"""The files of a checkpoint choose no code, no other model and no request to the network."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flagvec import CheckpointError, FlagModel


@pytest.fixture
def directory(tmp_path, tiny_bert_directory):
    return Path(shutil.copytree(tiny_bert_directory, tmp_path / "checkpoint"))


def rewrite(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def load(directory, **options):
    return FlagModel(directory, use_fp16=False, **options)


@pytest.mark.parametrize("key", ["_attn_implementation", "attn_implementation", "_attn_implementation_internal"])
@pytest.mark.parametrize("value", ["attacker/kernel@main", "flash_attention_3", "paged|attacker/kernel", 5])
def test_an_attention_that_the_config_names_is_not_used(directory, tiny_bert, key, value):
    rewrite(directory / "config.json", **{key: value})
    assert (load(directory).encode(["a text"]) == tiny_bert.encode(["a text"])).all()


@pytest.mark.parametrize("method", ["bitsandbytes", "gptq", "torchao", "compressed-tensors", "unheard-of"])
def test_a_quantised_checkpoint_is_refused_unless_its_code_is_trusted(directory, method):
    rewrite(directory / "config.json", quantization_config={"quant_method": method})
    with pytest.raises(CheckpointError, match=r"has a quantization_config, .* not quantised, or pass trust"):
        load(directory)


def test_a_quantised_part_is_refused_too(directory):
    rewrite(directory / "config.json", text_config={"quantization_config": {"quant_method": "gptq"}})
    with pytest.raises(CheckpointError, match="has a quantization_config"):
        load(directory)


def test_a_config_whose_quantization_is_null_describes_plain_weights(directory, tiny_bert):
    rewrite(directory / "config.json", quantization_config=None)
    assert (load(directory).encode(["a text"]) == tiny_bert.encode(["a text"])).all()


def test_a_quantization_that_is_trusted_reaches_transformers(directory, tiny_bert):
    # transformers ignores a method that it does not know.
    rewrite(directory / "config.json", quantization_config={"quant_method": "unheard-of"})
    found = load(directory, trust_remote_code=True).encode(["a text"])
    np.testing.assert_array_equal(found, tiny_bert.encode(["a text"]))


def test_an_adapter_for_another_model_is_refused(directory):
    (directory / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": "attacker/model"})
    )
    with pytest.raises(CheckpointError, match=r"adapter_config.json, which names another model .* merge the adapter"):
        load(directory)


@pytest.mark.parametrize("architecture", ["detr", "timm_wrapper", "rag", "musicgen", "clip", "llava"])
def test_an_architecture_whose_parts_may_come_from_elsewhere_is_refused_before_it_is_made(directory, architecture):
    rewrite(
        directory / "config.json",
        model_type=architecture,
        backbone="attacker/model",
        use_pretrained_backbone=True,
        use_timm_backbone=False,
        backbone_config=None,
    )
    with pytest.raises(
        CheckpointError, match=f"of the architecture '{architecture}'; flagvec needs an encoder of text"
    ):
        load(directory)


REQUESTS = {
    "nothing": ({}, {}),
    "an attention of the Hub": ({"_attn_implementation": "attacker/kernel@main"}, {}),
    "experts of the Hub": ({"_experts_implementation": "attacker/kernel"}, {}),
    "kernels": ({"use_kernels": True, "kernel_config": {"kernel_mapping": {"RMSNorm": "attacker/kernel:Norm"}}}, {}),
    "another name": ({"_name_or_path": "attacker/model"}, {"name_or_path": "attacker/model"}),
    "code of another repository": (
        {"auto_map": {"AutoModel": "attacker/model--code.Model"}},
        {"auto_map": {"AutoTokenizer": ["attacker/model--code.Slow", "attacker/model--code.Fast"]}},
    ),
    "a tokenizer of another kind": ({"tokenizer_class": "RagTokenizer"}, {"tokenizer_class": "RagTokenizer"}),
    "a tokenizer of Mistral": ({}, {"tokenizer_class": "MistralCommonBackend", "fix_mistral_regex": True}),
    "a type of numbers": ({"torch_dtype": "attacker/kernel", "dtype": "load"}, {}),
    "weights elsewhere": ({"transformers_weights": "../../elsewhere.safetensors"}, {}),
    "a template": ({}, {"chat_template": "{{ cycler.__init__.__globals__.os.system('touch ran') }}"}),
    "a backbone": ({"model_type": "detr", "backbone": "attacker/model", "use_timm_backbone": False}, {}),
    "an image model": ({"model_type": "timm_wrapper", "architecture": "hf-hub:attacker/model"}, {}),
}


# huggingface_hub may go online here. The process ends at the first name that anything looks up.
LOADS_ALL = """
import pathlib, socket, sys
def refuse(*arguments):
    sys.exit(f"asked the network for {arguments}")
socket.getaddrinfo = socket.create_connection = socket.socket.connect = refuse
from flagvec import CheckpointError, FlagModel
for directory in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        FlagModel(directory, use_fp16=False)
        print(directory.name, "loaded")
    except (CheckpointError, ImportError) as error:
        print(directory.name, "refused")
"""


def test_no_file_of_a_checkpoint_makes_a_request(tmp_path, tiny_bert_directory):
    checkpoints = tmp_path / "checkpoints"
    for name, (config, tokenizer_config) in REQUESTS.items():
        directory = Path(shutil.copytree(tiny_bert_directory, checkpoints / name))
        rewrite(directory / "config.json", **config)
        rewrite(directory / "tokenizer_config.json", **tokenizer_config)
    finished = subprocess.run(
        [sys.executable, "-c", LOADS_ALL, checkpoints],
        env={**os.environ, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "cache")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    found = dict(line.rsplit(" ", 1) for line in finished.stdout.splitlines())
    assert found.keys() == REQUESTS.keys()
    assert found["nothing"] == "loaded"
    assert not (tmp_path / "ran").exists()
