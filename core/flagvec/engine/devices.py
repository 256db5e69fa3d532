"""The device that runs a model, and the number format of its weights."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch

from flagvec.engine.number_format import measured

_logger = logging.getLogger(__name__)

DeviceLike = str | int


def choose_devices(devices: DeviceLike | Sequence[DeviceLike] | None, device: DeviceLike | None) -> list[torch.device]:
    """Return the devices that the arguments `devices` and `device` name, or the best one here if both are None.

    Raises:
        ValueError: The arguments differ, name no device or an unknown one, or a device is not available.
        TypeError: An argument is neither a str, an int nor a list of these.
    """
    chosen = [
        [*map(parse_device, _listed(value, argument))]
        for argument, value in (("devices", devices), ("device", device))
        if value is not None
    ]
    if len(chosen) == 2 and chosen[0] != chosen[1]:
        raise ValueError(f"devices={devices!r} and device={device!r} differ: they mean the same; pass one of them")
    return [*map(_present, chosen[0])] if chosen else [_best_device()]


def choose_dtype(device: torch.device, use_fp16: bool, use_bf16: bool, width: int) -> torch.dtype:
    """Return the number format for a model's weights on `device`.

    Args:
        device: The device that runs the model.
        use_fp16: Allow the half precision of the device: float16 on CUDA; on a CPU with bfloat16 instructions the
            faster of bfloat16 and float32, by `number_format.measured`; float32 elsewhere.
        use_bf16: Take bfloat16 on every device. Nothing is measured.
        width: Of the model's hidden states.
    """
    if use_bf16:
        return torch.bfloat16
    if use_fp16 and device.type == "cuda":
        return torch.float16
    if use_fp16 and device.type == "cpu" and cpu_has_bfloat16():
        measurement = measured(width)
        _logger.debug("number format: %s", measurement)
        return measurement.choice
    return torch.float32


def _listed(value: DeviceLike | Sequence[DeviceLike], argument: str) -> list[DeviceLike]:
    names: list[Any] = list(value) if isinstance(value, (list, tuple)) else [value]
    if any(isinstance(name, bool) or not isinstance(name, (str, int)) for name in names):
        raise TypeError(f"{argument}={value!r}: expected a str such as 'cuda:0', an int, or a list of these")
    if not names:
        raise ValueError(f"{argument}={value!r} names no device: pass None for the best one here")
    return names


def parse_device(name: DeviceLike) -> torch.device:
    """Return the device of a name, whether it is present here or not.

    Raises:
        ValueError: torch does not know it.
    """
    try:
        device = torch.device("cuda", name) if isinstance(name, int) else torch.device(name)
    except RuntimeError as error:
        raise ValueError(
            f"devices={name!r}: torch does not know this device ({error}); use 'cpu', 'cuda:0' or 'mps'"
        ) from error
    return torch.device("cuda", 0) if device == torch.device("cuda") else device


def _present(device: torch.device) -> torch.device:
    if device.type == "meta":
        raise ValueError("devices='meta': this device has no memory, so it cannot encode; use devices='cpu'")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"devices='{device}': torch sees {torch.cuda.device_count()} CUDA devices; use one of them or devices='cpu'"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"devices='{device}': torch sees no MPS device; use devices='cpu'")
    return device


def _best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def cpu_has_bfloat16() -> bool:
    """Return whether this CPU has AMX or AVX512-BF16 instructions."""
    # torch reads the CPU's flags. These names are private, and torch does not have them on every platform.
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, check, bool)() for check in checks)
