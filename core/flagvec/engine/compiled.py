"""On a CUDA device: what follows attention in a layer, compiled, and short texts as recorded CUDA graphs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

from flagvec.engine.packed import PackedBatch
from flagvec.engine.post_norm_layer import PostNormLayer, run_layers

# A graph is recorded for each multiple of this many tokens, so that there are few. More tokens take longer to compute
# than to launch.
_TOKENS_STEP, MOST_TOKENS = 16, 128
# CUDA wants work on another stream before it records, see torch's notes on CUDA graphs.
_WARM_UPS = 3


def compile_layers(backbone: Any) -> None:
    """Let the layers of a backbone, which `replace_layers` made with `plain_product`, run compiled.

    The first forward pass compiles for some seconds. torch keeps the result for all layers of one width, on disk too.
    """
    for layer in backbone.encoder.layer:
        layer.after_attention = _compiled_after_attention


def _compiled_after_attention(layer: PostNormLayer, attended: Tensor, states: Tensor) -> Tensor:
    widen = layer.widen[0]  # type: ignore[index]  # the Sequential of `plain_product`
    modules = layer.attention_out, layer.attention_norm, widen, layer.narrow, layer.feed_forward_norm
    weights = [tensor for module in modules for tensor in (module.weight, module.bias)]
    return _compiled()(attended, states, weights, (layer.attention_norm.eps, layer.feed_forward_norm.eps))


@cache
def _compiled() -> Callable[..., Tensor]:
    # Dynamic, because nearly every batch has another number of tokens.
    return torch.compile(_fusible_after_attention, dynamic=True)


def _fusible_after_attention(
    attended: Tensor, states: Tensor, weights: list[Tensor], epsilons: tuple[float, float]
) -> Tensor:
    """Do as `post_norm_layer.after_attention` does, in operations that torch can compile.

    It takes tensors instead of a layer, so that torch compiles it once for all layers.
    """
    out, out_bias, first, first_bias, wide, wide_bias, narrow, narrow_bias, second, second_bias = weights
    width = states.shape[-1:]
    states = layer_norm(linear(attended, out, out_bias) + states, width, first, first_bias, epsilons[0])
    widened = gelu(linear(states, wide, wide_bias))
    return layer_norm(linear(widened, narrow, narrow_bias) + states, width, second, second_bias, epsilons[1])


@dataclass(frozen=True)
class _Recording:
    """A recorded forward pass, and the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    batch: PackedBatch
    states: Tensor


class QueryGraphs:
    """Runs one short text through all layers in one launch. Else a query waits for some ten launches a layer.

    Args:
        backbone: A backbone whose layers are `PostNormLayer`.
        device: The CUDA device of its weights.
        padding_id: The token that fills up a text.
    """

    def __init__(self, backbone: Any, device: torch.device, padding_id: int) -> None:
        self._backbone = backbone
        self._device = device
        self._padding_id = padding_id
        self._recordings: dict[int, _Recording] = {}
        # Threads share the memory of a recording.
        self._lock = threading.Lock()

    def takes(self, batch: PackedBatch) -> bool:
        """Return whether a batch is one text of at most `MOST_TOKENS` tokens."""
        return len(batch.lengths) == 1 and batch.lengths[0] <= MOST_TOKENS

    def run(self, batch: PackedBatch) -> Tensor:
        """Return the last hidden states, (1, tokens, width), of a batch that `takes` allows."""
        tokens = batch.lengths[0]
        size = -(-tokens // _TOKENS_STEP) * _TOKENS_STEP
        with self._lock, torch.cuda.device(self._device):
            if size not in self._recordings:
                self._recordings[size] = self._record(batch.filled_up(size, self._padding_id), size)
            recording = self._recordings[size]
            recording.batch.token_ids[:tokens].copy_(batch.token_ids)
            recording.batch.positions[:tokens].copy_(batch.positions)
            recording.batch.starts.copy_(batch.starts)
            recording.graph.replay()
            return recording.states[:, :tokens].clone()

    def _record(self, filled: PackedBatch, size: int) -> _Recording:
        # The graph reads this memory at each replay. Its attention reads how many tokens are the text's from `starts`.
        batch = PackedBatch(
            filled.token_ids.clone(), filled.positions.clone(), filled.text_of_token, filled.starts.clone(), [size]
        )
        others = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]  # torch's own
        others.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(others):
            for _ in range(_WARM_UPS):
                run_layers(self._backbone, batch)
        torch.cuda.current_stream(self._device).wait_stream(others)
        graph = torch.cuda.CUDAGraph()
        # Only this thread's calls are recorded: another one may run a model of its own meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            states = run_layers(self._backbone, batch)
        return _Recording(graph, batch, states)
