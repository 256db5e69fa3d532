"""Measures encoding on one GPU side by side with FlagEmbedding, in turns in one process.

    python benchmarks/encode_gpu.py [--texts 4000] [--turns 3] [--without-peer]

The model has BGE-M3's shape, random weights and float16, and all three outputs are numpy arrays on the host. The matrix
rate is that of one large bfloat16 product, measured between the turns. FlagEmbedding has to be installed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from workloads import BUILD, bulk_texts, long_mix, m3_shape, texts_of_length

LAYERS, WIDTH, WIDE = 24, 1_024, 4_096
PEER_BATCH_SIZES = (256, 128, 64)
LENGTHS = (64, 256, 512, 2_048)
TOKENS_A_LENGTH = 262_144
RATE_SIZE = 8_192

Encode = Callable[[Sequence[str], int], object]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=4_000)
    parser.add_argument("--long-texts", type=int, default=240)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--without-peer", action="store_true")
    parser.add_argument("--build", type=Path, default=BUILD, help="the folder in which the checkpoint is made")
    parser.add_argument("--profile", action="store_true", help="print where the time of the bulk goes")
    arguments = parser.parse_args()
    console = Console(width=120)
    checkpoint = m3_shape(arguments.build)
    contenders = our_contenders(checkpoint) | ({} if arguments.without_peer else peer_contenders(checkpoint))
    console.print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, bfloat16 {matrix_rate():.0f} TFLOP/s")
    for name, texts, longest in (
        (f"{arguments.texts} descriptions", bulk_texts(arguments.texts), 512),
        (f"{arguments.long_texts} texts up to 2,048 tokens", long_mix(arguments.long_texts), 2_048),
    ):
        console.print(side_by_side(name, texts, longest, contenders, arguments.turns))
    console.print(side_by_side("one query", bulk_texts(1), 512, contenders, 20 * arguments.turns))
    for name in ("flagvec, float16", "flagvec, float16, compiled"):
        console.print(by_length(name, contenders[name], tokenizer_of(checkpoint), arguments.turns))
    if arguments.profile:
        with torch.profiler.profile() as profile:
            contenders["flagvec, float16"](bulk_texts(arguments.texts), 512)
        print(profile.key_averages().table(sort_by="self_cuda_time_total", row_limit=20, max_name_column_width=60))


def our_contenders(checkpoint: Path) -> dict[str, Encode]:
    """Return our encoder in both half precisions, and compiled."""
    from flagvec import BGEM3FlagModel

    def contender(**options: Any) -> Encode:
        model = BGEM3FlagModel(
            checkpoint, devices="cuda:0", return_sparse=True, return_colbert_vecs=True, batch_size=4_096, **options
        )
        return lambda texts, longest: model.encode(texts, max_length=longest)

    return {
        "flagvec, float16": contender(),
        "flagvec, float16, compiled": contender(compile=True),
        "flagvec, bfloat16": contender(use_fp16=False, use_bf16=True),
    }


def peer_contenders(checkpoint: Path) -> dict[str, Encode]:
    """Return FlagEmbedding in float16, at its default batch and at others."""
    import FlagEmbedding
    from FlagEmbedding import BGEM3FlagModel

    assert Path(FlagEmbedding.__file__).name == "__init__.py", f"{FlagEmbedding.__file__} is our alias"
    model = BGEM3FlagModel(
        str(checkpoint), use_fp16=True, devices="cuda:0", return_sparse=True, return_colbert_vecs=True
    )

    def contender(size: int) -> Encode:
        return lambda texts, longest: model.encode(list(texts), batch_size=size, max_length=longest)

    return {f"FlagEmbedding, float16, batch {size}": contender(size) for size in PEER_BATCH_SIZES}


def matrix_rate() -> float:
    """Return the TFLOP/s of one large bfloat16 product, the median of 23."""
    left, right = (torch.randn(RATE_SIZE, RATE_SIZE, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    seconds = statistics.median(timed(lambda: left @ right) for _ in range(23))
    return 2 * RATE_SIZE**3 / seconds / 1e12


def side_by_side(name: str, texts: Sequence[str], longest: int, contenders: dict[str, Encode], turns: int) -> Table:
    """Let all contenders encode the texts in turn, and return the best turn of each."""
    for encode in contenders.values():
        encode(texts[:512], longest)
    seconds = {label: [] for label in contenders}  # type: dict[str, list[float]]
    peaks = {}
    for _ in range(turns):
        for label, encode in contenders.items():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            seconds[label].append(timed(lambda encode=encode: encode(texts, longest)))
            peaks[label] = torch.cuda.max_memory_allocated() / 1e6
    ours = min(seconds["flagvec, float16"])
    table = Table(title=name, title_justify="left")
    for column in ("contender", "seconds", "texts/s", "flagvec is", "peak MB on the GPU"):
        table.add_column(column)
    for label, turn in seconds.items():
        best = min(turn)
        table.add_row(label, f"{best:.3f}", f"{len(texts) / best:,.0f}", f"{best / ours:.2f}x", f"{peaks[label]:,.0f}")
    return table


def by_length(name: str, encode: Encode, tokenizer: Any, turns: int) -> Table:
    """Return our throughput on texts of one length, and its share of the matrix rate."""
    table = Table(title=f"{name}, all three outputs, texts of one length", title_justify="left")
    for column in ("tokens a text", "tokens/s", "TFLOP/s", "of the matrix rate"):
        table.add_column(column)
    for length in LENGTHS:
        # Truncated, so that all have exactly this length.
        texts = texts_of_length(length, TOKENS_A_LENGTH // length)
        lengths = [len(ids) for ids in tokenizer(texts, truncation=True, max_length=length)["input_ids"]]
        encode(texts, length)
        rate = matrix_rate()
        seconds = min(timed(lambda texts=texts, length=length: encode(texts, length)) for _ in range(turns))
        done = sum(map(operations, lengths)) / seconds / 1e12
        table.add_row(f"{length:,}", f"{sum(lengths) / seconds:,.0f}", f"{done:.0f}", f"{done / rate:.0%}")
    return table


def operations(tokens: int) -> float:
    """Return the floating-point operations of a text's forward pass: products of the layers, and of attention."""
    products = 2 * tokens * (4 * WIDTH * WIDTH + 2 * WIDTH * WIDE)
    return LAYERS * (products + 4 * tokens * tokens * WIDTH)


def tokenizer_of(checkpoint: Path) -> Any:
    """Return the checkpoint's tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(checkpoint)


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of `work`, with everything that it starts on the GPU."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
