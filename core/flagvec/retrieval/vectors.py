"""One text's vectors on their way into a store or a search: encoded once, validated once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flagvec.m3_output import M3Output
from flagvec.scoring import with_integer_keys

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

# Half precision rounds the length of a unit vector by up to 5e-4.
LENGTH_TOLERANCE = 1e-3
# What float32 holds in full precision, and the least that Elasticsearch takes.
SMALLEST_WEIGHT = float(np.finfo(np.float32).tiny)
LARGEST_TOKEN_ID = 2**32 - 1


@dataclass(frozen=True, slots=True, eq=False)
class TextVectors:
    """The vectors of one document or query, valid for every store; None for what was not asked for.

    Args:
        dense: (dimension,) float32, of length 1.
        sparse: Token id to weight, finite and above zero; empty where no token has a weight.
        colbert: (tokens, dimension) float32, rows of length 1.
    """

    dense: NDArray[np.float32] | None = None
    sparse: Mapping[int, float] | None = None
    colbert: NDArray[np.float32] | None = None

    @property
    def present(self) -> tuple[str, ...]:
        """The representations that are there and not empty, in the order dense, sparse, colbert."""
        values = {"dense": self.dense, "sparse": self.sparse, "colbert": self.colbert}
        return tuple(name for name, value in values.items() if value is not None and len(value))


def encode_documents(
    model: AbsEmbedder,
    texts: Sequence[str],
    names: Sequence[str],
    representations: Collection[str],
    max_colbert_rows: int | None = None,
) -> list[TextVectors]:
    """Encode documents in one pass and validate what comes out.

    Args:
        model: Any flagvec model that can give `representations`.
        texts: The documents.
        names: What errors call them, one a text.
        representations: Which to encode, of ``dense``, ``sparse`` and ``colbert``.
        max_colbert_rows: The most ColBERT vectors of one text that the store takes; None for any number.

    Returns:
        The vectors of each text, in order.

    Raises:
        ValueError: A vector that is not finite or not of length 1, a weight that is not finite, a token id that is not
            an unsigned 32-bit number, or too many ColBERT vectors; names the text.
    """
    output = _encode(model.encode_corpus, model, texts, representations)
    return validated(output, names, max_colbert_rows)


def encode_query(
    model: AbsEmbedder, query: str, representations: Collection[str], max_colbert_rows: int | None = None
) -> TextVectors:
    """Encode a query, with the model's query instruction; the rest is as in `encode_documents`."""
    output = _encode(model.encode_queries, model, [query], representations)
    return validated(output, ["the query"], max_colbert_rows)[0]


def validated(output: M3Output, names: Sequence[str], max_colbert_rows: int | None = None) -> list[TextVectors]:
    """Return the vectors of each text of a batch, checked as `encode_documents` says."""
    dense, sparse, colbert = output["dense_vecs"], output["lexical_weights"], output["colbert_vecs"]
    if dense is not None:
        dense = np.ascontiguousarray(dense, dtype=np.float32)
        lengths = np.linalg.norm(dense, axis=1)
        _check_unit(lengths, lambda position: f"the dense vector of {names[position]}")
    return [
        TextVectors(
            dense=None if dense is None else dense[position],
            sparse=None if sparse is None else _checked_weights(sparse[position], name),
            colbert=None if colbert is None else _checked_rows(colbert[position], name, max_colbert_rows),
        )
        for position, name in enumerate(names)
    ]


def _encode(
    encode: Callable[..., Any], model: AbsEmbedder, texts: Sequence[str], representations: Collection[str]
) -> M3Output:
    if model.representations == {"dense"}:
        output = encode(texts, convert_to_numpy=True)
        return output if isinstance(output, M3Output) else M3Output(dense_vecs=output)
    output = encode(
        texts,
        return_dense="dense" in representations,
        return_sparse="sparse" in representations,
        return_colbert_vecs="colbert" in representations,
        convert_to_numpy=True,
    )
    return M3Output(output)


def _checked_weights(weights: Mapping[Any, float], name: str) -> Mapping[int, float]:
    weights = with_integer_keys(weights)
    values = np.fromiter(weights.values(), dtype=np.float32, count=len(weights))
    if not np.isfinite(values).all():
        raise ValueError(f"{name} has a lexical weight that is not finite: the model or its checkpoint is broken")
    if (values < SMALLEST_WEIGHT).any():
        weights = {token: weight for token, weight in weights.items() if weight >= SMALLEST_WEIGHT}
    if weights and (min(weights) < 0 or max(weights) > LARGEST_TOKEN_ID):
        raise ValueError(f"{name} has a lexical weight for a token id outside 0 to {LARGEST_TOKEN_ID}")
    return weights


def _checked_rows(rows: NDArray[Any], name: str, most: int | None) -> NDArray[np.float32]:
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    if most is not None and len(rows) > most:
        raise ValueError(
            f"{name} has {len(rows)} ColBERT vectors; at this dimension the store takes at most {most} a text: "
            f"split the text, let the model read {most + 1} tokens at most, or make the store with colbert=False"
        )
    _check_unit(np.linalg.norm(rows, axis=1), lambda position: f"ColBERT vector {position} of {name}")
    return rows


def _check_unit(lengths: NDArray[np.float32], name: Callable[[int], str]) -> None:
    # Written so that NaN, of which every comparison is false, is refused too.
    refused = np.flatnonzero(~(np.abs(lengths - 1.0) <= LENGTH_TOLERANCE))
    if not len(refused):
        return
    length, what = lengths[refused[0]], name(int(refused[0]))
    if not np.isfinite(length):
        raise ValueError(f"{what} is not finite: the model or its checkpoint is broken")
    raise ValueError(f"{what} has length {length:.4g}, not 1: make the model with normalize_embeddings=True")
