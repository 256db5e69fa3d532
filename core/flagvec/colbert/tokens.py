"""ColBERT's queries and documents as token ids, and the encoder for queries that are filled up with mask tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from flagvec.engine.hidden_states import HiddenBatch, HiddenStateEncoder
from flagvec.engine.overlap import to_device
from flagvec.engine.packed import PackedBatch, even_number
from flagvec.engine.tokens import TextTokenizer, TokenIds, TokenizedTexts
from flagvec.errors import CheckpointError

# Stands for a mask token that no token attends to. The text's own mask tokens are attended to.
UNATTENDED = -1
# So few queries run without others that fill up the batch.
_FEW_QUERIES = 8


@dataclass(frozen=True)
class MarkedTokenizer:
    """Turns texts into token ids with ColBERT's marker. It strips the texts, as PyLate does.

    Args:
        tokenize: The checkpoint's own tokenizer.
        marker_id: The token that follows the first one; None for no marker.
        filling_id: What a short text is filled up with; None to leave it as it is.
    """

    tokenize: TextTokenizer
    marker_id: int | None
    filling_id: int | None

    def __call__(self, texts: Sequence[str], max_length: int) -> TokenizedTexts:
        """Return at most `max_length` token ids of each text, marker included, and which texts had more."""
        markers = [] if self.marker_id is None else [self.marker_id]
        tokens = self.tokenize([text.strip() for text in texts], max_length - len(markers))
        ids = [np.insert(own, 1, markers) for own in tokens.ids]
        if self.filling_id is not None:
            ids = [np.pad(own, (0, max_length - len(own)), constant_values=self.filling_id) for own in ids]
        return TokenizedTexts(ids, tokens.truncated)


class ExpandedQueryEncoder(HiddenStateEncoder):
    """Runs queries of equal length in which `UNATTENDED` stands for mask tokens that get a state and are not seen.

    Its `padding_id` is the mask token.
    """

    @torch.inference_mode()
    def _forward(self, texts: Sequence[TokenIds]) -> HiddenBatch:
        ids = np.stack(texts)
        batch = PackedBatch.of(list(np.where(ids == UNATTENDED, self._padding_id, ids)), self._device)
        # oneDNN keeps memory for each number of rows, so many queries are filled up to an even number.
        queries = len(ids) if len(ids) <= _FEW_QUERIES else even_number(len(ids))
        ids = np.pad(ids, ((0, queries - len(ids)), (0, 0)), mode="edge")
        output = self._backbone(
            input_ids=to_device(np.where(ids == UNATTENDED, self._padding_id, ids), self._device),
            attention_mask=to_device((ids != UNATTENDED).astype(np.int64), self._device),
        )
        return HiddenBatch(output.last_hidden_state[: len(texts)].flatten(0, 1), batch)


def marker_id(tokenizer: Any, marker: str, directory: object) -> int | None:
    """Return the id of a marker; None for ``""``.

    Raises:
        CheckpointError: The tokenizer does not have it as one token.
    """
    if not marker:
        return None
    token_id: int | None = tokenizer.get_vocab().get(marker)
    if token_id is None:
        raise CheckpointError(
            f"{directory}: the tokenizer has no token {marker!r}, which marks queries or documents; get the "
            "checkpoint's files again"
        )
    return token_id


def mask_id(tokenizer: Any, directory: object) -> int:
    """Return the token that fills up queries: the mask token, or the last token of a text if there is no mask.

    Raises:
        CheckpointError: The tokenizer has neither.
    """
    candidates = (tokenizer.mask_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    token_id: int | None = next((token for token in candidates if token is not None), None)
    if token_id is None:
        raise CheckpointError(f"{directory}: the tokenizer has no mask token, which ColBERT fills up queries with")
    return token_id


def skipped_ids(tokenizer: Any, words: Sequence[str]) -> list[int]:
    """Return the ids of tokens that get no vector in documents."""
    # For a word that is no token this is the id of the unknown token, as in PyLate.
    ids = (tokenizer.convert_tokens_to_ids(word) for word in words)
    return sorted({token for token in ids if token is not None})
