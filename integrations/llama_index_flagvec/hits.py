"""The hits of a search: what a store finds, and for MMR what is chosen of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from flagvec.frameworks.mmr import Diversity, marginal_relevance, vectors_of
from flagvec.store.base import HybridStore
from flagvec.store.documents import Hit
from llama_index_flagvec.queries import Search


def hits_of(search: Search, store: HybridStore) -> list[Hit]:
    """Make a search; the score of a hit that was chosen for diversity is its marginal relevance.

    Raises:
        TypeError: A value of a type that the store does not take.
        ValueError: What ``HybridStore.search`` and ``HybridStore.search_vectors`` refuse.
        StoreError: The store does not exist, does not fit the model, or was closed.
    """
    if isinstance(search.asked, str):
        hits = store.search(search.asked, search.limit, **search.options)
    else:
        hits = store.search_vectors(search.asked, search.limit, **search.options)
    return hits if search.diversity is None else _chosen(hits, store, search.diversity)


def _chosen(hits: Sequence[Hit], store: HybridStore, diversity: Diversity) -> list[Hit]:
    similarities = np.array([hit.scores["dense"] for hit in hits])
    ranked = marginal_relevance(similarities, vectors_of(hits, store.model), diversity)
    return [replace(hits[position], score=score) for position, score in ranked]
