"""Checkpoints that give ColBERT vectors only, in the layout of PyLate or of Stanford's ColBERT: settings and head."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from flagvec.checkpoints.author_files import AuthorFiles
from flagvec.checkpoints.dense_layers import DenseLayer, DenseLayers, checked_layers, load_dense_layers
from flagvec.errors import CheckpointError

# The keys of Stanford's artifact.metadata, and what PyLate calls them.
_STANFORD_KEYS = {
    "query_token_id": "query_prefix",
    "doc_token_id": "document_prefix",
    "query_maxlen": "query_length",
    "doc_maxlen": "document_length",
    "attend_to_mask_tokens": "attend_to_expansion_tokens",
}


@dataclass(frozen=True)
class ColbertSettings:
    """How queries and documents are encoded, under PyLate's names and with its defaults.

    Args:
        query_prefix: The token after a query's first one; ``""`` for none.
        document_prefix: The same for documents.
        query_length: The longest query in tokens, which a shorter one is filled up to.
        document_length: The longest document in tokens.
        do_query_expansion: Fill queries up with mask tokens. Each of them gets a vector.
        attend_to_expansion_tokens: Let tokens attend to these.
        skiplist_words: Tokens of documents that get no vector.
    """

    query_prefix: str = "[Q] "
    document_prefix: str = "[D] "
    query_length: int = 32
    document_length: int = 180
    do_query_expansion: bool = True
    attend_to_expansion_tokens: bool = False
    skiplist_words: Sequence[str] = tuple(string.punctuation)

    @classmethod
    def of(cls, files: AuthorFiles) -> ColbertSettings:
        """Return the settings of a checkpoint.

        Raises:
            CheckpointError: A value is of another type than it has to be.
        """
        if files.is_from_stanford:
            found = {"query_prefix": "[unused0]", "document_prefix": "[unused1]", **_metadata(files.directory)}
        else:
            found = {name: files.settings.get(name) for name in cls.__dataclass_fields__}
        given = {name: value for name, value in found.items() if value is not None}
        for name, value in given.items():
            expected = (list, tuple) if name == "skiplist_words" else type(getattr(cls, name))
            if not isinstance(value, expected):
                raise CheckpointError(f"{files.directory}: {name} is {value!r:.80}; get the checkpoint's files again")
        return cls(**given)


def load_projection(files: AuthorFiles, width: int, device: torch.device, dtype: torch.dtype) -> DenseLayers:
    """Load the linear layers that make ColBERT vectors of hidden states.

    Args:
        files: The checkpoint's.
        width: Length of a hidden state.
        device: Where the layers run.
        dtype: The format of their weights.

    Raises:
        CheckpointError: The checkpoint has none, or they are damaged.
    """
    if files.is_from_stanford:
        name = f"the linear layer of {files.directory}"
        return checked_layers([(DenseLayer(_stanford_weight(files.directory)), name)], width).to(device, dtype)
    layers = load_dense_layers(files.dense_folders if files.is_colbert else [], width, device, dtype)
    if layers is None:
        raise CheckpointError(
            f"{files.directory} is no ColBERT checkpoint: its modules.json has no Dense module that follows the "
            "transformer; load it with FlagAutoModel, which chooses the class"
        )
    return layers


def _metadata(directory: Path) -> Mapping[str, Any]:
    path = directory / "artifact.metadata"
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_bytes())
        return {ours: values[theirs] for theirs, ours in _STANFORD_KEYS.items() if theirs in values}
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {type(error).__name__}: {error}; get the file again") from error


def _stanford_weight(directory: Path) -> torch.Tensor:
    path = directory / "model.safetensors"
    try:
        if path.is_file():
            with safe_open(path, framework="pt") as tensors:
                weight: torch.Tensor = tensors.get_tensor("linear.weight").float()
                return weight
        path = directory / "pytorch_model.bin"
        weight = torch.load(path, map_location="cpu", weights_only=True)["linear.weight"]
        return weight.float()
    except Exception as error:  # for a damaged or missing file safetensors and torch raise many types
        raise CheckpointError(
            f"{path} gives no 'linear.weight', which makes ColBERT vectors: {type(error).__name__}: {error}; get the "
            "files again"
        ) from error
