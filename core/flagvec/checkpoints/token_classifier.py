"""The sparse head of a checkpoint that keeps it among its weights, like gte-multilingual-base."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from flagvec.checkpoints.checks import weight_files
from flagvec.errors import CheckpointError

_WEIGHT, _BIAS = "classifier.weight", "classifier.bias"


def load_token_classifier(directory: Path, architectures: Sequence[str] | None, width: int) -> nn.Linear | None:
    """Load a token-classification head with one label as float32: ``weight`` (1, width) and ``bias`` (1,).

    The head's output for a token is the token's lexical weight, if it is above zero
    (https://huggingface.co/Alibaba-NLP/gte-multilingual-base, ``scripts/gte_embedding.py``).

    Args:
        directory: The checkpoint's. Its weights are in safetensors files.
        architectures: The field of ``config.json``.
        width: The width of a hidden state.

    Returns:
        The head, or None if the checkpoint has none. A head that classifies whole texts does not count.

    Raises:
        CheckpointError: The head has another width, or a weight is not finite.
    """
    files = _files_by_tensor(directory)
    if not {_WEIGHT, _BIAS} <= set(files) or _classifies_texts(files, architectures or ()):
        return None
    return _as_linear(files[_WEIGHT], _tensor(files, _WEIGHT), _tensor(files, _BIAS), width)


def _classifies_texts(names: Iterable[str], architectures: Iterable[str]) -> bool:
    """Return whether a classifier is for whole texts, such as a reranker's: its weights have the same names."""
    # Its input is not a hidden state, but what a pooler or ModernBERT's head makes of one. The config.json of
    # gte-multilingual-base names no token classification, so its absence says nothing.
    return any(name.endswith("ForSequenceClassification") for name in architectures) or any(
        "pooler." in name or name.startswith("head.") for name in names
    )


def _files_by_tensor(directory: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in weight_files(directory):
        if path.suffix != ".safetensors":
            continue
        with safe_open(path, framework="pt") as tensors:
            files |= dict.fromkeys(tensors.keys(), path)
    return files


def _tensor(files: Mapping[str, Path], name: str) -> Tensor:
    with safe_open(files[name], framework="pt") as tensors:
        tensor: Tensor = tensors.get_tensor(name)
    return tensor


def _as_linear(path: Path, weight: Tensor, bias: Tensor, width: int) -> nn.Linear | None:
    if len(weight) != 1:
        return None
    if weight.shape != (1, width) or bias.shape != (1,):
        raise CheckpointError(
            f"{path}: {_WEIGHT} has the shape {tuple(weight.shape)} and {_BIAS} {tuple(bias.shape)}, but this model "
            f"needs {(1, width)} and (1,); get the files again"
        )
    if not (torch.isfinite(weight).all() and torch.isfinite(bias).all()):
        raise CheckpointError(f"{path}: {_WEIGHT} or {_BIAS} is NaN or infinite; get the files again")
    head = nn.Linear(width, 1)
    head.load_state_dict({"weight": weight.float(), "bias": bias.float()})
    return head.eval()
