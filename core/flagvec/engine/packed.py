"""Packs texts end to end, and attends within each of them.

The attention is registered with transformers' attention interface as ``flagvec_packed``. So transformers' own models
run on a packed batch: their linear layers compute no padding.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from flagvec.engine import kernels
from flagvec.engine.local_attention import attend_near
from flagvec.engine.overlap import to_device

_HAS_VARLEN = find_spec("torch.nn.attention.varlen") is not None  # from torch 2.10

_AMPERE = (8, 0)  # the lowest compute capability that FlashAttention 2 supports, see its README

PACKED_ATTENTION = "flagvec_packed"

# float32 numbers in a vector of AVX512.
_VECTOR = 16
# Longer texts get no masked keys: the few exponentials after the last whole vector cost less than a mask.
_LONGEST_READ_ON = 384
# Full batches have a multiple of this many rows, see `even_number`.
ROWS_STEP = 128


@dataclass(frozen=True)
class PackedBatch:
    """Texts end to end.

    Args:
        token_ids: (tokens,) int64.
        positions: (tokens,) int64, each token's position in its own text, see `token_positions`.
        text_of_token: (tokens,) int64, the text that each token belongs to, without the tokens that fill up the batch.
        starts: (texts + 1,) int32, the first token of each text, then the end of the last. All four are on one device.
        lengths: The number of tokens of each text.
    """

    token_ids: Tensor
    positions: Tensor
    text_of_token: Tensor
    starts: Tensor
    lengths: list[int]

    @classmethod
    def of(
        cls, texts: Sequence[NDArray[np.int64]], device: torch.device, uncounted_id: int | None = None
    ) -> PackedBatch:
        """Pack the token ids of texts, each (tokens,). `token_positions` explains `uncounted_id`."""
        token_ids, lengths = np.concatenate(texts), [len(ids) for ids in texts]
        starts = np.array([0, *itertools.accumulate(lengths)], dtype=np.int32)
        return cls(
            token_ids=to_device(token_ids, device),
            positions=to_device(token_positions(token_ids, starts, uncounted_id), device),
            text_of_token=to_device(np.repeat(np.arange(len(texts), dtype=np.int64), lengths), device),
            starts=to_device(starts, device),
            lengths=lengths,
        )

    def filled_up(self, tokens: int, padding_id: int) -> PackedBatch:
        """Return the batch with so many tokens: `padding_id` follows its texts, and belongs to none of them."""
        filling = 0, tokens - len(self.token_ids)
        token_ids = pad(self.token_ids, filling, value=padding_id)
        return replace(self, token_ids=token_ids, positions=pad(self.positions, filling))


def token_positions(
    token_ids: NDArray[np.int64], starts: NDArray[np.int32], uncounted_id: int | None = None
) -> NDArray[np.int64]:
    """Return the position ids of texts that are packed end to end, (tokens,) int64.

    Positions count from 0 in each text. With `uncounted_id` they follow the RoBERTa family's rule for padded batches in
    transformers: counting starts at ``uncounted_id + 1``, and a token with that id is not counted and gets the id as
    its position. It is the padding's id, and a text can contain it as well, as "<pad>".

    Args:
        token_ids: (tokens,).
        starts: (texts + 1,), the first token of each text, then the end of the last.
        uncounted_id: The id of tokens that are not counted; None to count all.
    """
    if uncounted_id is None:
        return np.arange(len(token_ids), dtype=np.int64) - np.repeat(starts[:-1], np.diff(starts))
    is_counted = token_ids != uncounted_id
    before = np.cumsum(is_counted) - is_counted
    in_text = before - np.repeat(before[starts[:-1]], np.diff(starts))
    return np.where(is_counted, in_text + uncounted_id + 1, uncounted_id)


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    packed: PackedBatch | None = None,
    sliding_window: int | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend within each text of a packed batch. Without a packed batch, do the same as transformers' ``sdpa``.

    Args:
        module: The attention module that calls this function.
        query: (1, heads, tokens, head width); `key` and `value` have the same shape.
        key: See `query`.
        value: See `query`.
        attention_mask: The mask of a padded batch; None for a packed one.
        scaling: The factor for the scores; one over the root of the head width if None.
        packed: The packed batch, which the model's forward pass passes on.
        sliding_window: For a layer that attends locally, the nearest distance in tokens that is too far.
        options: Further arguments from transformers.

    Returns:
        (1, tokens, heads, head width), and None instead of attention weights.
    """
    if packed is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
    # `attend_packed` takes (tokens, heads, head width).
    query, key, value = (states[0].transpose(0, 1) for states in (query, key, value))
    reach = None if sliding_window is None else sliding_window - 1
    return attend_packed(query, key, value, packed, scaling, reach)[None], None


def attend_packed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    packed: PackedBatch,
    scaling: float | None = None,
    reach: int | None = None,
) -> Tensor:
    """Attend within each text of a packed batch.

    Args:
        query: (tokens, heads, head width), with any stride between rows; `key` and `value` have the same shape.
        key: See `query`.
        value: See `query`.
        packed: The batch.
        scaling: As in `attend`.
        reach: Attend to the tokens that are at most so many tokens away; to all of the text if None.

    Returns:
        (tokens, heads, head width).
    """
    if reach is not None and max(packed.lengths) <= reach + 1:
        reach = None
    if query.is_cuda:
        return _attend_with_varlen(query, key, value, packed, scaling, reach)
    if reach is None and kernels.can_attend(query):
        return kernels.attend(query, key, value, packed.starts, scaling)
    return _attend_by_length(query, key, value, packed, scaling, reach)


def can_pack(device: torch.device, dtype: torch.dtype, head_width: int, locally: bool = False) -> bool:
    """Return whether attention can run packed: always on a CPU; on CUDA if there is a kernel for it.

    Args:
        device: The device.
        dtype: The format of queries, keys and values.
        head_width: The width of a head.
        locally: Whether some layers attend only to tokens in reach.
    """
    if device.type != "cuda":
        return device.type == "cpu"
    takes_heads = dtype in (torch.float16, torch.bfloat16) and head_width % 8 == 0 and head_width <= 256
    return takes_heads and _HAS_VARLEN and _has_flash_attention(device) and not (locally and not _has_windows())


def _has_windows() -> bool:
    from torch.nn.attention.varlen import varlen_attn

    # torch 2.10 has none.
    return "window_size" in inspect.signature(varlen_attn).parameters


def _has_flash_attention(device: torch.device) -> bool:
    # Packed attention uses it, and raises on a T4 or V100.
    built = torch.backends.cuda.is_flash_attention_available()
    return built and torch.cuda.get_device_capability(device) >= _AMPERE


def _attend_with_varlen(
    query: Tensor, key: Tensor, value: Tensor, packed: PackedBatch, scaling: float | None, reach: int | None
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    longest = max(packed.lengths)
    # torch 2.10 takes no scale. It and later versions use this one by default.
    options: dict[str, Any] = {} if scaling in (None, query.shape[-1] ** -0.5) else {"scale": scaling}
    if reach is not None:
        options["window_size"] = reach, reach
    attended = varlen_attn(query, key, value, packed.starts, packed.starts, longest, longest, **options)
    assert isinstance(attended, Tensor), "varlen_attn returns a tuple only if asked for it"
    return attended


def _attend_by_length(
    query: Tensor, key: Tensor, value: Tensor, packed: PackedBatch, scaling: float | None, reach: int | None
) -> Tensor:
    beyond_text = key.new_zeros(_LONGEST_READ_ON + _VECTOR)
    beyond_text[_LONGEST_READ_ON:] = -torch.inf
    attended = query.new_empty(query.shape)
    end = 0
    for start, count, length in runs_of_equal_length(packed.lengths):
        # Texts of one length form a batch without padding: (texts, heads, tokens, head width).
        queries = _windows(query, start, count, length, length)
        if reach is not None and length > reach + 1:
            keys, values = (_windows(states, start, count, length, length) for states in (key, value))
            result = attend_near(queries, keys, values, reach, scaling)
        else:
            read = _rows_read(length, available=len(query) - start - (count - 1) * length)
            keys, values = (_windows(states, start, count, length, read) for states in (key, value))
            mask = beyond_text[_LONGEST_READ_ON - length :][:read].expand(length, read) if read > length else None
            result = scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=scaling)
        end = start + count * length
        attended[start:end] = result.transpose(1, 2).flatten(0, 1)
    attended[end:] = 0  # rows that fill up the batch
    return attended


def _rows_read(length: int, available: int) -> int:
    """Return how many keys a text of `length` tokens reads: its own, and masked ones up to a whole vector."""
    # torch's kernel computes the exponentials after the last whole vector one by one, so 31 keys take twice as long as
    # 32.
    read = -(-length // _VECTOR) * _VECTOR
    return read if length <= _LONGEST_READ_ON and read <= available else length


def _windows(states: Tensor, start: int, count: int, step: int, rows: int) -> Tensor:
    """Return `count` windows of `rows` rows, one every `step` rows, as a view (count, heads, rows, head width)."""
    last = start + (count - 1) * step
    return states[start : last + rows].unfold(0, rows, step).transpose(2, 3)


def runs_of_equal_length(lengths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield (first token, texts, tokens a text) for each run of adjacent texts of the same length."""
    start = 0
    for length, run in itertools.groupby(lengths):
        count = len(list(run))
        yield start, count, length
        start += count * length


def even_number(tokens: int) -> int:
    """Return how many rows to compute for so many tokens: the next multiple of a step between 8 and 128."""
    # oneDNN compiles a product for each number of rows, and keeps some 2 MB for each, without a limit
    # (benchmarks/memory.py). So few different numbers of rows may occur. A text of 512 tokens gets no more rows, a full
    # batch 2 % on average.
    step = min(max(8, 1 << max(tokens.bit_length() - 4, 0)), ROWS_STEP)
    return -(-tokens // step) * step


AttentionInterface.register(PACKED_ATTENTION, attend)
AttentionMaskInterface.register(PACKED_ATTENTION, sdpa_mask)
