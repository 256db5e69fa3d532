"""Real documents and queries, encoded once by mini-M3 and kept on the disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flagvec import BGEM3FlagModel, Document, M3Output

# What a text's beginning says of it will do, in a quarter of the time.
LONGEST = 64


@dataclass(frozen=True)
class Sample:
    """The documents, the queries and the outputs of both, documents first.

    Args:
        documents: Real texts.
        queries: Real texts.
        output: A batch; its ColBERT vectors lie on the disk.
    """

    documents: Sequence[Document]
    queries: Sequence[str]
    output: M3Output

    @property
    def texts(self) -> list[str]:
        return [document.text for document in self.documents] + list(self.queries)


def encode_sample(documents: Sequence[Document], queries: Sequence[str], checkpoint: Path, directory: Path) -> Sample:
    """Encode the sample into `directory`, if it is not there yet."""
    if not (directory / "done").exists():
        model = BGEM3FlagModel(
            checkpoint, pooling_method="mean", return_sparse=True, return_colbert_vecs=True, device="cpu"
        )
        encoded = [
            model.encode_corpus([document.text for document in documents], max_length=LONGEST),
            model.encode_queries(queries, max_length=LONGEST),
        ]
        _save(directory, encoded)
        (directory / "done").touch()
    return Sample(documents, queries, _load(directory))


def _save(directory: Path, outputs: Sequence[M3Output]) -> None:
    weights = [one for output in outputs for one in output["lexical_weights"]]
    rows = [one for output in outputs for one in output["colbert_vecs"]]
    arrays = {
        "dense": np.concatenate([output["dense_vecs"] for output in outputs]),
        "weight_counts": np.array([len(one) for one in weights]),
        "tokens": np.array([token for one in weights for token in one]),
        "weights": np.array([weight for one in weights for weight in one.values()]),
        "row_counts": np.array([len(one) for one in rows]),
        "rows": np.concatenate(rows),
    }
    for name, array in arrays.items():
        np.save(directory / f"{name}.npy", array)


def _load(directory: Path) -> M3Output:
    names = ("dense", "weight_counts", "tokens", "weights", "row_counts", "rows")
    stored: Mapping[str, NDArray[Any]] = {name: np.load(directory / f"{name}.npy", mmap_mode="r") for name in names}
    weight_ends, row_ends = np.cumsum(stored["weight_counts"])[:-1], np.cumsum(stored["row_counts"])[:-1]
    pairs = zip(np.split(stored["tokens"], weight_ends), np.split(stored["weights"], weight_ends), strict=True)
    return M3Output(
        dense_vecs=stored["dense"],
        lexical_weights=[dict(zip(tokens.tolist(), weights.tolist(), strict=True)) for tokens, weights in pairs],
        colbert_vecs=np.split(stored["rows"], row_ends),
    )
