"""The vectors of one text, `TextVectors`, and the checks that make them valid for every store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flagvec.m3_output import M3Output
from flagvec.scoring import with_integer_keys

# Half precision rounds the length of a unit vector by up to 5e-4.
LENGTH_TOLERANCE = 1e-3
_LEAST_SQUARE, _GREATEST_SQUARE = (1.0 - LENGTH_TOLERANCE) ** 2, (1.0 + LENGTH_TOLERANCE) ** 2
# The smallest float32 in full precision, which is also the smallest weight that Elasticsearch takes.
SMALLEST_WEIGHT = float(np.finfo(np.float32).tiny)
_LARGEST_WEIGHT = float(np.finfo(np.float32).max)
# Milvus takes no larger id, and the Milvus adapter keeps the one above it for texts without weights.
LARGEST_TOKEN_ID = 2**32 - 3

ColbertOverflow = Literal["error", "truncate", "pool"]


@dataclass(frozen=True, slots=True)
class ColbertLimit:
    """How many ColBERT vectors of one text a store takes, and what happens to a text of more.

    Args:
        most: The most vectors; None for any number.
        overflow: ``"error"`` refuses the text, ``"truncate"`` keeps its first vectors, ``"pool"`` replaces neighbouring
            vectors by their mean, scaled to length 1, until they are few enough.
    """

    most: int | None = None
    overflow: ColbertOverflow = "error"


NO_LIMIT = ColbertLimit()


@dataclass(slots=True)
class TextVectors:
    """The vectors of one document or query, valid for every store; None for what was not asked for.

    Args:
        dense: (dimension,) float32, of length 1.
        sparse: Token id to weight, finite and above zero; empty if no token has a weight.
        colbert: (tokens, dimension) float32, rows of length 1.
        colbert_codes: (vectors, bytes) uint8, what a document of a store with `Schema.colbert_storage` has in place of
            `colbert`.
    """

    dense: NDArray[np.float32] | None = None
    sparse: Mapping[int, float] | None = None
    colbert: NDArray[np.float32] | None = None
    colbert_codes: NDArray[np.uint8] | None = None

    @property
    def present(self) -> tuple[str, ...]:
        """The representations that are there and not empty, in the order dense, sparse, colbert."""
        colbert = self.colbert if self.colbert_codes is None else self.colbert_codes
        values = {"dense": self.dense, "sparse": self.sparse, "colbert": colbert}
        return tuple(name for name, value in values.items() if value is not None and len(value))


@dataclass(frozen=True, slots=True)
class EncodedDocuments:
    """What a model made of a batch of documents.

    Args:
        vectors: One for each text, in order. Those in `refused` are not valid.
        refused: Why a text's vectors cannot be stored, by its position.
        truncated: The positions of the texts that were longer than the model reads.
    """

    vectors: list[TextVectors]
    refused: Mapping[int, str]
    truncated: Collection[int]

    def part(self, positions: Sequence[int]) -> EncodedDocuments:
        """Return those of the texts at these positions, which are ascending."""
        if len(positions) == len(self.vectors):
            return self
        truncated = set(self.truncated)
        return EncodedDocuments(
            [self.vectors[at] for at in positions],
            {new: self.refused[at] for new, at in enumerate(positions) if at in self.refused},
            [new for new, at in enumerate(positions) if at in truncated],
        )

    def all_valid(self) -> list[TextVectors]:
        """Return the vectors if all are valid.

        Raises:
            ValueError: One is not; says why.
        """
        for reason in self.refused.values():
            raise ValueError(reason)
        return self.vectors


def validated(
    output: M3Output, names: Sequence[str], colbert_limit: ColbertLimit = NO_LIMIT, *, is_plain: bool = False
) -> EncodedDocuments:
    """Return the vectors of each text of a batch, checked as `flagvec.store.encoding.encode_documents` says.

    Args:
        output: A batch.
        names: What messages call the texts, one for each.
        colbert_limit: How many ColBERT vectors of one text are kept.
        is_plain: Whether lexical weights have the token ids of a tokenizer as int and weights as float, as flagvec's
            own models give them. Those of other models are converted.
    """
    refused: dict[int, str] = {}
    vectors = [TextVectors() for _ in names]
    if (dense := output["dense_vecs"]) is not None:
        dense = np.ascontiguousarray(dense, dtype=np.float32)
        for position, reason in _wrong_lengths(dense):
            refused.setdefault(position, f"the dense vector of {names[position]} {reason}")
        for one, row in zip(vectors, dense, strict=True):
            one.dense = row
    if (sparse := output["lexical_weights"]) is not None:
        # Nearly every batch of a flagvec model needs no change, which one look at its weights shows.
        if not (is_plain and _are_in_range(sparse)):
            sparse = [_plain_weights(weights) for weights in sparse]
            for position, weights in enumerate(sparse):
                if problem := _problem_of(weights):
                    refused.setdefault(position, f"{names[position]} has a lexical weight {problem}")
        for one, weights in zip(vectors, sparse, strict=True):
            one.sparse = weights
    if (colbert := output["colbert_vecs"]) is not None:
        for position, (one, rows) in enumerate(zip(vectors, colbert, strict=True)):
            one.colbert, problem = _checked_rows(rows, names[position], colbert_limit)
            if problem:
                refused.setdefault(position, problem)
    return EncodedDocuments(vectors, refused, output.truncated)


def _are_in_range(all_weights: Sequence[Mapping[int, float]]) -> bool:
    values = np.fromiter(chain.from_iterable(one.values() for one in all_weights), np.float64)
    # A comparison with NaN is false.
    return not len(values) or bool(values.min() >= SMALLEST_WEIGHT and values.max() <= _LARGEST_WEIGHT)


def _plain_weights(weights: Mapping[Any, float]) -> dict[int, float]:
    """Return weights with int keys and Python floats, which every client takes, without those of zero and below."""
    # "not <" keeps NaN, which is refused later.
    return {
        token: float(weight) for token, weight in with_integer_keys(weights).items() if not weight < SMALLEST_WEIGHT
    }


def _problem_of(weights: Mapping[int, float]) -> str | None:
    if not all(weight <= _LARGEST_WEIGHT for weight in weights.values()):
        return "that is not finite: the model or its checkpoint is broken"
    if weights and (min(weights) < 0 or max(weights) > LARGEST_TOKEN_ID):
        return f"for a token id outside 0 to {LARGEST_TOKEN_ID}"
    return None


def _checked_rows(rows: Any, name: str, limit: ColbertLimit) -> tuple[NDArray[np.float32], str | None]:
    """Return the ColBERT vectors to keep, and why they cannot be stored if they cannot."""
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    for position, reason in _wrong_lengths(rows):
        return rows, f"ColBERT vector {position} of {name} {reason}"
    if limit.most is None or len(rows) <= limit.most:
        return rows, None
    match limit.overflow:
        case "truncate":
            return rows[: limit.most], None
        case "pool":
            return pooled(rows, limit.most), None
    return rows, (
        f"{name} has {len(rows)} ColBERT vectors; at this dimension the store takes at most {limit.most} a text: split "
        f"the text, let the model read {limit.most + 1} tokens at most, or make the store with colbert='compact', "
        "with colbert_overflow='truncate' or 'pool', or with colbert=False"
    )


def pooled(rows: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """Return `most` rows of length 1, each the direction of the mean of an equal share of neighbouring rows.

    Args:
        rows: (n, dimension) float32, rows of length 1, with n above `most`.
        most: How many rows to return, 1 and up.
    """
    starts = np.arange(most) * len(rows) // most
    sums = np.add.reduceat(rows, starts, axis=0)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    # Opposite rows cancel out, so that their mean has no direction: the first of them is kept.
    return np.where(lengths > LENGTH_TOLERANCE, sums / np.maximum(lengths, LENGTH_TOLERANCE), rows[starts])


def _wrong_lengths(rows: NDArray[np.float32]) -> list[tuple[int, str]]:
    """Return the positions of rows that are not of length 1, with the reason."""
    squares = np.einsum("ij,ij->i", rows, rows)
    # A comparison with NaN is false, so that NaN counts as wrong.
    wrong = np.flatnonzero(~((squares >= _LEAST_SQUARE) & (squares <= _GREATEST_SQUARE)))
    return [(int(position), _reason(float(squares[position]) ** 0.5)) for position in wrong]


def _reason(length: float) -> str:
    if not np.isfinite(length):
        return "is not finite: the model or its checkpoint is broken"
    return f"has length {length:.4g}, not 1: make the model with normalize_embeddings=True"
