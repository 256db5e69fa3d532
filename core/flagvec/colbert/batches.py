"""Batches of hidden states to the ColBERT vectors of a `ColbertFlagModel`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flagvec.engine.hidden_states import HiddenBatch
from flagvec.engine.overlap import HostCopy
from flagvec.finite import row_sums
from flagvec.forward_pass import ForwardPass, Settings
from flagvec.heads import token_vectors
from flagvec.m3_output import M3Output
from flagvec.token_windows import TokenWindows

if TYPE_CHECKING:
    from flagvec.colbert_model import ColbertFlagModel


def encode_tokens(model: ColbertFlagModel, texts: Sequence[str], settings: Settings, is_query: bool) -> M3Output:
    """Encode texts that have their instruction and return their ``colbert_vecs``.

    Args:
        model: Encodes.
        texts: Queries or documents.
        settings: How to encode.
        is_query: Whether they are queries, all of whose tokens get a vector.
    """
    vectors: list[Any] = [None] * len(texts)

    tokens = model._tokens(texts, settings, is_query)
    for positions, found in model._passes(tokens, settings, is_query):
        rows, kept = (torch.split(found[name], found["lengths"].tolist()) for name in ("colbert_vecs", "kept"))
        for position, own, wanted in zip(positions, rows, kept, strict=True):
            vectors[position] = _as_given(own[wanted], settings)
    return M3Output(colbert_vecs=vectors, truncated=tuple(tokens.truncated))


def pass_of_tokens(model: ColbertFlagModel, tokens: TokenWindows, settings: Settings, is_query: bool) -> ForwardPass:
    """Return the forward pass of texts through the model's own device. Other arguments are as in `encode_tokens`."""

    def reduce(batch: HiddenBatch) -> HostCopy:
        rows = token_vectors(batch, model.projection, model.truncate_dim, model.normalize_embeddings)
        kept = ~torch.isin(batch.packed.token_ids, model._skipped_ids)
        found = {
            "lengths": torch.tensor(batch.packed.lengths),
            "colbert_vecs": rows,
            "kept": torch.ones_like(kept) if is_query else kept,
            **row_sums(colbert=rows),
        }
        return HostCopy(found, staying=() if settings.to_numpy else ("colbert_vecs", "kept"))

    return ForwardPass(tokens, settings, model._query_encoder if is_query else model._encoder, reduce)


def _as_given(rows: Tensor, settings: Settings) -> Any:
    return rows.numpy() if settings.to_numpy else rows
