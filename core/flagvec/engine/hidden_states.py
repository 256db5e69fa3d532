"""Runs token ids through a backbone. Texts are packed end to end, without padding, if the architecture allows it."""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flagvec.engine.activations import keep_freed_memory, rows_in_kept_memory
from flagvec.engine.compiled import QueryGraphs, compile_layers
from flagvec.engine.few_rows import MOST_ROWS, FewRows, can_run_few_rows
from flagvec.engine.forking import no_fork, warn_if_slowed
from flagvec.engine.overlap import to_device
from flagvec.engine.packed import PACKED_ATTENTION, ROWS_STEP, PackedBatch, can_pack, even_number
from flagvec.engine.paths import Path
from flagvec.engine.post_norm_layer import Product, plain_product, replace_layers, run_layers
from flagvec.engine.prepacked import PrepackedLinear, can_prepack, prepack_linear_layers
from flagvec.engine.quantized_layers import PackedInt8Linear, has_int8_layers, pack_int8_layers
from flagvec.engine.quantized_weights import Int8Embedding
from flagvec.engine.recast import recast, wider_formats
from flagvec.engine.tokens import TokenIds, TokenWindow, batches_by_length

_logger = logging.getLogger(__name__)

Reduced = TypeVar("Reduced")

# These architectures can run packed, because their attention needs only the text's own keys and takes positions as an
# argument. Others (relative positions, remote code) run padded.
_PACKABLE = frozenset({"bert", "roberta", "xlm-roberta", "camembert", "gte", "modernbert", "nomic_bert"})

# Some of ModernBERT's layers attend locally. It makes a mask of all tokens by all tokens for them, unless it is given
# its masks. `attend` needs none.
_MASKS = {"modernbert": {"full_attention": None, "sliding_attention": None}}

# Tokens in one forward pass. They fill an accelerator; on a CPU more tokens are not faster.
_TOKEN_BUDGET = {"cpu": 4_096, "mps": 16_384}
_TOKEN_BUDGET_ELSEWHERE = 65_536


@dataclass(frozen=True)
class HiddenBatch:
    """The last hidden states of a batch of texts.

    Args:
        states: (tokens, width), the texts end to end.
        packed: The batch itself, on the same device.
    """

    states: Tensor
    packed: PackedBatch


class HiddenStateEncoder:
    """Runs a backbone on one device.

    Args:
        backbone: A transformers encoder in evaluation mode. It is moved to the device, and its layers are replaced.
        device: The device to run on.
        padding_id: The token id that fills up a batch.
        compiled: Whether layers are compiled, and short texts recorded as CUDA graphs.

    Raises:
        ValueError: `compiled`, and this model or device cannot be compiled.
    """

    def __init__(self, backbone: Any, device: torch.device, padding_id: int, *, compiled: bool = False) -> None:
        self._backbone = backbone.to(device)
        self._device = device
        self._padding_id = padding_id
        self._padding: TokenIds = np.array([padding_id], dtype=np.int64)
        self._is_quantized = has_int8_layers(backbone)
        # Products of int8 give float32.
        widest = torch.float32 if self._is_quantized else backbone.dtype
        self._token_budget = _token_budget(backbone.config, device, widest)
        self._masks = _MASKS.get(backbone.config.model_type)
        self._is_packed = _takes_packed(backbone) and can_pack(
            device, backbone.dtype, _head_width(backbone.config), locally=self._masks is not None
        )
        self._uncounted_id = uncounted_id(backbone)
        self._is_prepacked = can_prepack(device, backbone.dtype)
        self._has_own_layers = False
        self._few_rows: FewRows | None = None
        self._graphs: QueryGraphs | None = None
        with no_fork:
            self._prepare()
            if compiled:
                self._compile()
        _logger.debug("%s", self._path())

    def _prepare(self) -> None:
        """Replace the backbone's layers by faster ones."""
        backbone = self._backbone
        if self._is_packed:
            backbone.set_attn_implementation(PACKED_ATTENTION)
            self._has_own_layers = replace_layers(backbone, self._product())
            # Where transformers takes no other attention, it logs an error and keeps its own: it did so for ModernBERT.
            took_attention = backbone.config._attn_implementation == PACKED_ATTENTION
            self._is_packed = self._has_own_layers or took_attention
            can_run = self._has_own_layers and can_run_few_rows(backbone)
            self._few_rows = FewRows(backbone) if can_run else None
        if self._is_quantized:
            pack_int8_layers(backbone)
        if self._is_prepacked:
            prepack_linear_layers(backbone)
            keep_freed_memory()

    def _product(self) -> Product:
        if self._is_quantized:
            return PackedInt8Linear
        return PrepackedLinear if self._is_prepacked else plain_product

    def _compile(self) -> None:
        if self._device.type != "cuda" or not self._has_own_layers:
            raise ValueError(
                f"compile=True: {self._backbone.config.model_type} on {self._device} cannot be compiled. Models "
                "of the BERT family can be, in half precision on a CUDA device that runs them packed: leave it out"
            )
        compile_layers(self._backbone)
        self._graphs = QueryGraphs(self._backbone, self._device, self._padding_id)

    @property
    def is_on_host(self) -> bool:
        """Whether the forward pass runs on the CPU, so that other work would compete with it for the cores."""
        return self._device.type == "cpu"

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the weights."""
        dtype: torch.dtype = self._backbone.dtype
        return dtype

    def for_single_texts(self) -> Iterator[HiddenStateEncoder]:
        """Yield encoders for texts whose states are not finite: copies in `wider_formats`, or this one in float32.

        A copy is made when it is asked for, and holds all weights a second time until it is deleted.
        """
        if self.dtype is torch.float32:
            yield self
        for dtype in wider_formats(self.dtype, self._device):
            yield self._in_format(dtype)

    def _in_format(self, dtype: torch.dtype) -> HiddenStateEncoder:
        with no_fork:  # oneDNN unpacks the weights
            return type(self)(recast(self._backbone, dtype), self._device, self._padding_id)

    def window(self, texts: Sequence[TokenIds], batch_size: int) -> TokenWindow:
        """Divide texts into batches for this device, longest first, of at most `batch_size` texts.

        A text without tokens gets one of padding.
        """
        # An empty text has no token if the tokenizer adds none. With one of padding, its vectors are defined.
        ids = [own if len(own) else self._padding for own in texts]
        lengths = np.array([len(own) for own in ids], dtype=np.int64)
        return TokenWindow(
            ids, [*batches_by_length(lengths, batch_size, self._token_budget, padded=not self._is_packed)]
        )

    def run(
        self, windows: Iterable[TokenWindow], reduce: Callable[[HiddenBatch], Reduced]
    ) -> Iterator[tuple[NDArray[np.intp], Reduced]]:
        """Run the batches of each window.

        If a batch does not fit into the device's memory, it is halved and run again. The batches after it are halved
        too, if they have as many tokens.

        Args:
            windows: Each is asked for when the one before is done.
            reduce: Called with each batch on its device, before the next batch runs.

        Yields:
            The positions of a batch's texts, counted over all windows, and what `reduce` returned for it.

        Raises:
            torch.OutOfMemoryError: A single text does not fit.
        """
        warn_if_slowed()
        before, budget = 0, self._token_budget
        for window in windows:
            pending = deque(window.batches)
            while pending:
                positions = pending.popleft()
                texts = [window.ids[position] for position in positions]
                tokens = self._count(texts)
                if tokens > self._token_budget and len(texts) > 1:
                    middle = (len(texts) + 1) // 2
                    pending.extendleft((positions[middle:], positions[:middle]))
                    continue
                try:
                    with no_fork:
                        reduced = reduce(self._forward(texts))
                except torch.OutOfMemoryError:
                    if len(texts) == 1:
                        # By the next call another process may have freed its memory.
                        self._token_budget = budget
                        raise
                    torch.cuda.empty_cache()
                    self._token_budget = max(min(tokens, self._token_budget) // 2, 1)
                    pending.appendleft(positions)
                    continue
                yield positions + before, reduced
            before += len(window.ids)

    def _count(self, texts: Sequence[TokenIds]) -> int:
        """Return the tokens of a batch, padding included."""
        lengths = [*map(len, texts)]
        return sum(lengths) if self._is_packed else len(lengths) * max(lengths)

    def _path(self) -> Path:
        config = self._backbone.config
        return Path(
            architecture=config.model_type,
            device=self._device,
            dtype=self._backbone.dtype,
            width=config.hidden_size,
            heads=getattr(config, "num_attention_heads", 1),  # remote code may use another name
            is_packed=self._is_packed,
            has_own_layers=self._has_own_layers,
            runs_few_rows=self._few_rows is not None,
            is_quantized=self._is_quantized,
        )

    @torch.inference_mode()
    def _forward(self, texts: Sequence[TokenIds]) -> HiddenBatch:
        batch = PackedBatch.of(texts, self._device, self._uncounted_id)
        states = self._packed_states(batch) if self._is_packed else self._padded_states(batch)
        return HiddenBatch(states, batch)

    def _packed_states(self, batch: PackedBatch) -> Tensor:
        tokens = len(batch.token_ids)
        if self._few_rows is not None and tokens <= MOST_ROWS:
            return self._few_rows.run(batch)[0]
        if self._graphs is not None and self._graphs.takes(batch):
            return self._graphs.run(batch)[0]
        if self._is_prepacked:
            batch = batch.filled_up(even_number(tokens), self._padding_id)
        if self._has_own_layers:
            return run_layers(self._backbone, batch)[0, :tokens]
        output = self._backbone(
            input_ids=batch.token_ids[None],
            attention_mask=self._masks,
            position_ids=batch.positions[None],
            packed=batch,
        )
        return output.last_hidden_state[0, :tokens]  # type: ignore[no-any-return]  # transformers is not typed

    def _padded_states(self, batch: PackedBatch) -> Tensor:
        shape = len(batch.lengths), max(batch.lengths)
        # Computed on the host, because a question to the device would wait for it.
        rows = to_device(_rows_in_padded(batch.lengths), self._device)
        token_ids = torch.full(shape, self._padding_id, device=self._device)
        attended = torch.zeros(shape, dtype=torch.int64, device=self._device)
        token_ids.view(-1)[rows], attended.view(-1)[rows] = batch.token_ids, 1
        output = self._backbone(input_ids=token_ids, attention_mask=attended)
        return output.last_hidden_state.flatten(0, 1)[rows]  # type: ignore[no-any-return]  # transformers is not typed


def _token_budget(config: Any, device: torch.device, dtype: torch.dtype) -> int:
    budget = _TOKEN_BUDGET.get(device.type, _TOKEN_BUDGET_ELSEWHERE)
    if device.type != "cpu":
        return budget
    widest = getattr(config, "intermediate_size", 4 * config.hidden_size)
    # ModernBERT computes both halves of its gated layer in one product.
    fitting = rows_in_kept_memory(2 * widest if config.model_type == "modernbert" else widest, dtype)
    # `even_number` adds no rows to a multiple of this step.
    return max(min(budget, fitting) // ROWS_STEP, 1) * ROWS_STEP


def _takes_packed(backbone: Any) -> bool:
    # Before transformers 5, and for ModernBERT 5.4, forward passes no further arguments on to attention.
    options = inspect.signature(backbone.forward).parameters.values()
    return backbone.config.model_type in _PACKABLE and any(option.kind is option.VAR_KEYWORD for option in options)


def _head_width(config: Any) -> int:
    width: int = config.hidden_size // config.num_attention_heads
    return width


def _rows_in_padded(lengths: Sequence[int]) -> NDArray[np.int64]:
    """Return the row of each packed token in the padded batch, (tokens,), if that batch is flattened to rows."""
    starts = np.cumsum([0, *lengths[:-1]])
    rows_before = np.arange(len(lengths)) * max(lengths)
    rows: NDArray[np.int64] = np.arange(sum(lengths)) + np.repeat(rows_before - starts, lengths)
    return rows


def uncounted_id(backbone: Any) -> int | None:
    """Return the token id that the RoBERTa family does not count (see `token_positions`); None for other models."""
    table = getattr(backbone.embeddings, "position_embeddings", None)
    return table.padding_idx if isinstance(table, (nn.Embedding, Int8Embedding)) else None
