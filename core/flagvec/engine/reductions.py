"""Reduces packed hidden states to one result a text: by pooling, or to the largest weight of each token."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenWeights:
    """The distinct tokens of each text in a batch, and their weights.

    The tensors have one row for each token. Their sizes do not depend on the weights, so the host need not wait for the
    device. A row with another weight than 0 is an entry; entries come text after text.

    Args:
        keys: (tokens,) int64, ``text << 32 | token id``; no two entries have the same key.
        weights: (tokens,) float32; a row of weight 0 is no entry.
    """

    keys: Tensor
    weights: Tensor


def as_dicts(entries: TokenWeights, texts: int) -> list[dict[int, float]]:
    """Return one ``{token id: weight}`` a text. The entries must be on the host."""
    is_entry = entries.weights.numpy() != 0
    keys, weights = entries.keys.numpy()[is_entry], entries.weights.numpy()[is_entry].tolist()
    ids = (keys & 0xFFFFFFFF).tolist()
    bounds = np.cumsum(np.bincount(keys >> 32, minlength=texts)).tolist()
    return [
        dict(zip(ids[start:end], weights[start:end], strict=True)) for start, end in itertools.pairwise([0, *bounds])
    ]


def first_rows(packed: Tensor, starts: Tensor) -> Tensor:
    """Return each text's first row, (texts, width), from (tokens, width) and the texts' `starts`, (texts + 1,)."""
    return packed[starts[:-1]]


def mean_rows(packed: Tensor, starts: Tensor, text_of_row: Tensor) -> Tensor:
    """Return the mean of each text's rows, (texts, width) float32; `text_of_row` is (tokens,) int64."""
    sums = packed.new_zeros((len(starts) - 1, packed.shape[1]), dtype=torch.float32)
    sums.index_add_(0, text_of_row, packed.float())
    return sums / starts.diff()[:, None]


def strongest_weights(weights: Tensor, token_ids: Tensor, text_of_token: Tensor, excluded_ids: Tensor) -> TokenWeights:
    """Return each text's distinct tokens, each with the largest weight among its positions.

    Args:
        weights: (tokens,) one weight a position; weights of zero or less are left out, and NaN is kept.
        token_ids: (tokens,) int64.
        text_of_token: (tokens,) int64, in ascending order.
        excluded_ids: Token ids to leave out.
    """
    if weights.is_mps:
        # MPS sorts 64-bit integers wrongly, without an error: pytorch/pytorch#155560 and #195595.
        columns = weights, token_ids, text_of_token, excluded_ids
        weights, token_ids, text_of_token, excluded_ids = (column.cpu() for column in columns)
    # A comparison with NaN is false, so NaN stays.
    counted = torch.where((weights <= 0) | torch.isin(token_ids, excluded_ids), 0.0, weights.float())
    # One integer for (text, token), because a token id fits in 32 bits.
    keys, order = ((text_of_token << 32) | token_ids).sort()
    entry = (keys.diff(prepend=keys[:1] - 1) > 0).cumsum(0) - 1
    return TokenWeights(
        keys=torch.zeros_like(keys).scatter_(0, entry, keys),
        weights=torch.zeros_like(counted).scatter_reduce_(0, entry, counted[order], reduce="amax"),
    )
