"""Copies a backbone into another number format, from the weights that it holds."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from flagvec.engine.devices import cpu_has_bfloat16
from flagvec.engine.post_norm_layer import plain_product
from flagvec.engine.prepacked import PrepackedLinear
from flagvec.engine.quantized_layers import PackedInt8Linear
from flagvec.engine.quantized_weights import Int8Embedding


def wider_formats(dtype: torch.dtype, device: torch.device) -> list[torch.dtype]:
    """Return the formats to try if numbers are too large for `dtype`: bfloat16 if the device has it, then float32.

    The list is empty for float32.
    """
    if dtype is torch.float32:
        return []
    tries_bfloat16 = dtype is torch.float16 and _has_bfloat16(device)
    return [torch.bfloat16, torch.float32] if tries_bfloat16 else [torch.float32]


def recast(backbone: Any, dtype: torch.dtype) -> Any:
    """Return a copy of a backbone whose parameters have the format `dtype`, on the same device.

    Prepacked layers become torch's own. Buffers keep their format, as transformers computes rotary angles in float32.
    Weights in int8 are shared with the copy.
    """
    # A deep copy takes what its memo has for an object, so that no weight is copied in the old format first.
    memo: dict[int, Any] = {
        id(weights): nn.Parameter(weights.to(dtype), requires_grad=False) for weights in backbone.parameters()
    }
    for module in backbone.modules():
        if isinstance(module, PrepackedLinear):
            memo[id(module)] = plain_product(module.linear(dtype), module.activation)
        elif isinstance(module, PackedInt8Linear):
            memo[id(module)] = module
        elif isinstance(module, Int8Embedding):
            memo[id(module)] = Int8Embedding(module.weight, module.scales, module.padding_idx, dtype)
    return copy.deepcopy(backbone, memo).eval()


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and cpu_has_bfloat16()
