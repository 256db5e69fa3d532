"""Batches of hidden states to an `M3Output`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flagvec.engine.hidden_states import HiddenBatch
from flagvec.engine.overlap import HostCopy, write_rows
from flagvec.engine.reductions import TokenWeights, as_dicts
from flagvec.finite import row_sums
from flagvec.forward_pass import ForwardPass, Settings
from flagvec.heads import colbert_vectors, dense_vectors, position_weights, token_weights
from flagvec.late_interaction.pooling import pooled_rows
from flagvec.loading import COLBERT_HEAD, SPARSE_HEAD, missing_head
from flagvec.m3_output import M3Output
from flagvec.token_windows import TokenWindows

if TYPE_CHECKING:
    from flagvec.bge_m3 import BGEM3FlagModel


def asked_keys(model: BGEM3FlagModel, dense: bool | None, sparse: bool | None, colbert: bool | None) -> list[str]:
    """Return the keys of an output, the model's own choice in the place of None.

    Raises:
        ValueError: No representation is asked for.
        CheckpointError: The checkpoint has no head for what is asked for.
    """
    asked = {
        "dense_vecs": model.return_dense if dense is None else dense,
        "lexical_weights": model.return_sparse if sparse is None else sparse,
        "colbert_vecs": model.return_colbert_vecs if colbert is None else colbert,
    }
    if not any(asked.values()):
        raise ValueError("nothing to encode: set one of return_dense, return_sparse, return_colbert_vecs")
    heads = {"lexical_weights": (SPARSE_HEAD, "sparse"), "colbert_vecs": (COLBERT_HEAD, "colbert")}
    for key, (file_name, representation) in heads.items():
        if asked[key] and representation not in model.representations:
            raise missing_head(model.checkpoint.directory, file_name)
    return [key for key, wanted in asked.items() if wanted]


@dataclass(frozen=True)
class M3Batches:
    """One call of `BGEM3FlagModel.encode`.

    Args:
        model: Encodes.
        keys: The keys of the output.
        settings: How to encode.
        pool_factor: How many times fewer ColBERT vectors a text gets.
    """

    model: BGEM3FlagModel
    keys: Sequence[str]
    settings: Settings
    pool_factor: int

    def run(self, texts: Sequence[str]) -> M3Output:
        """Encode texts that have their instruction and return their output."""
        output = self._empty_output(len(texts))
        tokens = self.model._tokens(texts, self.settings)
        for positions, found in self.model._passes(tokens, self.settings, self.keys):
            _write(positions, found, output)
            if self.pool_factor > 1 and "colbert_vecs" in self.keys:
                self._pool(positions, output["colbert_vecs"])
        output.truncated = tuple(tokens.truncated)
        return _as_numpy(output) if self.settings.to_numpy else output

    def own_pass(self, tokens: TokenWindows) -> ForwardPass:
        """Return the forward pass of texts through the model's own device."""
        return ForwardPass(tokens, self.settings, self.model._encoder, self._reduced)

    def _empty_output(self, texts: int) -> M3Output:
        output = M3Output({key: [None] * texts for key in self.keys})
        if "dense_vecs" in self.keys:
            device = "cpu" if self.settings.to_numpy else self.model.target_devices[0]
            output["dense_vecs"] = torch.empty((texts, self.model.dimension), device=device)
        return output

    def _reduced(self, batch: HiddenBatch) -> HostCopy:
        """Return the batch's representations, on their way to the host if they are wanted there."""
        model = self.model
        dense = weights = colbert = None
        found = {"lengths": torch.tensor(batch.packed.lengths)}
        if "dense_vecs" in self.keys:
            found["dense_vecs"] = dense = dense_vectors(batch, model)
        if "lexical_weights" in self.keys:
            weights = position_weights(batch, model.model.sparse_linear)
            entries = token_weights(batch, weights, model._ids_without_weight)
            found |= {"token_keys": entries.keys, "token_weights": entries.weights}
        if "colbert_vecs" in self.keys:
            head, dimension = model.model.colbert_linear, model.colbert_dimension
            colbert = colbert_vectors(batch, head, dimension, model.normalize_embeddings)
            found["colbert_vecs"] = self._as_copied(colbert, batch.states.dtype)
        found |= row_sums(dense, weights, colbert)
        return HostCopy(found, staying=() if self.settings.to_numpy else ("dense_vecs", "colbert_vecs"))

    def _as_copied(self, colbert: Tensor, dtype: torch.dtype) -> Tensor:
        # These are most of the bytes to copy, and states in half precision have no more digits. Only a unit vector of
        # bfloat16 is sure to be in the range of float16.
        fits = dtype is torch.float16 or (dtype is torch.bfloat16 and self.model.normalize_embeddings)
        return colbert.half() if fits and colbert.is_cuda and self.settings.to_numpy else colbert

    def _pool(self, positions: NDArray[np.intp], vectors: list[Tensor]) -> None:
        for position in positions:
            rows = vectors[position]
            if not rows.isfinite().all():
                continue
            pooled = pooled_rows(rows.cpu().numpy(), self.pool_factor, self.model.normalize_embeddings)
            vectors[position] = torch.from_numpy(pooled).to(rows.device)


def _write(positions: NDArray[np.intp], found: Mapping[str, Tensor], output: M3Output) -> None:
    """Write the tensors of one batch to its texts' positions in `output`."""
    if "dense_vecs" in output:
        write_rows(positions, found["dense_vecs"], output["dense_vecs"])
    per_text: dict[str, Sequence[Any]] = {}
    if "lexical_weights" in output:
        entries = TokenWeights(found["token_keys"], found["token_weights"])
        per_text["lexical_weights"] = as_dicts(entries, len(positions))
    if "colbert_vecs" in output:
        per_text["colbert_vecs"] = _rows_by_text(found["colbert_vecs"], found["lengths"].tolist())
    for key, values in per_text.items():
        for position, value in zip(positions, values, strict=True):
            output[key][position] = value


def _as_numpy(output: M3Output) -> M3Output:
    converted = output.copy()
    if "dense_vecs" in output:
        converted["dense_vecs"] = output["dense_vecs"].numpy()
    if "colbert_vecs" in output:
        converted["colbert_vecs"] = [vectors.cpu().numpy() for vectors in output["colbert_vecs"]]
    return converted


def _rows_by_text(vectors: Tensor, lengths: list[int]) -> Sequence[Tensor]:
    """Return each text's rows without its first one; on the host as float32 in memory of their own."""
    if vectors.is_pinned():
        # Page-locked memory is scarce, so copy all rows at once, which uses all cores.
        vectors = vectors.to(torch.float32, copy=True)
        return [rows[1:] for rows in torch.split(vectors, lengths)]
    rows_of_texts = [rows[1:] for rows in torch.split(vectors, lengths)]
    # On a CPU the next forward pass overwrites this memory.
    return rows_of_texts if vectors.is_cuda else [rows.to(torch.float32, copy=True) for rows in rows_of_texts]
