"""Packed hidden states to one result a text: pooling, and the strongest weight of each token."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class TokenWeights:
    """The distinct tokens of a batch of texts and their weights, text after text.

    Args:
        token_ids: (entries,) int64, no id twice within a text.
        weights: (entries,) float32, above zero.
        counts: (texts,) int64, entries of each text.
    """

    token_ids: NDArray[np.int64]
    weights: NDArray[np.float32]
    counts: NDArray[np.int64]

    def as_dicts(self) -> list[dict[int, float]]:
        """Return one ``{token id: weight}`` a text."""
        ids, weights = self.token_ids.tolist(), self.weights.tolist()
        bounds = np.cumsum([0, *self.counts]).tolist()
        return [dict(zip(ids[start:end], weights[start:end], strict=True)) for start, end in itertools.pairwise(bounds)]


def first_rows(packed: Tensor, lengths: Tensor) -> Tensor:
    """Return each text's first row: (tokens, width) and (texts,) to (texts, width)."""
    return packed[lengths.cumsum(0) - lengths]


def mean_rows(packed: Tensor, lengths: Tensor) -> Tensor:
    """Return the mean of each text's rows in float32: (tokens, width) and (texts,) to (texts, width)."""
    sums = packed.new_zeros((len(lengths), packed.shape[1]), dtype=torch.float32)
    sums.index_add_(0, _text_of_row(lengths), packed.float())
    return sums / lengths[:, None]


def without_first_rows(packed: Tensor, lengths: Tensor) -> Tensor:
    """Return `packed` (tokens, width) without each text's first row."""
    keep = torch.ones(len(packed), dtype=torch.bool, device=packed.device)
    keep[lengths.cumsum(0) - lengths] = False
    return packed[keep]


def strongest_weights(weights: Tensor, token_ids: Tensor, lengths: Tensor, excluded_ids: Tensor) -> TokenWeights:
    """Return each text's distinct tokens with the highest weight that any of their positions has.

    Args:
        weights: (tokens,) one weight a position; those of zero or less are left out.
        token_ids: (tokens,) int64.
        lengths: (texts,) int64.
        excluded_ids: Ids to leave out.
    """
    kept = (weights > 0) & ~torch.isin(token_ids, excluded_ids)
    text_of_entry = _text_of_row(lengths)[kept]
    # One integer a (text, token): a token id fits in 32 bits.
    keys, inverse = torch.unique((text_of_entry << 32) | token_ids[kept], return_inverse=True)
    strongest = torch.zeros(len(keys), dtype=torch.float32, device=weights.device)
    strongest.scatter_reduce_(0, inverse, weights[kept].float(), reduce="amax")
    return TokenWeights(
        token_ids=(keys & 0xFFFFFFFF).cpu().numpy(),
        weights=strongest.cpu().numpy(),
        counts=torch.bincount(keys >> 32, minlength=len(lengths)).cpu().numpy(),
    )


def _text_of_row(lengths: Tensor) -> Tensor:
    texts = torch.arange(len(lengths), device=lengths.device)
    return texts.repeat_interleave(lengths)
