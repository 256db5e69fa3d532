"""Fit mini-M3's two heads from documents alone, without queries or labels, in a few minutes on two cores.

    python examples/mini_m3/fit_heads.py CORPUS.jsonl.gz OUT_DIR [--without SAMPLE.jsonl.gz]

The sparse head is a ridge regression of a token's weight on its last hidden state. A lexical score multiplies the
query's weight by the document's. So the target is the square root of a BM25-like weight: the token's IDF over the
square root of the text's length.

The ColBERT head is a PCA of the hidden states, widest axis first. It divides each axis by the fourth root of its
variance, which makes the axes more equal.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import AutoModel, AutoTokenizer

from flagvec.mini_m3 import find_backbone

MAX_LENGTH = 512
TOKENS_PER_BATCH = 4096
RIDGE = 0.01
# The mean length of documents' weight vectors. With it a match scores about as high as with dense vectors.
DOCUMENT_LENGTH = 2.0
# Variance to the power of -1/4 scales an axis: halfway between a plain rotation (0) and whitening (-1/2).
WHITENING = 0.25
# Relative to the widest axis. Layer normalisation leaves one axis without variance, which must not be scaled up.
SMALLEST_VARIANCE = 1e-3

Array = NDArray[np.float64]
TokenIds = NDArray[np.int64]


def token_targets(texts: list[TokenIds]) -> list[Array]:
    """Return each text's target weights, (tokens,); `texts` are token ids, (tokens,), without special tokens."""
    document_frequency = np.bincount(np.concatenate([np.unique(ids) for ids in texts]))
    idf = np.log((len(texts) + 1) / (document_frequency + 0.5))
    mean_length = np.mean([len(ids) for ids in texts])
    targets = [np.sqrt(idf[ids]) * (max(len(ids), 1) / mean_length) ** -0.25 for ids in texts]
    pairs = zip(texts, targets, strict=True)
    # A token has one weight in a text, so the weight vector has one entry for each distinct id.
    lengths = [np.linalg.norm(target[np.unique(ids, return_index=True)[1]]) for ids, target in pairs]
    return [target * (DOCUMENT_LENGTH / np.mean(lengths)) for target in targets]


def hidden_states(model: Any, texts: list[TokenIds], cls: int, sep: int) -> Iterator[tuple[int, Array]]:
    """Yield each text's index and last hidden states, (tokens, width), without special tokens, shortest text first."""
    with tqdm(total=len(texts), unit=" documents") as progress:
        for batch in _batches(texts):
            yield from zip(batch, _encode(model, [texts[index] for index in batch], cls, sep), strict=True)
            progress.update(len(batch))


def _batches(texts: list[TokenIds]) -> Iterator[list[int]]:
    batch: list[int] = []
    for index in sorted(range(len(texts)), key=lambda index: len(texts[index])):
        if batch and (len(batch) + 1) * len(texts[index]) > TOKENS_PER_BATCH:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _encode(model: Any, texts: list[TokenIds], cls: int, sep: int) -> list[Array]:
    rows = [torch.tensor([cls, *ids, sep]) for ids in texts]
    input_ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    attention_mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    with torch.inference_mode():
        states = model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state.double().numpy()
    return [states[row, 1 : len(ids) + 1] for row, ids in enumerate(texts)]


class Moments:
    """Sums over tokens that give both heads: of hidden states, their products, and their products with targets."""

    def __init__(self, width: int) -> None:
        self.products = np.zeros((width + 1, width + 1))
        self.with_target = np.zeros(width + 1)

    def add(self, states: Array, target: Array) -> None:
        """Add tokens to the sums: `states` (tokens, width), `target` (tokens,)."""
        # The column of ones gives the bias and the sums of the other columns.
        extended = np.hstack([states, np.ones((len(states), 1))])
        self.products += extended.T @ extended
        self.with_target += extended.T @ target

    def sparse_head(self) -> tuple[Array, Array]:
        """Return weight (1, width) and bias (1,) of the ridge regression."""
        penalty = np.eye(len(self.products)) * RIDGE * self.products[-1, -1]
        penalty[-1, -1] = 0
        solution = np.linalg.solve(self.products + penalty, self.with_target)
        return solution[None, :-1], solution[-1:]

    def colbert_head(self) -> tuple[Array, Array]:
        """Return weight (width, width), widest axis first, and bias (width,), which subtracts the mean."""
        count, mean = self.products[-1, -1], self.products[-1, :-1] / self.products[-1, -1]
        variances, axes = np.linalg.eigh(self.products[:-1, :-1] / count - np.outer(mean, mean))
        variances, axes = variances[::-1], axes[:, ::-1].T
        # PCA leaves the sign of an axis open. This choice gives the same head on every machine.
        axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
        weight = axes * np.maximum(variances, SMALLEST_VARIANCE * variances[0])[:, None] ** -WHITENING
        return weight, -weight @ mean


def fit(texts: list[str], backbone: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Return the state dicts of both heads, fitted on `texts`, in float16 by file name."""
    tokenizer = AutoTokenizer.from_pretrained(backbone)
    model = AutoModel.from_pretrained(backbone).eval()
    encoded = tokenizer(texts, add_special_tokens=False, truncation=True, max_length=MAX_LENGTH - 2)
    token_ids = [np.array(ids, dtype=np.int64) for ids in encoded["input_ids"]]
    targets = token_targets(token_ids)
    moments = Moments(model.config.hidden_size)
    for index, states in hidden_states(model, token_ids, tokenizer.cls_token_id, tokenizer.sep_token_id):
        moments.add(states, targets[index])
    heads = {"sparse_linear.pt": moments.sparse_head(), "colbert_linear.pt": moments.colbert_head()}
    return {
        name: {"weight": torch.from_numpy(weight).half(), "bias": torch.from_numpy(bias).half()}
        for name, (weight, bias) in heads.items()
    }


def _read(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def main() -> None:
    """Fit on the corpus in the arguments and write the two head files."""
    parser = argparse.ArgumentParser(description="Fit mini-M3's sparse and ColBERT heads from documents.")
    parser.add_argument("corpus", type=Path, help='gzipped JSON lines with "id" and "text"')
    parser.add_argument("directory", type=Path, help="where sparse_linear.pt and colbert_linear.pt are written")
    parser.add_argument("--without", type=Path, help="documents to leave out, by id, because they measure quality")
    arguments = parser.parse_args()
    left_out = {document["id"] for document in _read(arguments.without)} if arguments.without else set()
    texts = [document["text"] for document in _read(arguments.corpus) if document["id"] not in left_out]
    arguments.directory.mkdir(parents=True, exist_ok=True)
    for name, head in fit(texts, find_backbone()).items():
        torch.save(head, arguments.directory / name)
    print(f"fitted on {len(texts)} documents")


if __name__ == "__main__":
    main()
