"""From the vectors of a query and a document to an `Explanation`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import isclose, prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flagvec.explain.explanation import Alignment, Explanation, Part, SharedToken
from flagvec.explain.reading import ReadText, read_text
from flagvec.late_interaction.maxsim import dot_products
from flagvec.scoring import dense_score, lexical_score
from flagvec.search.fusion import RRF_K
from flagvec.store.encoding import encode_query, encode_texts, model_lock

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder
    from flagvec.late_interaction.codec import ColbertCodec
    from flagvec.search.options import SearchOptions
    from flagvec.store.backend import Record
    from flagvec.store.documents import Hit
    from flagvec.store.vectors import TextVectors

# Above this many ways to break ties, the first is taken.
_MOST_WAYS = 100_000


def explained(
    model: AbsEmbedder,
    query: str,
    hit: Hit,
    asked: TextVectors,
    found: Record,
    options: SearchOptions,
    legs: Mapping[str, Sequence[Hit]],
    codec: ColbertCodec | None,
) -> Explanation:
    """Return the explanation of a hit.

    Args:
        model: What encoded both.
        query: The query.
        hit: The hit.
        asked: The query's vectors.
        found: The document with the vectors that the store compares.
        options: The options of the search.
        legs: The candidates of each leg if ranks are fused; empty otherwise.
        codec: What made the codes of ColBERT vectors; None if the store keeps none.
    """
    text = found.document.text
    queried, document = read_text(model, query, is_query=True), read_text(model, text, is_query=False)
    alignment = _alignment(model, query, text, asked, found.vectors, codec)
    scores = _scores(asked, found.vectors, alignment)
    parts = _fused_ranks(hit, legs, scores) if legs else _weighted(options, scores)
    shared = _shared(model, asked, found.vectors, queried, document)
    return Explanation(hit, parts, scores, queried, document, shared, alignment)


def _scores(asked: TextVectors, found: TextVectors, alignment: Alignment | None) -> dict[str, float]:
    scores: dict[str, float] = {}
    if asked.dense is not None:
        scores["dense"] = 0.0 if found.dense is None else float(dense_score(asked.dense, found.dense))
    if asked.sparse is not None:
        scores["sparse"] = lexical_score(asked.sparse, found.sparse or {})
    if alignment is not None:
        scores["colbert"] = alignment.score
    return scores


def _weighted(options: SearchOptions, scores: Mapping[str, float]) -> tuple[Part, ...]:
    shares = options.weights.shares() if options.weights else dict.fromkeys(options.ordering, 1.0)
    return tuple(
        Part(name, share * scores.get(name, 0.0), scores.get(name, 0.0), share, None) for name, share in shares.items()
    )


def _fused_ranks(hit: Hit, legs: Mapping[str, Sequence[Hit]], scores: Mapping[str, float]) -> tuple[Part, ...]:
    possible = [_possible_ranks(hit.id, found) for found in legs.values()]
    if prod(map(len, possible)) > _MOST_WAYS:
        possible = [ranks[:1] for ranks in possible]
    # Documents of equal score have no order of their own. The fused score tells in which one the database had them.
    ranks = min(product(*possible), key=lambda ranks: abs(sum(map(_amount, ranks)) - hit.score))
    return tuple(
        Part(name, _amount(rank), scores.get(name, 0.0), None, rank) for name, rank in zip(legs, ranks, strict=True)
    )


def _possible_ranks(name: str, found: Sequence[Hit]) -> list[int | None]:
    """Return the ranks from one that a document may have, its own place first; None if it is not among them."""
    own = next((hit for hit in found if hit.id == name), None)
    if own is None:
        return [None]
    place = found.index(own) + 1
    ties = [
        rank for rank, hit in enumerate(found, start=1) if isclose(hit.score, own.score, rel_tol=1e-6, abs_tol=1e-7)
    ]
    return [place, *(rank for rank in ties if rank != place)]


def _amount(rank: int | None) -> float:
    return 0.0 if rank is None else 1 / (RRF_K + rank)


def _shared(
    model: AbsEmbedder, asked: TextVectors, found: TextVectors, query: ReadText, document: ReadText
) -> tuple[SharedToken, ...]:
    ours, theirs = asked.sparse or {}, found.sparse or {}
    tokens = [
        SharedToken(
            token,
            model.tokenizer.decode([token]).removeprefix("##"),
            query.words_of_id.get(token, ()),
            document.words_of_id.get(token, ()),
            float(weight),
            float(theirs[token]),
            float(weight) * float(theirs[token]),
        )
        for token, weight in ours.items()
        if token in theirs
    ]
    return tuple(sorted(tokens, key=lambda token: (-token.product, token.id)))


def _alignment(
    model: AbsEmbedder,
    query: str,
    text: str,
    asked: TextVectors,
    found: TextVectors,
    codec: ColbertCodec | None,
) -> Alignment | None:
    if asked.colbert is None:
        return None
    rows = _rows(found, codec, asked.colbert.shape[1])
    if codec is None or found.colbert_codes is None or not len(found.colbert_codes):
        matrix = asked.colbert @ rows.T
    else:
        matrix = dot_products(asked.colbert, found.colbert_codes, codec)
    queried = read_text(model, query, is_query=True, for_colbert=True)
    document = read_text(model, text, is_query=False, for_colbert=True)
    query_tokens, document_tokens = _own_tokens(queried), _own_tokens(document)
    if len(query_tokens) != len(asked.colbert):
        every = encode_query(model, query, ["colbert"]).colbert
        query_tokens = _nearest_tokens(every, queried, asked.colbert)
    if len(document_tokens) != len(rows):
        document_tokens = _nearest_tokens(_unpooled(model, text), document, rows)
    return Alignment(queried, document, matrix, query_tokens, document_tokens)


def _rows(found: TextVectors, codec: ColbertCodec | None, width: int) -> NDArray[np.float32]:
    if found.colbert is not None:
        return found.colbert
    if codec is not None and found.colbert_codes is not None and len(found.colbert_codes):
        return codec.decode(found.colbert_codes)
    return np.zeros((0, width), dtype=np.float32)


def _own_tokens(read: ReadText) -> tuple[tuple[int, ...], ...]:
    return tuple((position,) for position in read.vectors)


def _unpooled(model: AbsEmbedder, text: str) -> NDArray[np.float32]:
    """Return a document's ColBERT vectors, one for each token, whatever pooling the model is set to."""
    unpooled = {"colbert_pool_factor": 1} if hasattr(model, "colbert_pool_factor") else {}
    with model_lock(model):
        output = encode_texts(model.encode_corpus, model, [text], ["colbert"], **unpooled)
    rows: NDArray[np.float32] = output["colbert_vecs"][0]
    return rows


def _nearest_tokens(
    tokens: NDArray[np.float32] | None, read: ReadText, kept: NDArray[np.float32]
) -> tuple[tuple[int, ...], ...]:
    """Return for each kept vector the tokens that it stands for: those that are nearer to it than to the others.

    Vectors that were pooled or cut off are fewer than the tokens, and no store keeps which are which.

    Args:
        tokens: (tokens, dimension) float32, the vectors before that.
        read: The text.
        kept: (vectors, dimension) float32.
    """
    positions = read.vectors
    if not len(kept) or tokens is None or len(tokens) != len(positions):
        return ((),) * len(kept)
    products = tokens @ kept.T
    nearest = products.argmax(axis=1)
    found = [[positions[at] for at in np.flatnonzero(nearest == number)] for number in range(len(kept))]
    return tuple(tuple(own or [positions[int(products[:, number].argmax())]]) for number, own in enumerate(found))
