"""From a model's name or path to a checked checkpoint in memory; every refusal about a checkpoint is made here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from torch import nn
from transformers import CONFIG_MAPPING, AutoModel, AutoTokenizer

from flagvec.engine.hidden_states import uncounted_id
from flagvec.errors import CheckpointError, ModelNotFoundError
from flagvec.models import find_model, nearest_model_names

SPARSE_HEAD = "sparse_linear.pt"
COLBERT_HEAD = "colbert_linear.pt"

_WEIGHTS = ("*.safetensors",)
_OLDER_WEIGHTS = ("pytorch_model*.bin",)
_BESIDE_WEIGHTS = ("*.json", "*.txt", "*.model", "*.py", SPARSE_HEAD, COLBERT_HEAD)

T = TypeVar("T")


@dataclass(frozen=True)
class HubOptions:
    """How the Hugging Face Hub is asked; the names are those of ``huggingface_hub.snapshot_download``."""

    cache_dir: str | Path | None = None
    revision: str | None = None
    token: str | bool | None = None
    local_files_only: bool = False


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that can encode.

    Args:
        directory: Where its files lie.
        backbone: The encoder, in evaluation mode, on the CPU, without a pooling layer.
        tokenizer: Its fast transformers tokenizer.
        max_length: The longest input it takes, in tokens, special ones included.
    """

    directory: Path
    backbone: Any
    tokenizer: Any
    max_length: int

    @property
    def width(self) -> int:
        """Length of a hidden state."""
        return int(self.backbone.config.hidden_size)


def find_checkpoint(name_or_path: str | Path, hub: HubOptions) -> Path:
    """Return the directory of a checkpoint: a directory itself, or the Hub's snapshot of a known or full name.

    Raises:
        ModelNotFoundError: No such directory, catalogue name or repository; names the nearest known names.
    """
    name = str(name_or_path)
    if name and Path(name).is_dir():
        return Path(name)
    card = find_model(name)
    repository = card.repository if card else name
    if repository.count("/") != 1 or repository.startswith((".", "/", "~")):
        raise ModelNotFoundError(
            _not_found(name, "it is no directory, no name of the catalogue and no 'organisation/name'")
        )
    return _download(name, repository, hub)


def has_heads(directory: Path) -> bool:
    """Return whether a checkpoint has both of BGE-M3's heads beside its backbone."""
    return (directory / SPARSE_HEAD).is_file() and (directory / COLBERT_HEAD).is_file()


def load_checkpoint(directory: Path, dtype: torch.dtype, trust_remote_code: bool, hub: HubOptions) -> Checkpoint:
    """Load backbone and tokenizer from `directory`; code that comes with it may be fetched as `hub` says.

    Raises:
        CheckpointError: Files that are missing, damaged or do not fit together; remote code that is not trusted.
    """
    path = directory / "config.json"
    config = _reading(path, lambda: json.loads(path.read_bytes()))
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), (str, type(None))):
        raise CheckpointError(f"{path} names no model_type: it is no transformers checkpoint")
    _refuse_untrusted_code(directory, config, trust_remote_code)
    options = {
        "trust_remote_code": trust_remote_code,
        "cache_dir": hub.cache_dir,
        "token": hub.token,
        "local_files_only": hub.local_files_only or not trust_remote_code,
    }
    backbone = _load_backbone(directory, dtype, options)
    tokenizer = _load_tokenizer(directory, options)
    vocabulary = backbone.config.vocab_size
    if len(tokenizer) > vocabulary:
        raise CheckpointError(
            f"{directory}: the tokenizer has {len(tokenizer)} tokens but the model has embeddings for {vocabulary}; "
            "they belong to different models"
        )
    return Checkpoint(directory, backbone, tokenizer, _longest_input(backbone))


def load_head(directory: Path, file_name: str, rows: int, columns: int, may_have_more: bool = False) -> nn.Linear:
    """Load a linear head, ``weight`` (rows, columns) and ``bias`` (rows,), as float32.

    Args:
        directory: The checkpoint's.
        file_name: The head's.
        rows: How many rows it has.
        columns: How wide the hidden states are.
        may_have_more: Take the first rows of a head that has more, as Matryoshka-trained heads let one.

    Raises:
        CheckpointError: The file is missing, damaged, or its tensors have other names or shapes.
    """
    path = directory / file_name
    if not path.is_file():
        raise missing_head(directory, file_name)
    state = _reading(path, lambda: torch.load(path, map_location="cpu", weights_only=True))
    found = _shapes(state)
    given = max(_rows(found), rows) if may_have_more else rows
    if found != {"weight": (given, columns), "bias": (given,)}:
        remedy = "; colbert_dim says how many of a head's rows are used" if may_have_more else ""
        expected = {"weight": (rows, columns), "bias": (rows,)}
        raise CheckpointError(f"{path} holds {found}, but this model needs {expected}{remedy}")
    if not all(torch.isfinite(tensor).all() for tensor in state.values()):
        raise CheckpointError(f"{path} holds NaN or infinite weights")
    head = nn.Linear(columns, rows)
    head.load_state_dict({name: tensor[:rows] for name, tensor in state.items()})
    return head.eval()


def _shapes(state: Any) -> Any:
    if not isinstance(state, dict):
        return type(state)
    return {key: tuple(value.shape) if isinstance(value, torch.Tensor) else value for key, value in state.items()}


def _rows(shapes: Any) -> int:
    match shapes:
        case {"weight": (int(rows), _)}:
            return rows
    return 0


def missing_head(directory: Path, file_name: str) -> CheckpointError:
    """Return the error for an output that a checkpoint has no head for."""
    return CheckpointError(
        f"{directory} has no {file_name}, so this model cannot give that output; ask for return_dense only, or take a "
        "BGE-M3 style checkpoint (flagvec never stands in random weights)"
    )


def _download(name: str, repository: str, hub: HubOptions) -> Path:
    def snapshot(*patterns: str) -> Path:
        return Path(
            snapshot_download(
                repository,
                revision=hub.revision,
                cache_dir=hub.cache_dir,
                token=hub.token,
                local_files_only=hub.local_files_only,
                allow_patterns=list(patterns),
                ignore_patterns=["*/*"],
            )
        )

    try:
        directory = snapshot(*_BESIDE_WEIGHTS, *_WEIGHTS)
        if not any(directory.glob("*.safetensors")):
            directory = snapshot(*_BESIDE_WEIGHTS, *_OLDER_WEIGHTS)
    except LocalEntryNotFoundError as error:
        raise ModelNotFoundError(
            _not_found(
                name, f"the Hub repository '{repository}' is not in the local cache, and the Hub was not reached"
            )
        ) from error
    except (HfHubHTTPError, HFValidationError) as error:
        raise ModelNotFoundError(_not_found(name, f"the Hub has no '{repository}' for you: {error}")) from error
    return directory


def _not_found(name: str, why: str) -> str:
    if find_model(name):
        return f"model {name!r} was not found: {why}; go online once, or give cache_dir or the path of its directory"
    nearest = nearest_model_names(name)
    hint = (
        f"; the nearest known names are {', '.join(nearest)}" if nearest else "; flagvec.models.CATALOGUE has the names"
    )
    return f"model {name!r} was not found: {why}{hint}"


def _refuse_untrusted_code(directory: Path, config: dict[str, Any], trust_remote_code: bool) -> None:
    architecture = config.get("model_type")
    if architecture in CONFIG_MAPPING or (trust_remote_code and "auto_map" in config):
        return
    if "auto_map" in config:
        raise CheckpointError(
            f"{directory}: the architecture {architecture!r} is not in transformers and comes as Python code with the "
            "checkpoint; pass trust_remote_code=True if you trust its authors, or take a checkpoint converted to "
            "transformers' own 'gte' architecture"
        )
    raise CheckpointError(f"{directory}: this version of transformers has no architecture {architecture!r}")


def _load_backbone(directory: Path, dtype: torch.dtype, options: dict[str, Any]) -> Any:
    model, report = _reading(
        directory,
        # Sizes that differ are let through to be refused below, by name.
        lambda: AutoModel.from_pretrained(
            directory, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True, **options
        ),
    )
    if not hasattr(model, "embeddings"):
        raise CheckpointError(f"{directory} holds a {type(model).__name__}, which is no BERT-like encoder")
    # The pooling layer feeds BERT's classification; no embedding needs it.
    model.pooler = None
    _refuse_other_weights(directory, model, report)
    return model.eval().requires_grad_(False)


def _refuse_other_weights(directory: Path, model: Any, report: Mapping[str, Any]) -> None:
    """Refuse weights that are missing, left over or not finite, where transformers would warn or say nothing."""
    parts = {name for name, _ in model.named_children()}
    problems = {
        "missing": [key for key in report["missing_keys"] if not key.startswith("pooler.")],
        "of another shape than config.json says": [str(key) for key in report["mismatched_keys"]],
        # Heads for other tasks are left over in many checkpoints; parts of the encoder itself are not.
        "left over": [
            key
            for key in report["unexpected_keys"]
            if key.removeprefix(f"{model.base_model_prefix}.").split(".")[0] in parts
            and not key.endswith("position_ids")
            and "pooler." not in key
        ],
        "NaN or infinite": [
            name for name, weight in model.named_parameters() if not weight.sum(dtype=torch.float32).isfinite()
        ],
    }
    for problem, keys in problems.items():
        if keys:
            named = ", ".join(sorted(keys)[:3])
            raise CheckpointError(f"{directory}: {len(keys)} weights are {problem} ({named}, ...)")


def _load_tokenizer(directory: Path, options: dict[str, Any]) -> Any:
    tokenizer = _reading(
        directory,
        lambda: AutoTokenizer.from_pretrained(directory, **options),
    )
    if not tokenizer.is_fast:
        raise CheckpointError(f"{directory} has no fast tokenizer (tokenizer.json), which flagvec needs")
    return tokenizer


def _longest_input(backbone: Any) -> int:
    table = getattr(backbone.embeddings, "position_embeddings", None)
    if not isinstance(table, nn.Embedding):
        return int(backbone.config.max_position_embeddings)
    uncounted = uncounted_id(backbone)
    return table.num_embeddings - (0 if uncounted is None else uncounted + 1)


def _reading(path: Path, read: Callable[[], T]) -> T:
    try:
        return read()
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # a damaged file makes json, safetensors, pickle, torch and transformers raise anything
        raise CheckpointError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
