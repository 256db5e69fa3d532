"""Find a checkpoint by name or path, load it and check it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer

from flagvec.checkpoints import int8_files
from flagvec.checkpoints.architectures import native_config
from flagvec.checkpoints.checks import check_token_ids, held_weights, no_more_than, refuse_chosen_code
from flagvec.engine.hidden_states import uncounted_id
from flagvec.engine.quantized_weights import Int8Embedding
from flagvec.errors import CheckpointError, ModelNotFoundError
from flagvec.mini_m3 import assemble
from flagvec.models import find_model, nearest_model_names

SPARSE_HEAD = "sparse_linear.pt"
COLBERT_HEAD = "colbert_linear.pt"

_WEIGHTS = ("*.safetensors",)
_OLDER_WEIGHTS = ("pytorch_model*.bin",)
_BESIDE_WEIGHTS = (
    "*.json", "*.txt", "*.model", "*.py", SPARSE_HEAD, COLBERT_HEAD, "artifact.metadata", "*_Dense/pytorch_model.bin",
)  # fmt: skip
# Folders such as onnx and openvino. Those of sentence-transformers' modules, such as 1_Pooling, begin with a number.
_OTHER_FOLDERS = ("[!1-9]*/*",)

T = TypeVar("T")


@dataclass(frozen=True)
class HubOptions:
    """Options of ``huggingface_hub.snapshot_download``, under its names."""

    cache_dir: str | Path | None = None
    revision: str | None = None
    token: str | bool | None = None
    local_files_only: bool = False


@dataclass(frozen=True)
class Checkpoint:
    """A loaded and checked checkpoint.

    Args:
        directory: The directory of its files.
        backbone: The encoder, in evaluation mode, on the CPU, without a pooling layer.
        tokenizer: The fast transformers tokenizer.
        max_length: The longest input in tokens, special tokens included.
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
    """Return the directory of a checkpoint; download or assemble it if it is not there.

    Args:
        name_or_path: A directory, a name of the catalogue, or ``organisation/name`` on the Hub. A directory wins.
        hub: ``cache_dir`` is where mini-m3 is assembled too.

    Raises:
        ModelNotFoundError: There is no such directory, name or repository; names the nearest known names.
        ImportError: mini-m3 is asked for, and the package that ``flagvec[demo]`` brings is not installed.
        CheckpointError: mini-m3 cannot be assembled in the cache directory.
    """
    name = str(name_or_path)
    if name and Path(name).is_dir():
        return Path(name)
    card = find_model(name)
    repository = card.repository if card else name
    if repository is None:
        return assemble(hub.cache_dir)
    if repository.count("/") != 1 or repository.startswith((".", "/", "~")):
        raise _not_found(name, "there is no such directory or known name, and a repository is 'organisation/name'")
    return _download(name, repository, hub)


def has_heads(directory: Path) -> bool:
    """Return whether a checkpoint has both of BGE-M3's heads."""
    return (directory / SPARSE_HEAD).is_file() and (directory / COLBERT_HEAD).is_file()


def load_checkpoint(directory: Path, dtype: torch.dtype, trust_remote_code: bool, hub: HubOptions) -> Checkpoint:
    """Load backbone and tokenizer from `directory`.

    Args:
        directory: The checkpoint's.
        dtype: The backbone's floating-point format.
        trust_remote_code: Let Python code that comes with the checkpoint run, from another repository too.
        hub: How that repository is fetched.

    Raises:
        CheckpointError: A file is missing or damaged, two files do not fit together, the checkpoint is quantised or
            an adapter, or it needs code that is not trusted.
    """
    path = directory / "config.json"
    config = _reading(path, lambda: json.loads(path.read_bytes()))
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), (str, type(None))):
        raise CheckpointError(f"{path} names no model_type; give the directory of a transformers checkpoint")
    is_int8 = int8_files.is_int8(config)
    config = int8_files.without_mark(config) if is_int8 else config
    native = _reading(path, lambda: native_config(path, config, trust_remote_code))
    refuse_chosen_code(directory, config, trust_remote_code)
    options = {
        "trust_remote_code": trust_remote_code,
        "cache_dir": hub.cache_dir,
        "token": hub.token,
        "local_files_only": hub.local_files_only or not trust_remote_code,
    }
    read = partial(AutoConfig.from_pretrained, directory, **options)
    options["config"] = _reading(path, read) if native is None else native
    load_backbone = _load_int8_backbone if is_int8 else _load_backbone
    backbone = load_backbone(directory, dtype, options)
    tokenizer = _load_tokenizer(directory, options)
    check_token_ids(directory, tokenizer, backbone.config.vocab_size)
    return Checkpoint(directory, backbone, tokenizer, _longest_input(backbone))


def load_head(directory: Path, file_name: str, rows: int, columns: int, may_have_more: bool = False) -> nn.Linear:
    """Load a linear head as float32: ``weight`` (rows, columns) and ``bias`` (rows,).

    Args:
        directory: The checkpoint's.
        file_name: The head's.
        rows: The length of its output.
        columns: The width of a hidden state.
        may_have_more: Take the first `rows` of a longer head, as for Matryoshka-trained heads.

    Raises:
        CheckpointError: The file is missing or damaged, its tensors have other names or shapes, or a weight is not
            finite.
    """
    path = directory / file_name
    if not path.is_file():
        raise missing_head(directory, file_name)
    state = _reading(path, lambda: torch.load(path, map_location="cpu", weights_only=True))
    found = _shapes(state)
    given = max(_rows(found), rows) if may_have_more else rows
    if found != {"weight": (given, columns), "bias": (given,)}:
        remedy = "set colbert_dim to the number of its rows, or fewer" if may_have_more else "use the model's own head"
        expected = {"weight": (rows, columns), "bias": (rows,)}
        raise CheckpointError(f"{path} holds {found}, but this model needs {expected}; {remedy}")
    if not all(torch.isfinite(tensor).all() for tensor in state.values()):
        raise CheckpointError(f"{path} holds NaN or infinite weights; get the file again")
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
    """Return the error for an output whose head the checkpoint lacks."""
    option = {SPARSE_HEAD: "return_sparse", COLBERT_HEAD: "return_colbert_vecs"}[file_name]
    return CheckpointError(
        f"{directory} has no {file_name}, which {option} needs; ask for return_dense only, or use a BGE-M3 style "
        "checkpoint, which has both heads"
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
                ignore_patterns=list(_OTHER_FOLDERS),
            )
        )

    try:
        directory = snapshot(*_BESIDE_WEIGHTS, *_WEIGHTS)
        if not any(directory.glob("*.safetensors")):
            directory = snapshot(*_BESIDE_WEIGHTS, *_OLDER_WEIGHTS)
    except LocalEntryNotFoundError as error:
        why = f"the Hub repository '{repository}' is not in the local cache, and the Hub was not reached"
        raise _not_found(name, why) from error
    except (HfHubHTTPError, HFValidationError) as error:
        raise _not_found(name, f"the Hub does not give you '{repository}' ({error})") from error
    return directory


def _not_found(name: str, why: str) -> ModelNotFoundError:
    if find_model(name):
        remedy = "go online once, set cache_dir to a cache that has it, or give its directory"
    elif nearest := nearest_model_names(name):
        remedy = f"the nearest known names are {', '.join(nearest)}"
    else:
        remedy = "flagvec.list_models() shows the known names"
    return ModelNotFoundError(f"model {name!r} was not found: {why}; {remedy}")


def _load_backbone(directory: Path, dtype: torch.dtype, options: dict[str, Any]) -> Any:
    held = _reading(directory, lambda: held_weights(directory))
    # config.json may name code on the Hub as its attention, which transformers would fetch. None is transformers' own.
    options = {**options, "attn_implementation": None, "output_loading_info": True}
    with no_more_than(held, directory):
        model, report = _reading(
            directory,
            # _refuse_other_weights names the weights of another size, transformers does not.
            lambda: AutoModel.from_pretrained(directory, dtype=dtype, ignore_mismatched_sizes=True, **options),
        )
    if not hasattr(model, "embeddings"):
        raise CheckpointError(
            f"{directory} holds a {type(model).__name__}; flagvec needs a BERT-like encoder such as BertModel"
        )
    # The pooling layer is for classification.
    model.pooler = None
    _refuse_other_weights(directory, model, report)
    return model.eval().requires_grad_(False)


def _load_int8_backbone(directory: Path, dtype: torch.dtype, options: dict[str, Any]) -> Any:
    held = _reading(directory, lambda: held_weights(directory))
    with no_more_than(held, directory):
        return _reading(directory, lambda: int8_files.load_int8_backbone(directory, dtype, options))


def _refuse_other_weights(directory: Path, model: Any, report: Mapping[str, Any]) -> None:
    """Refuse weights that transformers accepts with a warning or in silence: missing, unknown or not finite."""
    parts = {name for name, _ in model.named_children()}
    problems = {
        "missing": [key for key in report["missing_keys"] if not key.startswith("pooler.")],
        "of another shape than config.json says": [str(key) for key in report["mismatched_keys"]],
        # Many checkpoints hold heads for other tasks. An unknown weight of the encoder itself is a fault.
        "unknown to the model that config.json describes": [
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
            more = ", ..." if len(keys) > 3 else ""
            raise CheckpointError(
                f"{directory}: {len(keys)} weights are {problem} ({named}{more}); get the files again"
            )


def _load_tokenizer(directory: Path, options: dict[str, Any]) -> Any:
    tokenizer = _reading(directory, lambda: AutoTokenizer.from_pretrained(directory, **options))
    if not getattr(tokenizer, "is_fast", False):
        raise CheckpointError(
            f"{directory} has no fast tokenizer, which flagvec needs; save the tokenizer again with tokenizer.json"
        )
    return tokenizer


def _longest_input(backbone: Any) -> int:
    table = getattr(backbone.embeddings, "position_embeddings", None)
    if not isinstance(table, (nn.Embedding, Int8Embedding)):
        return int(backbone.config.max_position_embeddings)
    uncounted = uncounted_id(backbone)
    return table.num_embeddings - (0 if uncounted is None else uncounted + 1)


def _reading(path: Path, read: Callable[[], T]) -> T:
    try:
        return read()
    except (ImportError, MemoryError, CheckpointError):
        raise
    except Exception as error:  # for a damaged file json, safetensors, torch and transformers raise many types
        raise CheckpointError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
