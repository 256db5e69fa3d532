"""How relevant a hit is, from 0 to 1, as LangChain wants it said, out of its score."""

from __future__ import annotations

from collections.abc import Callable

from flagvec.search.fusion import RRF_K
from flagvec.search.options import SearchOptions


def relevance_of(options: SearchOptions) -> Callable[[float], float]:
    """Return what turns the scores of a search into relevances of 0 to 1, higher being better; it keeps their order.

    - Scores between -1 and 1, of dense vectors, of a rerank, and weighted: (1 + score) / 2. A weighted score may come
      above 1 by its lexical part, and is 1 then.
    - Lexical scores, 0 and up: score / (1 + score).
    - Reciprocal rank fusion: the part of the highest score there is, that of the first document in each leg. It says
      how well a document does among the others, not how near it is.

    Example:
        >>> from flagvec.store.schema import Schema
        >>> dense = SearchOptions.checked(Schema("bge-m3", 1024, sparse=True, colbert_dimension=None), mode="dense")
        >>> relevance_of(dense)(0.5)
        0.75
    """
    if options.rerank or options.weights or options.mode == "dense":
        return _of_cosine
    if options.mode == "sparse":
        return _of_lexical_score
    best = len(options.legs) / (RRF_K + 1)
    return lambda score: _between_0_and_1(score / best)


def _of_cosine(score: float) -> float:
    return _between_0_and_1((1 + score) / 2)


def _of_lexical_score(score: float) -> float:
    return _between_0_and_1(score / (1 + score))


def _between_0_and_1(value: float) -> float:
    # Rounding brings the score of two equal vectors a little above 1.
    return min(1.0, max(0.0, value))
