"""``quantization="int8"``: which models and devices take it, and how such a model is loaded and written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from flagvec import __version__
from flagvec.checkpoints.int8_files import check_target, is_int8_directory, write_int8
from flagvec.engine.prepacked import can_prepack
from flagvec.engine.quantized_weights import quantize_weights
from flagvec.errors import CheckpointError
from flagvec.loading import Checkpoint, HubOptions, find_checkpoint, load_checkpoint
from flagvec.model_options import Quantization


def checked_quantization(quantization: Any) -> Quantization | None:
    """Return the argument `quantization`.

    Raises:
        ValueError: It is neither None nor ``"int8"``.
    """
    if quantization not in (None, "int8"):
        raise ValueError(f"quantization={quantization!r}: choose 'int8', or None for the model's own number format")
    chosen: Quantization | None = quantization
    return chosen


def load_model_checkpoint(
    directory: Path,
    dtype: torch.dtype,
    trust_remote_code: bool,
    hub: HubOptions,
    quantization: Quantization | None,
    devices: Iterable[torch.device],
) -> Checkpoint:
    """Load a checkpoint as `load_checkpoint` does, with weights of int8 if `quantization` or its files say so.

    Raises:
        CheckpointError: As `load_checkpoint`.
        ValueError: A device does not compute in int8.
    """
    is_written = is_int8_directory(directory)
    if is_written or quantization:
        said = f"{directory} holds int8 weights" if is_written else f"quantization={quantization!r}"
        _check_devices(said, devices)
    if is_written or not quantization:
        return load_checkpoint(directory, dtype, trust_remote_code, hub)
    checkpoint = load_checkpoint(directory, torch.float32, trust_remote_code, hub)
    quantize_weights(checkpoint.backbone, dtype)
    return checkpoint


def quantize_checkpoint(model: str | Path, output: Path, trust_remote_code: bool, hub: HubOptions) -> Path:
    """Write a checkpoint with weights of int8, and return the directory of the one that it was made of.

    Args:
        model: A name of the catalogue, a Hub repository, or a directory.
        output: A directory that is empty or does not exist.
        trust_remote_code: As in `load_checkpoint`.
        hub: As in `find_checkpoint`.

    Raises:
        ValueError: `output` has files.
        CheckpointError: The checkpoint is quantised already, or as `load_checkpoint`.
        ModelNotFoundError: As `find_checkpoint`.
    """
    check_target(output)
    directory = find_checkpoint(model, hub)
    if is_int8_directory(directory):
        raise CheckpointError(f"{directory} holds int8 weights already; give the checkpoint that it was made of")
    checkpoint = load_checkpoint(directory, torch.float32, trust_remote_code, hub)
    quantize_weights(checkpoint.backbone, torch.float32)
    write_int8(checkpoint.backbone, directory, output, __version__)
    return directory


def _check_devices(said: str, devices: Iterable[torch.device]) -> None:
    for device in devices:
        if device.type != "cpu":
            raise ValueError(
                f"{said}, which runs on CPUs only, but the device is {device}; pass devices='cpu', or leave the "
                "quantisation out: on an accelerator float16 is faster"
            )
        if not can_prepack(device, torch.float32):
            raise ValueError(
                f"{said}, which needs oneDNN on an x86-64 CPU; use the checkpoint in its own number format here"
            )
