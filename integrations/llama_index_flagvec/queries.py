"""LlamaIndex's queries as searches of a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flagvec.store.ready_vectors import dense_query
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from flagvec.filters.portable import Filter
from flagvec.frameworks.mmr import Diversity, checked_share
from flagvec.m3_output import M3Output
from flagvec.search.fusion import Weighted
from flagvec.search.options import Fusion, Mode, Rerank, whole_number
from llama_index_flagvec.nodes import DOCUMENT_ID
from llama_index_flagvec.selection import chosen, with_ids

# What LlamaIndex's stores have in common where they know these options.
_MMR_THRESHOLD = 0.5
_MMR_PREFETCH_FACTOR = 4

_SPARSE = (VectorStoreQueryMode.SPARSE, VectorStoreQueryMode.TEXT_SEARCH)
_HYBRID = (VectorStoreQueryMode.HYBRID, VectorStoreQueryMode.SEMANTIC_HYBRID)
_SEARCH_OPTIONS = ("fusion", "rerank", "candidates", "timeout")
_MMR_OPTIONS = ("mmr_threshold", "mmr_prefetch_factor", "mmr_prefetch_k", "timeout")


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a query does that does not say so itself.

    Args:
        mode: What LlamaIndex's default mode stands for.
        fusion: How hybrid searches fuse.
        rerank: What orders the candidates of every search but MMR.
        candidates: How many documents each leg finds before fusion or rerank, or the limit if that is more.
    """

    mode: Mode
    fusion: Fusion = "rrf"
    rerank: Rerank | None = None
    candidates: int | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """A search of a store.

    Args:
        asked: What is searched for: a text, or where the query has none its ready dense vector.
        limit: The most hits.
        options: The further arguments of ``HybridStore.search``.
        diversity: How the hits are chosen from; None for all, as they are.
    """

    asked: str | M3Output
    limit: int
    options: Mapping[str, Any]
    diversity: Diversity | None = None


def search_of(query: VectorStoreQuery, defaults: Defaults, given: Mapping[str, Any]) -> Search:
    """Return the search that a query asks for; `FlagVectorStore` says what each mode means.

    Args:
        query: Any query with a text or an embedding; beside a text an embedding has no effect.
        defaults: What holds where the query says nothing.
        given: What was given to ``query`` beside it: ``fusion``, ``rerank``, ``candidates``, ``timeout`` as in
            ``HybridStore.search``; for MMR ``mmr_threshold``, ``mmr_prefetch_factor``, ``mmr_prefetch_k``, ``timeout``.

    Raises:
        TypeError: An argument that is not taken in this mode; a value of a wrong type.
        ValueError: A query without a text and an embedding, or without a text that its mode needs, in a mode that needs
            all vectors, or of another embedding field; an option that is out of range or in conflict with another; a
            filter that `portable_filter` refuses.
    """
    asked = _asked(query)
    common = {"filter": _filter(query), "timeout": given.get("timeout")}
    if query.mode == VectorStoreQueryMode.MMR:
        _check_given(given, _MMR_OPTIONS, query.mode)
        diversity = _diversity(query, given)
        return Search(asked, _prefetched(query, given), {"mode": "dense", **common}, diversity)
    _check_given(given, _SEARCH_OPTIONS, query.mode)
    if not isinstance(asked, str):
        # It says nothing of lexical weights and ColBERT.
        defaults = Defaults("dense", candidates=defaults.candidates)
    mode = _mode(query.mode, defaults)
    limit = _limit(query, mode)
    options = {"mode": mode, **common, "rerank": _rerank(query, defaults, given)}
    options |= {"candidates": _candidates(query, mode, limit, defaults, given)}
    if mode == "hybrid":
        options |= {"fusion": _fusion(query, options["rerank"], defaults, given)}
    elif "fusion" in given:
        options |= {"fusion": given["fusion"]}
    return Search(asked, limit, options)


def _asked(query: VectorStoreQuery) -> str | M3Output:
    if query.mode not in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR, *_SPARSE, *_HYBRID):
        raise ValueError(
            f"the mode {query.mode.value!r} fits a classifier to the vectors of all nodes, which a database does not "
            "give out: use 'default', 'hybrid', 'semantic_hybrid', 'sparse', 'text_search' or 'mmr'"
        )
    if query.embedding_field is not None:
        raise ValueError(
            f"embedding_field={query.embedding_field!r}: a FlagVectorStore has its own fields, which the mode chooses"
        )
    if query.query_str is not None:
        return query.query_str
    if not query.query_embedding:
        raise ValueError("the query has neither query_str nor query_embedding: there is nothing to search for")
    if query.mode not in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR):
        raise ValueError(
            f"the query has no query_str, which the mode {query.mode.value!r} needs: a query_embedding alone is for "
            "the modes 'default' and 'mmr'"
        )
    return dense_query(query.query_embedding)


def _check_given(given: Mapping[str, Any], known: Sequence[str], mode: VectorStoreQueryMode) -> None:
    for name in given:
        if name not in known:
            raise TypeError(f"query takes no {name!r} in the mode {mode.value!r}; it takes {', '.join(known)}")


def _filter(query: VectorStoreQuery) -> Filter | None:
    # A retriever passes the empty list of ids for none in particular.
    return with_ids(chosen(query.node_ids or None, query.filters), DOCUMENT_ID, query.doc_ids or None)


def _mode(mode: VectorStoreQueryMode, defaults: Defaults) -> Mode:
    return "sparse" if mode in _SPARSE else "hybrid" if mode in _HYBRID else defaults.mode


def _limit(query: VectorStoreQuery, mode: Mode) -> int:
    further = {"sparse": query.sparse_top_k, "hybrid": query.hybrid_top_k}.get(mode)
    return whole_number("similarity_top_k", further or query.similarity_top_k, at_least=1)


def _rerank(query: VectorStoreQuery, defaults: Defaults, given: Mapping[str, Any]) -> Any:
    if query.mode == VectorStoreQueryMode.SEMANTIC_HYBRID:
        return "colbert"
    return given.get("rerank", defaults.rerank)


def _candidates(query: VectorStoreQuery, mode: Mode, limit: int, defaults: Defaults, given: Mapping[str, Any]) -> Any:
    if "candidates" in given:
        return given["candidates"]
    if mode == "hybrid" and query.sparse_top_k:
        return max(limit, query.similarity_top_k, query.sparse_top_k)
    return None if defaults.candidates is None else max(limit, defaults.candidates)


def _fusion(query: VectorStoreQuery, rerank: Any, defaults: Defaults, given: Mapping[str, Any]) -> Any:
    alpha = query.alpha
    if alpha is None:
        return given.get("fusion", "rrf" if rerank else defaults.fusion)
    if rerank:
        raise ValueError(
            f"alpha={alpha} weighs dense and sparse scores, and with rerank={rerank!r}, which the mode "
            "'semantic_hybrid' stands for, ColBERT alone orders the hits: leave one of the two out"
        )
    if "fusion" in given:
        raise ValueError(f"alpha={alpha} and fusion={given['fusion']!r} both say how to fuse: leave one of the two out")
    dense = checked_share("alpha", alpha)
    return Weighted(dense=dense, sparse=1 - dense, colbert=0)


def _diversity(query: VectorStoreQuery, given: Mapping[str, Any]) -> Diversity:
    threshold = given.get("mmr_threshold", query.mmr_threshold)
    limit = whole_number("similarity_top_k", query.similarity_top_k, at_least=1)
    return Diversity(limit, checked_share("mmr_threshold", _MMR_THRESHOLD if threshold is None else threshold))


def _prefetched(query: VectorStoreQuery, given: Mapping[str, Any]) -> int:
    if "mmr_prefetch_k" not in given:
        factor = given.get("mmr_prefetch_factor", _MMR_PREFETCH_FACTOR)
        return query.similarity_top_k * whole_number("mmr_prefetch_factor", factor, at_least=1)
    if "mmr_prefetch_factor" in given:
        raise ValueError("mmr_prefetch_k and mmr_prefetch_factor both say how many nodes to choose from: leave one out")
    return whole_number("mmr_prefetch_k", given["mmr_prefetch_k"], at_least=query.similarity_top_k)
