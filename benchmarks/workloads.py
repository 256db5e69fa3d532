"""Texts of three kinds and two checkpoints for the benchmarks."""

from __future__ import annotations

import gzip
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from flagvec.mini_m3 import assemble

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"
EXAMPLES = ROOT / "examples"
sys.path.append(str(EXAMPLES))  # for the benchmarks that import evaluation

SAMPLE = EXAMPLES / "data" / "debian-sample.jsonl.gz"
SHORT_QUERY = "library for reading and writing zip archives"
LONG_MIX_MAX_LENGTH = 2_048


def bulk_texts(size: int) -> list[str]:
    """Return `size` package descriptions, some 75 tokens long on average."""
    with gzip.open(SAMPLE, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    return [texts[position % len(texts)] for position in range(size)]


def long_mix(size: int) -> list[str]:
    """Return `size` texts of some 60 to 2,048 tokens: 1, 2, 4, ... 32 descriptions joined, in turn."""
    texts = iter(bulk_texts(63 * (size // 6 + 1)))
    return ["\n\n".join(next(texts) for _ in range(2 ** (position % 6))) for position in range(size)]


def texts_of_length(words: int, size: int) -> list[str]:
    """Return `size` texts of `words` words each."""
    stream = iter(" ".join(bulk_texts(size * words // 20 + 2_400)).split())
    return [" ".join(next(stream) for _ in range(words)) for _ in range(size)]


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of this process that some work takes. Other load on the machine changes it little."""
    started = time.process_time()
    work()
    return time.process_time() - started


def mini_m3(directory: Path) -> Path:
    """Return mini-M3's checkpoint: 6 layers, width 384, real weights."""
    return assemble(directory)


def m3_shape(directory: Path, embeddings: int = 30_522) -> Path:
    """Return a checkpoint of BGE-M3's shape, 24 layers of width 1,024, with random weights and a BERT vocabulary.

    The number of embeddings changes only a lookup table, so the encoder costs as much as BGE-M3's. BGE-M3 has 250,002.
    """
    checkpoint = directory / "m3-shape"
    if (checkpoint / "colbert_linear.pt").exists():
        return checkpoint
    from transformers import XLMRobertaConfig, XLMRobertaModel

    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=embeddings,
        hidden_size=1_024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4_096,
        max_position_embeddings=8_194,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=0,
    )
    XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(checkpoint)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if not (checkpoint / name).exists():
            shutil.copyfile(mini_m3(directory) / name, checkpoint / name)
    for name, rows in (("sparse_linear.pt", 1), ("colbert_linear.pt", 1_024)):
        torch.save(nn.Linear(1_024, rows).state_dict(), checkpoint / name)
    return checkpoint
