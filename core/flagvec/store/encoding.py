"""From texts to checked vectors: each text is encoded once, and its vectors are validated once, for every store."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from flagvec.m3_output import M3Output
from flagvec.store.vectors import NO_LIMIT, ColbertLimit, EncodedDocuments, TextVectors, validated

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder
    from flagvec.late_interaction.storage import ColbertStorage
    from flagvec.store.schema import Schema

OUTPUT_KEYS = {"dense": "dense_vecs", "sparse": "lexical_weights", "colbert": "colbert_vecs"}

# These bound what one device encodes at once. 100,000 characters are some 25,000 tokens of English, whose ColBERT
# vectors of 1,024 numbers take 100 MB.
CHARACTERS_PER_BATCH = 100_000
CHARACTERS_PER_BATCH_WITHOUT_COLBERT = 1_000_000
# Several devices share a batch. With a single task for each, all would wait for the slowest.
_MORE_FOR_EACH_OF_SEVERAL = 2

# A model takes one call at a time, whoever shares it.
_locks: WeakKeyDictionary[AbsEmbedder, threading.Lock] = WeakKeyDictionary()


def model_lock(model: AbsEmbedder) -> threading.Lock:
    """Return the lock that stores, embedding classes and their threads hold while they encode with this model."""
    return _locks.setdefault(model, threading.Lock())


if hasattr(os, "register_at_fork"):  # Windows has no fork
    # Another thread of the parent may hold a lock, which nobody would release in the child.
    os.register_at_fork(after_in_child=_locks.clear)


def characters_per_batch(model: AbsEmbedder, has_colbert: bool) -> int:
    """Return how long the texts are together that a model encodes at once, so that all of its devices have work."""
    most = CHARACTERS_PER_BATCH if has_colbert else CHARACTERS_PER_BATCH_WITHOUT_COLBERT
    # Models of other makers need not say.
    devices = len(getattr(model, "target_devices", ()))
    return most if devices < 2 else most * devices * _MORE_FOR_EACH_OF_SEVERAL


def encode_documents(
    model: AbsEmbedder,
    texts: Sequence[str],
    names: Sequence[str],
    representations: Collection[str],
    colbert_limit: ColbertLimit = NO_LIMIT,
    colbert_storage: ColbertStorage | None = None,
) -> EncodedDocuments:
    """Encode documents in one pass, validate their vectors, and pack the ColBERT vectors if they are kept as codes.

    A text is refused for a vector that is not finite, not of length 1, a weight that is not finite, a token id that is
    out of range, or too many ColBERT vectors.

    Args:
        model: Any flagvec model that can give `representations`.
        texts: The documents.
        names: What messages call them, one for each text.
        representations: Which to encode, of ``dense``, ``sparse`` and ``colbert``.
        colbert_limit: How many ColBERT vectors of one text are kept.
        colbert_storage: What makes `TextVectors.colbert_codes`, which then replace the vectors; None keeps these.

    Raises:
        ValueError: The model gave vectors of another dimension or number than it should.
    """
    output = encoded_output(model, texts, representations)
    encoded = validated(output, names, colbert_limit, is_plain=is_ours(model))
    if colbert_storage is not None:
        pack(encoded, colbert_storage)
    return encoded


def is_ours(model: AbsEmbedder) -> bool:
    """Return whether a model is one of flagvec's. Those of other makers have FlagEmbedding's methods only."""
    return hasattr(model, "encode_corpus_output")


def encoded_output(model: AbsEmbedder, texts: Sequence[str], representations: Collection[str]) -> M3Output:
    """Return what a model gives for documents, which `validated` has not checked, in one pass.

    Raises:
        ValueError: The model gave vectors of another dimension or number than it should.
    """
    with model_lock(model):
        if not is_ours(model):
            return encode_texts(model.encode_corpus, model, texts, representations)
        output = model.encode_corpus_output(texts, representations, show_progress=False)
    _check_shapes(output, model, len(texts))
    return output


def pack(encoded: EncodedDocuments, storage: ColbertStorage) -> None:
    """Replace the ColBERT vectors of the texts that are not refused by their codes."""
    rows = {
        position: one.colbert
        for position, one in enumerate(encoded.vectors)
        if one.colbert is not None and position not in encoded.refused
    }
    for position, codes in zip(rows, storage.encode_all(list(rows.values())), strict=True):
        encoded.vectors[position].colbert_codes = codes
    for one in encoded.vectors:
        one.colbert = None


def encode_query(
    model: AbsEmbedder, query: str, representations: Collection[str], colbert_limit: ColbertLimit = NO_LIMIT
) -> TextVectors:
    """Encode a query with the model's query instruction, and validate its vectors as `encode_documents` does.

    Raises:
        ValueError: The vectors are not valid.
    """
    with model_lock(model):
        output = encode_texts(model.encode_queries, model, [query], representations)
    return validated(output, ["the query"], colbert_limit).all_valid()[0]


def dense_query(embedding: Sequence[float]) -> M3Output:
    """Return a dense vector, which frameworks pass as a list of numbers, as ``HybridStore.search_vectors`` takes it.

    Args:
        embedding: (dimension,) numbers, scaled to length 1 here.

    Raises:
        ValueError: It is not one vector, is not finite, or has length 0.

    Example:
        >>> dense_query([3.0, 4.0])["dense_vecs"]
        array([[0.6, 0.8]], dtype=float32)
    """
    vector = np.asarray(embedding, dtype=np.float32)
    if vector.ndim != 1 or not len(vector):
        raise ValueError(f"embedding takes one vector of numbers, not the shape {vector.shape}")
    length = np.linalg.norm(vector)
    if not np.isfinite(length) or not length:
        raise ValueError(f"embedding has length {length}, which gives no direction to search in")
    return M3Output(dense_vecs=(vector / length)[None])


def query_vectors(
    output: M3Output,
    schema: Schema,
    representations: Sequence[str],
    colbert_limit: ColbertLimit = NO_LIMIT,
) -> TextVectors:
    """Return the ready vectors of a query, validated like those of `encode_query`.

    Args:
        output: What a model gave for one query; what is not in `representations` is left out.
        schema: What the store holds.
        representations: What the search uses.
        colbert_limit: How many ColBERT vectors are kept.

    Raises:
        TypeError: It is not a model's output.
        ValueError: It holds several texts or lacks a representation, or its vectors are not valid.
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
    return validated(batch, ["the query"], colbert_limit).all_valid()[0]


def encode_texts(
    encode: Callable[..., Any],
    model: AbsEmbedder,
    texts: Sequence[str],
    representations: Collection[str],
    **options: Any,
) -> M3Output:
    """Return what a model's `encode` gives for texts, in the same form for every kind of model; not validated.

    Args:
        encode: ``encode_corpus`` or ``encode_queries`` of the model.
        model: Any flagvec model that can give `representations`.
        texts: Documents or queries.
        representations: Which to encode, of ``dense``, ``sparse`` and ``colbert``.
        options: Further arguments of `encode`.

    Raises:
        ValueError: The model gave another number of vectors than texts, or another dimension than it says it has.
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


def _check_shapes(output: M3Output, model: AbsEmbedder, texts: int) -> None:
    shapes = {} if output["dense_vecs"] is None else {output["dense_vecs"].shape[1]: model.dimension}
    shapes |= {rows.shape[1]: model.colbert_dimension for rows in output["colbert_vecs"] or ()}
    for found, expected in shapes.items():
        if found != expected:
            raise ValueError(f"the model gave vectors of {found} dimensions, not {expected} as it says")
    if any(len(values) != texts for values in output.values()):
        raise ValueError(f"the model did not give one vector for each of the {texts} texts")
