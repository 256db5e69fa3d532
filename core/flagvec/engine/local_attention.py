"""Attention from each token to the tokens near it, as in the local layers of ModernBERT."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

# Queries in one product. Each block reads its own keys and those in reach on both sides, so the cost grows with the
# length of a text and not with its square.
_BLOCK = 128


def attend_near(query: Tensor, key: Tensor, value: Tensor, reach: int, scaling: float | None) -> Tensor:
    """Attend to the tokens that are at most `reach` tokens away.

    Args:
        query: (texts, heads, tokens, head width); `key` and `value` have the same shape.
        key: See `query`.
        value: See `query`.
        reach: The largest distance, in tokens.
        scaling: The factor for the scores; one over the root of the head width if None.

    Returns:
        (texts, heads, tokens, head width).
    """
    tokens = query.shape[2]
    blocks = []
    for start in range(0, tokens, _BLOCK):
        end = min(start + _BLOCK, tokens)
        first, last = max(start - reach, 0), min(end + reach, tokens)
        distance = torch.arange(start, end)[:, None] - torch.arange(first, last)
        blocks.append(
            scaled_dot_product_attention(
                query[:, :, start:end],
                key[:, :, first:last],
                value[:, :, first:last],
                attn_mask=(distance.abs() <= reach).to(query.device),
                scale=scaling,
            )
        )
    return torch.cat(blocks, dim=2)
