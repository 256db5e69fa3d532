"""Which path a model takes through the engine, in one sentence for the log."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from flagvec.engine.kernels import can_normalise_rows, takes_heads
from flagvec.engine.kernels.availability import why_not


@dataclass(frozen=True)
class Path:
    """What decides which of the engine's steps a model uses.

    Args:
        architecture: transformers' name of the architecture.
        device: Where the model runs.
        dtype: The number format of its weights.
        width: Of hidden states.
        heads: The number of attention heads.
        is_packed: Whether texts run packed, without padding.
        has_own_layers: Whether `PostNormLayer` replaced transformers' layers.
        runs_few_rows: Whether short batches run through all layers in one call.
        is_quantized: Whether the weights of linear layers are int8. `dtype` is the format of everything else then.
    """

    architecture: str
    device: torch.device
    dtype: torch.dtype
    width: int
    heads: int
    is_packed: bool
    has_own_layers: bool
    runs_few_rows: bool
    is_quantized: bool = False

    def __str__(self) -> str:
        packed = "packed" if self.is_packed else "padded"
        weights = "int8 and " if self.is_quantized else ""
        number_format = weights + str(self.dtype).removeprefix("torch.")
        return f"{self.architecture} runs on {self.device} in {number_format}, {packed}; {self._kernels()}"

    def _kernels(self) -> str:
        reasons = self._why_not()
        used = [name for name, why_not in reasons.items() if not why_not]
        if not used and len(set(reasons.values())) == 1:
            return f"no kernels: {next(iter(reasons.values()))}"
        others = [f"{name} not: {why_not}" for name, why_not in reasons.items() if why_not]
        return f"kernels: {'; '.join([', '.join(used) or 'none', *others])}"

    def _why_not(self) -> dict[str, str]:
        """Return for each kernel why it is not in use, an empty str if it is."""
        anyway = self._why_none()
        head_width = self.width // self.heads
        heads = "" if takes_heads(head_width, self.dtype) else f"heads are {head_width} wide"
        number_format = "" if self.dtype is torch.bfloat16 else "it computes in bfloat16"
        rows = "" if can_normalise_rows(self.width) else f"hidden states are {self.width} wide"
        foreign = "" if self.has_own_layers else "not the BERT family's layers"
        sizes = "" if self.runs_few_rows else "a size or a weight's order that the kernel does not read"
        attention = anyway or why_not("attention") or heads
        if self.is_quantized:
            return {"attention": attention, "rows of int8": why_not("rows of int8") or foreign}
        return {
            "attention": attention,
            "norms": anyway or why_not("norms") or number_format or foreign or rows,
            "few rows": anyway or why_not("few rows") or foreign or heads or sizes,
        }

    def _why_none(self) -> str:
        if self.device.type != "cpu":
            return f"they run on a CPU, not on {self.device.type}"
        if self.dtype not in (torch.float32, torch.bfloat16):
            return "they compute in float32 and bfloat16"
        return "" if self.is_packed else "they need packed texts"
