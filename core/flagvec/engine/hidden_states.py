"""Token ids to hidden states, packed: the texts of a batch end to end, without padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flagvec.engine.tokens import TokenIds, batches_by_length

# Padded tokens a forward pass: on CPU what stays in cache, on accelerators what fills the device.
_TOKEN_BUDGET = {"cpu": 4_096, "mps": 16_384}
_TOKEN_BUDGET_ELSEWHERE = 65_536


@dataclass(frozen=True)
class HiddenBatch:
    """The last hidden states of some texts.

    Args:
        states: (tokens, width), the texts' tokens end to end.
        token_ids: (tokens,) int64, on the same device.
        lengths: (texts,) int64, tokens of each text, on the same device.
        positions: (texts,) which of the input texts each one is.
    """

    states: Tensor
    token_ids: Tensor
    lengths: Tensor
    positions: NDArray[np.intp]


class HiddenStateEncoder:
    """Runs a backbone on one device.

    Args:
        backbone: A transformers encoder; called with ``input_ids`` and ``attention_mask``.
        device: Where it runs; the backbone is moved there.
        padding_id: The id that fills up shorter texts of a batch.
    """

    def __init__(self, backbone: nn.Module, device: torch.device, padding_id: int) -> None:
        self._backbone = backbone.to(device).eval()
        self._device = device
        self._padding_id = padding_id
        self._token_budget = _TOKEN_BUDGET.get(device.type, _TOKEN_BUDGET_ELSEWHERE)

    @torch.inference_mode()
    def run(self, texts: Sequence[TokenIds], batch_size: int) -> Iterator[HiddenBatch]:
        """Yield the hidden states of all `texts`, longest first, in batches of at most `batch_size` texts."""
        lengths = np.array([len(ids) for ids in texts], dtype=np.int64)
        for positions in batches_by_length(lengths, batch_size, self._token_budget):
            yield self._forward([texts[position] for position in positions], lengths[positions], positions)

    def _forward(
        self, texts: Sequence[TokenIds], lengths: NDArray[np.int64], positions: NDArray[np.intp]
    ) -> HiddenBatch:
        padded = np.full((len(texts), lengths.max()), self._padding_id, dtype=np.int64)
        mask = np.arange(lengths.max()) < lengths[:, None]
        padded[mask] = np.concatenate(texts)
        token_ids = torch.from_numpy(padded).to(self._device)
        attended = torch.from_numpy(mask).to(self._device)
        output = self._backbone(input_ids=token_ids, attention_mask=attended.long())
        return HiddenBatch(
            states=output.last_hidden_state[attended],
            token_ids=token_ids[attended],
            lengths=torch.from_numpy(lengths).to(self._device),
            positions=positions,
        )
