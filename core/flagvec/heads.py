"""Hidden states to representations: the dense vector, and BGE-M3's two heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from flagvec.checkpoints.token_classifier import load_token_classifier
from flagvec.engine.hidden_states import HiddenBatch
from flagvec.engine.packed import even_number
from flagvec.engine.reductions import TokenWeights, first_rows, mean_rows, strongest_weights
from flagvec.loading import COLBERT_HEAD, SPARSE_HEAD, Checkpoint, load_head

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

# The special tokens that FlagEmbedding leaves out of the lexical weights.
_TOKENS_WITHOUT_WEIGHT = ("cls_token_id", "eos_token_id", "pad_token_id", "unk_token_id")


class M3Model(nn.Module):
    """The backbone and the two heads, under FlagEmbedding's names. A head that the checkpoint lacks is None."""

    def __init__(self, backbone: nn.Module, sparse_linear: nn.Linear | None, colbert_linear: nn.Linear | None) -> None:
        super().__init__()
        self.model = backbone
        self.sparse_linear = sparse_linear
        self.colbert_linear = colbert_linear


def load_m3_model(
    checkpoint: Checkpoint, device: str, colbert_dim: int, needs_sparse: bool, needs_colbert: bool
) -> M3Model:
    """Return the checkpoint's backbone with those heads that it has, on the device.

    The sparse head is ``sparse_linear.pt``, or else the checkpoint's token-classification head.

    Raises:
        CheckpointError: A needed head is missing, or a head does not fit the backbone.
    """
    backbone = checkpoint.backbone
    sparse = _sparse_head(checkpoint, needs_sparse)
    colbert = _head(checkpoint, COLBERT_HEAD, colbert_dim, needs_colbert)
    return M3Model(
        backbone,
        None if sparse is None else sparse.to(device, torch.float32),
        # As wide as a layer of the backbone, so it runs in the backbone's format.
        None if colbert is None else colbert.to(device, backbone.dtype),
    )


def dense_vectors(batch: HiddenBatch, model: AbsEmbedder) -> Tensor:
    """Return (texts, dimension) float32: pooled, cut to ``truncate_dim`` and normalised, as in FlagEmbedding.

    Args:
        batch: The texts.
        model: Says how. Linear layers, if it has them, come after pooling.
    """
    packed = batch.packed
    if model.pooling_method == "mean":
        pooled = mean_rows(batch.states, packed.starts, packed.text_of_token)
    else:
        pooled = first_rows(batch.states, packed.starts)
    vectors = pooled.float() if model.dense_layers is None else model.dense_layers(pooled.float())
    vectors = vectors[:, : model.truncate_dim]
    return nn.functional.normalize(vectors, dim=-1) if model.normalize_embeddings else vectors


def ids_without_weight(tokenizer: Any, device: str) -> Tensor:
    """Return the ids of the special tokens that get no lexical weight."""
    ids = [getattr(tokenizer, name) for name in _TOKENS_WITHOUT_WEIGHT]
    return torch.tensor([token_id for token_id in ids if token_id is not None], device=device)


def position_weights(batch: HiddenBatch, sparse_linear: nn.Linear) -> Tensor:
    """Return (tokens,) float32, the weight of each position, also those below zero."""
    weights: Tensor = sparse_linear(batch.states.float()).squeeze(-1)
    return weights


def token_weights(batch: HiddenBatch, weights: Tensor, excluded_ids: Tensor) -> TokenWeights:
    """Return each token's highest weight in its text, without the tokens in `excluded_ids`.

    Args:
        batch: The texts.
        weights: What `position_weights` returned for them.
        excluded_ids: Token ids.
    """
    return strongest_weights(weights, batch.packed.token_ids, batch.packed.text_of_token, excluded_ids)


def weights_by_text(weights: Mapping[Any, float], tokenizer: Any) -> dict[str, float]:
    """Return ``{token as text: weight}``, the highest weight if several ids decode to the same text."""
    named: dict[str, float] = {}
    for token_id, weight in weights.items():
        token = tokenizer.decode([int(token_id)])
        named[token] = max(weight, named.get(token, weight))
    return named


def colbert_vectors(batch: HiddenBatch, colbert_linear: nn.Linear, dimension: int | None, normalize: bool) -> Tensor:
    """Return (tokens, dimension) float32, a vector for every token, also for each text's first one."""
    # Texts that run again in a wider format need the head in it.
    dtype = batch.states.dtype
    weight, bias = colbert_linear.weight.to(dtype), colbert_linear.bias.to(dtype)
    return token_vectors(batch, lambda states: nn.functional.linear(states, weight, bias), dimension, normalize)


def token_vectors(
    batch: HiddenBatch, project: Callable[[Tensor], Tensor], dimension: int | None, normalize: bool
) -> Tensor:
    """Return (tokens, dimension) float32: what `project` makes of each token's state, cut, then normalised."""
    states = batch.states
    rows = len(states)
    if states.is_cpu:
        # oneDNN keeps memory for each number of rows.
        states = nn.functional.pad(states, (0, 0, 0, even_number(rows) - rows))
    vectors = project(states)[:rows, :dimension].float()
    return nn.functional.normalize(vectors, dim=-1) if normalize else vectors


def _sparse_head(checkpoint: Checkpoint, needed: bool) -> nn.Linear | None:
    directory = checkpoint.directory
    if not (directory / SPARSE_HEAD).is_file():
        classifier = load_token_classifier(directory, checkpoint.backbone.config.architectures, checkpoint.width)
        if classifier is not None:
            return classifier.requires_grad_(False)
    return _head(checkpoint, SPARSE_HEAD, 1, needed)


def _head(checkpoint: Checkpoint, file_name: str, rows: int, needed: bool) -> nn.Linear | None:
    if not needed and not (checkpoint.directory / file_name).is_file():
        return None
    head = load_head(checkpoint.directory, file_name, rows, checkpoint.width, may_have_more=file_name == COLBERT_HEAD)
    return head.requires_grad_(False)
