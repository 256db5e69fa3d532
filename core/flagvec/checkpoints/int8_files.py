"""Checkpoints whose weights are int8: what ``flagvec quantize`` writes, and how it is loaded again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from transformers import AutoModel

from flagvec.checkpoints.checks import INT8_WEIGHTS
from flagvec.engine.quantized_weights import cast_parameters, quantize_weights
from flagvec.errors import CheckpointError

METHOD = "flagvec-int8"
_KEY = "quantization_config"
# What belongs to a checkpoint beside its weights. Folders of sentence-transformers' modules begin with a number.
_COPIED = (
    "*.json",
    "*.txt",
    "*.model",
    "*.py",
    "*_linear.pt",
    "artifact.metadata",
    "README.md",
    "LICENSE*",
    "[1-9]*_*",
)
_NOT_COPIED = ("config.json", "*.index.json")


def is_int8(config: Mapping[str, Any]) -> bool:
    """Return whether a ``config.json`` with this content belongs to weights that `write_int8` wrote."""
    found = config.get(_KEY)
    return isinstance(found, Mapping) and found.get("quant_method") == METHOD


def is_int8_directory(directory: Path) -> bool:
    """Return whether `write_int8` wrote a checkpoint; False if its ``config.json`` cannot be read."""
    try:
        config = json.loads((directory / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return False  # loading refuses such a checkpoint, and says why
    return isinstance(config, Mapping) and is_int8(config)


def without_mark(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``config.json`` of the checkpoint that was quantised, as `is_int8` has found it."""
    return {key: value for key, value in config.items() if key != _KEY}


def check_target(directory: Path) -> None:
    """Check that a directory can take a checkpoint.

    Raises:
        ValueError: It has files, or is one.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ValueError(f"output={str(directory)!r} exists and is not an empty directory; give a new name")


def write_int8(backbone: nn.Module, source: Path, target: Path, version: str) -> None:
    """Write a checkpoint with the weights of `quantize_weights`, and the other files of `source` as they are.

    ``config.json`` is written last, so that an interrupted call leaves no checkpoint that loads.

    Args:
        backbone: After `quantize_weights`, in float32.
        source: The directory of the checkpoint that `backbone` came from.
        target: A directory that `check_target` allows.
        version: flagvec's, which ``config.json`` names.
    """
    target.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.contiguous() for name, tensor in backbone.state_dict().items()}
    save_file(weights, target / INT8_WEIGHTS, metadata={"format": "pt"})
    for path in _files_beside_weights(source):
        if path.is_dir():
            shutil.copytree(path, target / path.name)
        else:
            shutil.copyfile(path, target / path.name)
    config = json.loads((source / "config.json").read_bytes())
    config[_KEY] = {"quant_method": METHOD, "flagvec_version": version}
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load_int8_backbone(directory: Path, dtype: torch.dtype, options: Mapping[str, Any]) -> Any:
    """Load what `write_int8` wrote. No weight of a linear layer or embedding is ever held in another format.

    Args:
        directory: The checkpoint's.
        dtype: The format of all other weights, and of hidden states.
        options: Of ``AutoModel.from_config``: the configuration, and whether remote code is trusted.

    Raises:
        CheckpointError: The weights are not those of the architecture that config.json names, or not finite.
    """
    with _weights_without_memory():
        model = AutoModel.from_config(options["config"], trust_remote_code=options["trust_remote_code"])
    model.pooler = None
    quantize_weights(model, dtype)
    expected = {name: tensor.dtype for name, tensor in model.state_dict().items()}
    weights = load_file(directory / INT8_WEIGHTS)
    model.load_state_dict(weights, assign=True)
    for name, tensor in weights.items():
        if (tensor.dtype is torch.int8) is not (expected[name] is torch.int8):
            raise CheckpointError(f"{directory}: {name} holds {tensor.dtype}; write the checkpoint again")
        if tensor.is_floating_point() and not tensor.sum(dtype=torch.float32).isfinite():
            raise CheckpointError(f"{directory}: {name} holds NaN or infinite weights; write the checkpoint again")
    cast_parameters(model, dtype)
    return model.eval().requires_grad_(False)


def _files_beside_weights(source: Path) -> Iterator[Path]:
    for path in sorted(source.iterdir()):
        if any(map(path.match, _COPIED)) and not any(map(path.match, _NOT_COPIED)):
            yield path


@contextmanager
def _weights_without_memory() -> Iterator[None]:
    """Let new parameters have no memory ("meta"). Buffers keep theirs, because no file holds some of them."""

    def without_memory(module: nn.Module, name: str, weights: nn.Parameter | None) -> nn.Parameter | None:
        return None if weights is None else nn.Parameter(weights.to("meta"), requires_grad=False)

    hook = register_module_parameter_registration_hook(without_memory)
    try:
        yield
    finally:
        hook.remove()
