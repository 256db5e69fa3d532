"""What the files of a checkpoint ask for, checked before transformers does it."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from transformers import CONFIG_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

from flagvec.errors import CheckpointError

# What int8_files.py writes. Other programs ignore a quantization_config that they do not know, and would take int8
# numbers for weights. They do not look for a file of this name, so they fail.
INT8_WEIGHTS = "flagvec-int8.safetensors"

# A model may have weights that its files lack, such as a pooling layer. Others are named after loading.
_SLACK = 2
_HARMLESS_TENSORS = 1_000
_HARMLESS_NUMBERS = 10_000_000  # 40 MB


@dataclass(frozen=True)
class HeldWeights:
    """What the weight files of a checkpoint hold.

    Args:
        tensors: How many tensors.
        numbers: How many numbers all tensors have together.
    """

    tensors: int
    numbers: int


def refuse_chosen_code(directory: Path, config: Mapping[str, Any], trust_remote_code: bool) -> None:
    """Check that no file selects code beyond transformers' own encoders of text, unless remote code is trusted.

    Args:
        directory: The checkpoint's.
        config: What its config.json holds.
        trust_remote_code: The caller's.

    Raises:
        CheckpointError: The checkpoint is quantised, is an adapter for another model, or is no encoder of text.
    """
    if (directory / "adapter_config.json").exists():
        raise CheckpointError(
            f"{directory} has an adapter_config.json, which names another model to load: merge the adapter into that "
            "model and save it (merge_and_unload in peft), or delete the file if these weights are merged already"
        )
    if trust_remote_code:
        return
    if _is_set(config, "quantization_config"):
        raise CheckpointError(
            f"{directory}: config.json has a quantization_config, which selects code to load the weights with; use the "
            "checkpoint that is not quantised, or pass trust_remote_code=True if you trust its authors"
        )
    architecture = str(config.get("model_type"))
    if architecture in CONFIG_MAPPING and not _is_text_encoder(CONFIG_MAPPING[architecture]):
        raise CheckpointError(
            f"{directory} holds a model of the architecture {architecture!r}; flagvec needs an encoder of text, such "
            "as bert or xlm-roberta"
        )


def weight_files(directory: Path) -> list[Path]:
    """Return the files that the weights of a checkpoint are loaded from; others beside them are ignored."""
    for name in ("model.safetensors", "pytorch_model.bin", INT8_WEIGHTS):  # transformers' in its order
        index = directory / f"{name}.index.json"
        if (directory / name).is_file():
            return [directory / name]
        if index.is_file():
            shards = json.loads(index.read_bytes())["weight_map"].values()
            return [directory / shard for shard in sorted(set(shards))]
    return []


def held_weights(directory: Path) -> HeldWeights:
    """Return what the weight files of a checkpoint hold; only their headers are read."""
    files = weight_files(directory)
    is_safe = all(file.suffix == ".safetensors" for file in files)
    shapes = _safetensors_shapes(files) if is_safe else _older_shapes(files)
    # A tensor of an older file may be a view that repeats one number.
    most = sum(file.stat().st_size for file in files)
    return HeldWeights(len(shapes), min(sum(map(math.prod, shapes)), most))


@contextmanager
def no_more_than(held: HeldWeights, directory: Path) -> Iterator[None]:
    """Stop this thread from making a model that is far larger than the weights for it.

    transformers makes a model of the size that config.json says, and then fills the weights that no file holds with
    random numbers.

    Raises:
        CheckpointError: The model would have over twice as many weights as `held`, or twice as many numbers.
    """
    most_tensors = max(_SLACK * held.tensors, _HARMLESS_TENSORS)
    most_numbers = max(_SLACK * held.numbers, _HARMLESS_NUMBERS)
    thread, tensors, numbers = threading.get_ident(), 0, 0

    def count(module: nn.Module, name: str, weights: nn.Parameter | None) -> None:
        nonlocal tensors, numbers
        # transformers makes a model without memory ("meta") and registers each weight again when it is loaded.
        if weights is None or not weights.is_meta or threading.get_ident() != thread:
            return
        tensors, numbers = tensors + 1, numbers + weights.numel()
        if tensors > most_tensors or numbers > most_numbers:
            raise CheckpointError(
                f"{directory}: config.json describes a model of at least {tensors:,} weights with {numbers:,} numbers, "
                f"but the weight files hold {held.tensors:,} with {held.numbers:,}; copy both from the same model"
            )

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def check_token_ids(directory: Path, tokenizer: Any, embeddings: int) -> None:
    """Check that the model has an embedding for each id that the tokenizer gives.

    Args:
        directory: The checkpoint's.
        tokenizer: The fast tokenizer.
        embeddings: How many rows the model's table of embeddings has.

    Raises:
        CheckpointError: An id is too large.
    """
    # The ids of the template around a text need not be in the vocabulary.
    ids = [*_vocabulary_ids(tokenizer.backend_tokenizer), *tokenizer("").input_ids]
    largest = max(ids, default=0)
    if largest >= embeddings:
        raise CheckpointError(
            f"{directory}: the tokenizer gives ids up to {largest}, but the model has embeddings for ids up to "
            f"{embeddings - 1}; copy both from the same model"
        )


def _vocabulary_ids(tokenizer: Tokenizer) -> Iterable[int]:
    """Return ids of a vocabulary, which include the largest."""
    added = tokenizer.get_added_tokens_decoder()
    if isinstance(tokenizer.model, Unigram):
        # Its ids are positions. A dict of XLM-RoBERTa's 250,000 tokens would take a quarter of a second.
        return [*added, tokenizer.get_vocab_size(with_added_tokens=False) - 1]
    return [*added, *tokenizer.get_vocab(with_added_tokens=False).values()]


def _is_text_encoder(kind: Any) -> bool:
    # transformers fetches the parts of some other models from the Hub, such as the backbones of image models.
    return kind in MODEL_FOR_MASKED_LM_MAPPING and not getattr(kind, "sub_configs", None)


def _is_set(config: Any, key: str) -> bool:
    """Return whether a configuration, or one in it, has a value other than None for a key."""
    if not isinstance(config, Mapping):
        return False
    return config.get(key) is not None or any(_is_set(part, key) for part in config.values())


def _safetensors_shapes(files: list[Path]) -> list[list[int]]:
    shapes = []
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            shapes += [tensors.get_slice(name).get_shape() for name in tensors.keys()]  # noqa: SIM118 (not a dict)
    return shapes


def _older_shapes(files: list[Path]) -> list[list[int]]:
    states = [torch.load(file, map_location="meta", weights_only=True) for file in files]
    return [list(tensor.shape) for state in states for tensor in state.values() if isinstance(tensor, torch.Tensor)]
