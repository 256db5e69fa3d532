"""One text's vectors on their way into a store or a search: encoded once, validated once."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from struct import pack
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flagvec.m3_output import M3Output
from flagvec.scoring import with_integer_keys

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder
    from flagvec.store.schema import Schema

# Half precision rounds the length of a unit vector by up to 5e-4.
LENGTH_TOLERANCE = 1e-3
_LEAST_SQUARE, _GREATEST_SQUARE = (1.0 - LENGTH_TOLERANCE) ** 2, (1.0 + LENGTH_TOLERANCE) ** 2
# What float32 holds in full precision, and the least that Elasticsearch takes.
SMALLEST_WEIGHT = float(np.finfo(np.float32).tiny)
_LARGEST_WEIGHT = float(np.finfo(np.float32).max)
# Milvus takes no more, and the last one stands there for a text without weights.
LARGEST_TOKEN_ID = 2**32 - 3
# Raises for any mapping that is no dict.
_DICT_VALUES: Callable[[Any], Iterable[Any]] = dict.values

ColbertOverflow = Literal["error", "truncate", "pool"]

OUTPUT_KEYS = {"dense": "dense_vecs", "sparse": "lexical_weights", "colbert": "colbert_vecs"}


@dataclass(frozen=True, slots=True)
class ColbertLimit:
    """How many ColBERT vectors of one text a store takes, and what happens to a text of more.

    Args:
        most: The most vectors; None for any number.
        overflow: ``"error"`` refuses the text, ``"truncate"`` keeps its first vectors, ``"pool"`` replaces neighbouring
            vectors by their mean, of length 1, until they are as few.
    """

    most: int | None = None
    overflow: ColbertOverflow = "error"


NO_LIMIT = ColbertLimit()


class TextVectors(NamedTuple):
    """The vectors of one document or query, valid for every store; None for what was not asked for.

    A tuple, as one is made for every document: a frozen dataclass takes more than twice as long.

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
    colbert_limit: ColbertLimit = NO_LIMIT,
) -> list[TextVectors]:
    """Encode documents in one pass and validate what comes out.

    Args:
        model: Any flagvec model that can give `representations`.
        texts: The documents.
        names: What errors call them, one a text.
        representations: Which to encode, of ``dense``, ``sparse`` and ``colbert``.
        colbert_limit: How many ColBERT vectors of one text are kept.

    Returns:
        The vectors of each text, in order.

    Raises:
        ValueError: A vector that is not finite, not of length 1 or not of the model's dimension, a weight that is not
            finite, a token id that is out of range, or too many ColBERT vectors; names the text.
    """
    output = encode_texts(model.encode_corpus, model, texts, representations)
    return validated(output, names, colbert_limit)


def encode_query(
    model: AbsEmbedder, query: str, representations: Collection[str], colbert_limit: ColbertLimit = NO_LIMIT
) -> TextVectors:
    """Encode a query, with the model's query instruction; the rest is as in `encode_documents`."""
    output = encode_texts(model.encode_queries, model, [query], representations)
    return validated(output, ["the query"], colbert_limit)[0]


def query_vectors(
    output: M3Output,
    schema: Schema,
    representations: Sequence[str],
    colbert_limit: ColbertLimit = NO_LIMIT,
) -> TextVectors:
    """Return the ready vectors of a query, validated as those that `encode_query` makes.

    Args:
        output: What a model gave for one query; what is not in `representations` is left out.
        schema: What the store holds.
        representations: What the search uses.
        colbert_limit: How many ColBERT vectors are kept.

    Raises:
        TypeError: Something else than a model's output.
        ValueError: Not one text, a representation that is missing, or what `encode_documents` refuses.
    """
    if not isinstance(output, M3Output):
        raise TypeError(f"vectors takes an M3Output, as encode_queries gives it, not {type(output).__name__}")
    batch = output.as_batch()
    if batch.num_texts != 1:
        raise ValueError(f"vectors holds {batch.num_texts} queries; search for one at a time: vectors[0]")
    if missing := [name for name in representations if batch[OUTPUT_KEYS[name]] is None]:
        raise ValueError(
            f"the search uses {' and '.join(representations)}, but vectors holds no {' and no '.join(missing)}: "
            "encode the query for all of these, or choose another mode"
        )
    batch = M3Output({OUTPUT_KEYS[name]: batch[OUTPUT_KEYS[name]] for name in representations})
    widths = {"dense": schema.dimension, "colbert": schema.colbert_dimension}
    for name in set(representations) & widths.keys():
        shape = np.shape(batch[OUTPUT_KEYS[name]][0])
        if shape[-1:] != (widths[name],):
            raise ValueError(f"vectors holds a {name} part of shape {shape}; the store's has {widths[name]} dimensions")
    return validated(batch, ["the query"], colbert_limit)[0]


def encode_texts(
    encode: Callable[..., Any],
    model: AbsEmbedder,
    texts: Sequence[str],
    representations: Collection[str],
    **options: Any,
) -> M3Output:
    """Return what a model's `encode` gives for texts, the same of every kind of model; not validated.

    Args:
        encode: ``encode_corpus`` or ``encode_queries`` of the model.
        model: Any flagvec model that can give `representations`.
        texts: Documents or queries.
        representations: Which to encode, of ``dense``, ``sparse`` and ``colbert``.
        options: Further arguments of `encode`.

    Raises:
        ValueError: Another number of vectors than texts, or vectors of another dimension than the model says it has.
    """
    if model.representations == {"dense"}:
        output = encode(texts, convert_to_numpy=True, **options)
        output = output if isinstance(output, M3Output) else M3Output(dense_vecs=output)
    else:
        output = M3Output(
            encode(
                texts,
                return_dense="dense" in representations,
                return_sparse="sparse" in representations,
                return_colbert_vecs="colbert" in representations,
                convert_to_numpy=True,
                **options,
            )
        )
    _check_shapes(output, model, len(texts))
    return output


def validated(output: M3Output, names: Sequence[str], colbert_limit: ColbertLimit = NO_LIMIT) -> list[TextVectors]:
    """Return the vectors of each text of a batch, checked as `encode_documents` says."""
    dense, sparse, colbert = output["dense_vecs"], output["lexical_weights"], output["colbert_vecs"]
    absent = [None] * len(names)
    if dense is not None:
        dense = np.ascontiguousarray(dense, dtype=np.float32)
        _check_unit(dense, lambda position: f"the dense vector of {names[position]}")
    if sparse is not None:
        sparse = _checked_weights(sparse, names)
    if colbert is not None:
        colbert = [_checked_rows(rows, name, colbert_limit) for rows, name in zip(colbert, names, strict=True)]
    parts = (absent if part is None else part for part in (dense, sparse, colbert))
    return [*map(TextVectors._make, zip(*parts, strict=True))]


def _check_shapes(output: M3Output, model: AbsEmbedder, texts: int) -> None:
    shapes = {} if output["dense_vecs"] is None else {output["dense_vecs"].shape[1]: model.dimension}
    shapes |= {rows.shape[1]: model.colbert_dimension for rows in output["colbert_vecs"] or ()}
    for found, expected in shapes.items():
        if found != expected:
            raise ValueError(f"the model gave vectors of {found} dimensions, not {expected}, which it says it gives")
    if any(len(values) != texts for values in output.values()):
        raise ValueError(f"the model gave another number of vectors than the {texts} texts that it was given")


def _checked_weights(all_weights: Sequence[Mapping[Any, float]], names: Sequence[str]) -> Sequence[Mapping[int, float]]:
    # Of most batches nothing is to be changed or refused, which is known sooner of all weights at once.
    if _are_plain_and_in_range(all_weights):
        return all_weights
    return [_mended_weights(weights, name) for weights, name in zip(all_weights, names, strict=True)]


def _are_plain_and_in_range(all_weights: Sequence[Mapping[Any, Any]]) -> bool:
    try:
        tokens = [*chain.from_iterable(all_weights)]
        values: list[Any] = [*chain.from_iterable(map(_DICT_VALUES, all_weights))]
        # One of numpy's numbers makes a sum numpy's: sums take a quarter of the time that the types of all take.
        with np.errstate(over="ignore"):
            kinds = type(sum(tokens)), type(sum(values))
        if kinds != (int, float):
            return not tokens
        # Of C's numbers numpy finds the extremes at once; Python's become these sooner here than in numpy.
        ids = np.frombuffer(array("I", tokens), dtype=np.uintc)
        weights = np.frombuffer(pack(f"{len(values)}d", *values))
    except (TypeError, OverflowError):  # other mappings, texts, numbers that are no ids
        return False
    # A NaN among them is both extremes, and no comparison with it is true.
    return bool(ids.max() <= LARGEST_TOKEN_ID and weights.min() >= SMALLEST_WEIGHT and weights.max() <= _LARGEST_WEIGHT)


def _mended_weights(weights: Mapping[Any, float], name: str) -> Mapping[int, float]:
    weights = with_integer_keys(weights)
    values = np.fromiter(weights.values(), dtype=np.float32, count=len(weights))
    if not np.isfinite(values).all():
        raise ValueError(f"{name} has a lexical weight that is not finite: the model or its checkpoint is broken")
    # As Python floats, which every client takes, whatever the model's are.
    weights = {token: float(weight) for token, weight in weights.items() if weight >= SMALLEST_WEIGHT}
    if weights and (min(weights) < 0 or max(weights) > LARGEST_TOKEN_ID):
        raise ValueError(f"{name} has a lexical weight for a token id outside 0 to {LARGEST_TOKEN_ID}")
    return weights


def _checked_rows(rows: NDArray[Any], name: str, limit: ColbertLimit) -> NDArray[np.float32]:
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    _check_unit(rows, lambda position: f"ColBERT vector {position} of {name}")
    if limit.most is None or len(rows) <= limit.most:
        return rows
    match limit.overflow:
        case "truncate":
            return rows[: limit.most]
        case "pool":
            return pooled(rows, limit.most)
    raise ValueError(
        f"{name} has {len(rows)} ColBERT vectors; at this dimension the store takes at most {limit.most} a text: split "
        f"the text, let the model read {limit.most + 1} tokens at most, or make the store with "
        "colbert_overflow='truncate' or 'pool', or with colbert=False"
    )


def pooled(rows: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """Return `most` rows of length 1, each the direction of the mean of an equal share of neighbouring rows.

    Args:
        rows: (n, dimension) float32, rows of length 1, n above `most`.
        most: How many rows to return, 1 and up.
    """
    starts = np.arange(most) * len(rows) // most
    sums = np.add.reduceat(rows, starts, axis=0)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    # Opposite rows cancel out and have no mean direction: the first stands for them.
    return np.where(lengths > LENGTH_TOLERANCE, sums / np.maximum(lengths, LENGTH_TOLERANCE), rows[starts])


def _check_unit(rows: NDArray[np.float32], name: Callable[[int], str]) -> None:
    # Without the copy of squares that numpy.linalg.norm makes.
    squares = np.einsum("ij,ij->i", rows, rows)
    # Two extremes tell of most batches that nothing is to be refused; of NaN, which is both, every comparison is false.
    if not len(rows) or (squares.min() >= _LEAST_SQUARE and squares.max() <= _GREATEST_SQUARE):
        return
    lengths = np.sqrt(squares)
    refused = np.flatnonzero(~(np.abs(lengths - 1.0) <= LENGTH_TOLERANCE))
    if not len(refused):
        return
    length, what = lengths[refused[0]], name(int(refused[0]))
    if not np.isfinite(length):
        raise ValueError(f"{what} is not finite: the model or its checkpoint is broken")
    raise ValueError(f"{what} has length {length:.4g}, not 1: make the model with normalize_embeddings=True")
