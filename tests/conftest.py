"""What all tests share: no network, two tiny models, and a Hub cache of random checkpoints."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Set before huggingface_hub and torch are imported, because they read these variables then. No test goes online. The
# models are so small that more threads would wait for one another.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
# mini-M3 is assembled here, once for all runs.
os.environ["HF_ASSETS_CACHE"] = str(Path(__file__).parents[1] / "build" / "assets")

import numpy as np
import pytest
from hypothesis import settings

# The same examples in every run, and no files left behind.
settings.register_profile("repeatable", derandomize=True, database=None, deadline=None, max_examples=60)
settings.load_profile("repeatable")

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests/data/golden"


@dataclass(frozen=True)
class Golden:
    """The reference outputs; tests/data/golden/README.md says what they are."""

    texts: list[str]
    queries: list[str]
    arrays: dict[str, Any]
    values: dict[str, Any]


@pytest.fixture(scope="session")
def golden() -> Golden:
    inputs = json.loads((GOLDEN / "inputs.json").read_text(encoding="utf-8"))
    with np.load(GOLDEN / "golden.npz") as stored:
        arrays = dict(stored)
    return Golden(inputs["texts"], inputs["queries"], arrays, json.loads((GOLDEN / "golden.json").read_text()))


@pytest.fixture(scope="session")
def tiny_bert_directory() -> Path:
    return GOLDEN / "tiny-bert"


@pytest.fixture(scope="session")
def tiny_m3_directory() -> Path:
    return GOLDEN / "tiny-m3"


@pytest.fixture(scope="session")
def tiny_bert(tiny_bert_directory: Path) -> Any:
    """A `FlagModel` of 2 layers, in float32."""
    from flagvec import FlagModel

    return FlagModel(tiny_bert_directory, use_fp16=False)


@pytest.fixture(scope="session")
def tiny_m3(tiny_m3_directory: Path) -> Any:
    """A `BGEM3FlagModel` of 2 layers, in float32, that gives all three representations."""
    from flagvec import BGEM3FlagModel

    return BGEM3FlagModel(tiny_m3_directory, use_fp16=False, return_sparse=True, return_colbert_vecs=True)


@pytest.fixture(scope="session")
def run_python() -> Callable[..., str]:
    """Run Python code in a process of its own and return what it printed; it must succeed."""

    def run(code: str, *options: str, cwd: Path | None = None, **environment: str) -> str:
        finished = subprocess.run(
            [sys.executable, *options, "-c", code],
            env={**os.environ, **environment},
            cwd=cwd,
            capture_output=True,
            text=True,
        )
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    return run


@pytest.fixture(scope="session")
def build_checkpoint() -> Callable[..., Path]:
    """Write a random checkpoint of an architecture, with BGE-M3's heads if asked for."""

    def build(
        directory: Path,
        architecture: str,
        heads: bool = False,
        width: int = 32,
        layers: int = 2,
        max_length: int = 512,
        seed: int = 0,
    ) -> Path:
        import torch

        torch.manual_seed(seed)
        _random_model(architecture, width, layers, max_length).save_pretrained(directory)
        if heads:
            torch.save(torch.nn.Linear(width, 1).state_dict(), directory / "sparse_linear.pt")
            torch.save(torch.nn.Linear(width, width).state_dict(), directory / "colbert_linear.pt")
        source = GOLDEN / ("tiny-bert" if architecture == "bert" else "tiny-m3")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(source / name, directory)
        return directory

    return build


def _random_model(architecture: str, width: int, layers: int, max_length: int) -> Any:
    import transformers

    sizes = {
        "vocab_size": 3000, "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": 4,
        "intermediate_size": 64, "max_position_embeddings": max_length,
        # Scores of attention spread equally at each width. Larger ones nearly tie at times, and amplify rounding.
        "initializer_range": 0.3 * (32 / width) ** 0.5,
    }  # fmt: skip
    if architecture == "bert":
        return transformers.BertModel(transformers.BertConfig(**sizes))
    if architecture in ("gte", "modernbert", "nomic_bert"):
        if architecture not in transformers.CONFIG_MAPPING:
            pytest.skip(f"transformers {transformers.__version__} has no architecture {architecture}")
        # The tokenizer's ids, and a window of 8 tokens on both sides.
        more = {"pad_token_id": 1, "bos_token_id": 0, "cls_token_id": 0, "eos_token_id": 2, "sep_token_id": 2}
        more |= {"local_attention": 16, "num_hidden_layers": 4} if architecture == "modernbert" else {}
        config = transformers.CONFIG_MAPPING[architecture](**sizes | more)
        return transformers.AutoModel.from_config(config)
    sizes["max_position_embeddings"] += 2  # RoBERTa leaves the first two positions unused.
    return transformers.XLMRobertaModel(transformers.XLMRobertaConfig(**sizes, type_vocab_size=1, pad_token_id=1))


@pytest.fixture(scope="session")
def overflowing_checkpoint(build_checkpoint: Callable[..., Path]) -> Callable[..., Path]:
    """Write a random checkpoint with BGE-M3's heads that multiplies one number of the token "library" by `largest`.

    The number is about 7.7, the root of the width, and goes through the first feed-forward layer. The product reaches
    the next layers as about 1.
    """

    def build(directory: Path, largest: float) -> Path:
        from safetensors.torch import load_file, save_file
        from transformers import AutoTokenizer

        build_checkpoint(directory, "bert", heads=True, width=64, seed=5)
        tensors = load_file(directory / "model.safetensors")
        (token,) = AutoTokenizer.from_pretrained(directory).encode("library", add_special_tokens=False)
        for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
            tensors[f"embeddings.{name}.weight"][:, 0] = 0.0
        tensors["embeddings.word_embeddings.weight"][token, 0] = 1_000.0
        layer = "encoder.layer.0."
        for name in ("attention.self.value.weight", "attention.output.dense.weight"):
            tensors[layer + name].zero_()
        widen = tensors[layer + "intermediate.dense.weight"]
        widen[0] = 0.0
        widen[0, 0] = largest
        tensors[layer + "output.dense.weight"][:, 0] = 0.1 / largest
        save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
        return directory

    return build


@pytest.fixture(scope="session")
def colbert_checkpoint() -> Callable[..., Path]:
    """Write a tiny ColBERT checkpoint, in the layout of PyLate or in that of Stanford's ColBERT."""

    def build(directory: Path, stanford: bool = False, architecture: str = "bert", **settings: Any) -> Path:
        import torch
        from safetensors.torch import save_file
        from transformers import AutoTokenizer

        markers = ["[unused0]", "[unused1]"] if stanford else ["[Q] ", "[D] "]
        tokenizer = AutoTokenizer.from_pretrained(GOLDEN / ("tiny-bert" if architecture == "bert" else "tiny-m3"))
        tokenizer.add_tokens(markers)
        torch.manual_seed(3)
        backbone = _random_model(architecture, 32, 2, 512)
        backbone.resize_token_embeddings(max(len(tokenizer), backbone.config.vocab_size))
        backbone.save_pretrained(directory)
        tokenizer.save_pretrained(directory)
        weight = torch.randn(8, 32) / 6
        if stanford:
            _as_stanford_checkpoint(directory, weight, settings)
            return directory
        (directory / "1_Dense").mkdir()
        save_file({"linear.weight": weight}, directory / "1_Dense" / "model.safetensors")
        _write_json(
            directory / "1_Dense" / "config.json",
            {
                "in_features": 32, "out_features": 8, "bias": False,
                "activation_function": "torch.nn.modules.linear.Identity", "use_residual": False,
            },
        )  # fmt: skip
        _write_json(
            directory / "modules.json",
            [
                {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                {"idx": 1, "name": "1", "path": "1_Dense", "type": "pylate.models.Dense.Dense"},
            ],
        )
        # Without a "model_type", PyLate takes it as its own.
        _write_json(directory / "config_sentence_transformers.json", {"query_prefix": markers[0], **settings})
        return directory

    return build


def _as_stanford_checkpoint(directory: Path, weight: Any, metadata: dict[str, Any]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(directory / "model.safetensors")
    tensors = {f"bert.{name}": tensor for name, tensor in tensors.items()} | {"linear.weight": weight}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((directory / "config.json").read_text())
    _write_json(directory / "config.json", config | {"architectures": ["HF_ColBERT"]})
    _write_json(directory / "artifact.metadata", metadata)


def _write_json(path: Path, values: Any) -> None:
    path.write_text(json.dumps(values))


@pytest.fixture(scope="session")
def hub_cache(
    tmp_path_factory: pytest.TempPathFactory,
    build_checkpoint: Callable[..., Path],
    colbert_checkpoint: Callable[..., Path],
) -> Path:
    """A Hugging Face Hub cache with a random checkpoint of each architecture, at names of the catalogue.

    bge-m3 and bge-small-en-v1.5 have the real models' width, which the documentation shows.
    """
    cache, source = tmp_path_factory.mktemp("hub"), tmp_path_factory.mktemp("checkpoints")
    for seed, (repository, architecture, sizes) in enumerate(
        [
            ("BAAI/bge-small-en-v1.5", "bert", {"width": 384, "layers": 1}),
            ("BAAI/bge-m3", "xlm-roberta", {"heads": True, "width": 1024, "layers": 1}),
            ("intfloat/e5-small-v2", "bert", {}),
            ("intfloat/multilingual-e5-base", "xlm-roberta", {}),
            ("Alibaba-NLP/gte-multilingual-base", "gte", {}),
        ]
    ):
        directory = build_checkpoint(source / str(seed), architecture, seed=seed, **sizes)
        if repository == "BAAI/bge-m3":
            _as_older_weights(directory)
        lay_out_as_hub(cache, repository, directory)
    lay_out_as_hub(
        cache, "answerdotai/answerai-colbert-small-v1", colbert_checkpoint(source / "colbert", stanford=True)
    )
    return cache


def _as_older_weights(directory: Path) -> None:
    """Keep the weights as ``pytorch_model.bin``, the only ones in the real BAAI/bge-m3."""
    import torch
    from safetensors.torch import load_file

    weights = directory / "model.safetensors"
    torch.save(load_file(weights), directory / "pytorch_model.bin")
    weights.unlink()


def lay_out_as_hub(cache: Path, repository: str, directory: Path, reference: str = "main") -> None:
    """Put the files of `directory` into a Hub cache as a download does: blobs, and a snapshot of links to them."""
    root = cache / f"models--{repository.replace('/', '--')}"
    commit = hashlib.sha1(f"{repository}@{reference}".encode()).hexdigest()
    snapshot = root / "snapshots" / commit
    for folder in (root / "blobs", root / "refs", snapshot):
        folder.mkdir(parents=True, exist_ok=True)
    (root / "refs" / reference).write_text(commit)
    for file in directory.rglob("*"):
        if file.is_dir():
            continue
        blob = hashlib.sha256(file.read_bytes()).hexdigest()
        shutil.copy(file, root / "blobs" / blob)
        link = snapshot / file.relative_to(directory)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(root.absolute() / "blobs" / blob)


@pytest.fixture(scope="session")
def add_to_hub() -> Callable[..., None]:
    return lay_out_as_hub
