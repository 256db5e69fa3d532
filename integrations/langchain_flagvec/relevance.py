"""How relevant a hit is, from 0 to 1: what LangChain's ``similarity_score_threshold`` compares."""

from __future__ import annotations

from flagvec import Hit
from flagvec.search.options import SearchOptions


def relevance(hit: Hit, options: SearchOptions) -> float:
    """Return the relevance of a hit of a search with these options, between 0 and 1.

    - A sparse search: score / (1 + score), because lexical scores have no upper limit.
    - Reciprocal rank fusion: (1 + d) / 2 of the dense score d, because ranks do not say how well a document fits. The
      hits stay in the order of their ranks, so that their relevance may go up and down.
    - Other searches: (1 + score) / 2, at most 1. A weighted score can exceed 1 by its lexical part.

    Args:
        hit: A hit; after reciprocal rank fusion, of a search with ``explain=True``.
        options: Those of the search.

    Example:
        >>> from flagvec.store.schema import Schema
        >>> dense = SearchOptions.checked(Schema("bge-m3", 1024, sparse=True, colbert_dimension=None), mode="dense")
        >>> relevance(Hit("guide-1", 0.5, "How to cook rice.", {}), dense)
        0.75
    """
    if options.ordering == ("sparse",):
        return hit.score / (1 + hit.score)
    score = hit.score if options.ordering else hit.scores["dense"]
    # The scores of equal vectors are off by rounding.
    return min(1.0, max(0.0, (1 + score) / 2))
