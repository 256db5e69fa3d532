"""A query of LlamaIndex as a search of a store: `search_of` says which, `hits_of` makes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from flagvec.frameworks.mmr import checked_share, vectors_of
from flagvec.m3_output import M3Output
from flagvec.search.fusion import Weighted
from flagvec.search.options import (
    MAX_LIMIT,
    Fusion,
    Mode,
    Rerank,
    SearchKeywords,
    checked_limit,
    refuse_unknown,
    whole_number,
)
from flagvec.store.base import HybridStore
from flagvec.store.documents import Hit
from flagvec.store.encoding import dense_query, encode_texts, model_lock
from llama_index_flagvec.filters import chosen, with_ids
from llama_index_flagvec.nodes import DOCUMENT_ID

# The defaults of LlamaIndex's own stores.
_MMR_THRESHOLD = 0.5
_MMR_PREFETCH_FACTOR = 4

_SPARSE = (VectorStoreQueryMode.SPARSE, VectorStoreQueryMode.TEXT_SEARCH)
_HYBRID = (VectorStoreQueryMode.HYBRID, VectorStoreQueryMode.SEMANTIC_HYBRID)
_SEARCH_OPTIONS = ("fusion", "rerank", "candidates", "min_score", "timeout")
_MMR_OPTIONS = ("mmr_threshold", "mmr_prefetch_factor", "mmr_prefetch_k", "timeout")


class QueryKeywords(SearchKeywords, total=False):
    """What a query takes beside itself, from a retriever's ``vector_store_kwargs``.

    In the mode ``mmr`` these are the following and ``timeout``. In all other modes they are ``fusion``, ``rerank``,
    ``candidates``, ``min_score`` and ``timeout``.

    Args:
        mmr_threshold: From 0, the most diverse, to 1, the most relevant; 0.5 by default.
        mmr_prefetch_factor: MMR chooses from ``similarity_top_k`` times this many nodes; 4 by default.
        mmr_prefetch_k: How many nodes MMR chooses from, in place of ``mmr_prefetch_factor``.
    """

    mmr_threshold: float
    mmr_prefetch_factor: int
    mmr_prefetch_k: int


@dataclass(frozen=True, slots=True)
class Defaults:
    """The options of a query that sets none, as `FlagVectorStore` describes them; and the store's ``max_limit``."""

    mode: Mode
    fusion: Fusion = "rrf"
    rerank: Rerank | None = None
    candidates: int | None = None
    max_limit: int = MAX_LIMIT


@dataclass(frozen=True, slots=True)
class Diversity:
    """How many hits maximal marginal relevance keeps; and LlamaIndex's ``mmr_threshold``, from 0 to 1."""

    limit: int
    threshold: float


@dataclass(frozen=True, slots=True)
class Search:
    """The arguments of ``HybridStore.search``, or of ``search_vectors`` for a dense vector; and what to keep then."""

    query: str | M3Output
    limit: int
    options: SearchKeywords
    diversity: Diversity | None = None


def search_of(query: VectorStoreQuery, defaults: Defaults, given: QueryKeywords) -> Search:
    """Return the search that a query asks for, with the options `given` beside it; `FlagVectorStore` describes it.

    Raises:
        TypeError: An option that the mode does not take, or a value of a wrong type.
        ValueError: The query has neither text nor embedding, or no text in a mode that needs one; it names a mode that
            needs all vectors, or an embedding field; an option is out of range or in conflict with another; or a
            filter is one that `portable_filter` refuses.
    """
    is_mmr = query.mode == VectorStoreQueryMode.MMR
    known = _MMR_OPTIONS if is_mmr else _SEARCH_OPTIONS
    asked = _asked(query)
    refuse_unknown(given, known, f"a query in the mode {query.mode.value!r}", limit="similarity_top_k")
    # A retriever passes empty lists of ids for any ids.
    filter = with_ids(chosen(query.node_ids or None, query.filters), DOCUMENT_ID, query.doc_ids or None)
    if is_mmr:
        options: SearchKeywords = {"mode": "dense", "filter": filter, "timeout": given.get("timeout")}
        kept = _diversity(query, given, defaults.max_limit)
        return Search(asked, _prefetched(kept.limit, given, defaults.max_limit), options, kept)
    if not isinstance(asked, str):
        # A dense vector holds nothing for lexical weights and ColBERT.
        defaults = Defaults("dense", candidates=defaults.candidates, max_limit=defaults.max_limit)
    mode: Mode = "sparse" if query.mode in _SPARSE else "hybrid" if query.mode in _HYBRID else defaults.mode
    further = {"sparse": query.sparse_top_k, "hybrid": query.hybrid_top_k}.get(mode)
    name = f"{mode}_top_k" if further else "similarity_top_k"
    limit = checked_limit(name, further or query.similarity_top_k, defaults.max_limit)
    by_colbert = query.mode == VectorStoreQueryMode.SEMANTIC_HYBRID
    rerank: Any = "colbert" if by_colbert else given.get("rerank", defaults.rerank)
    candidates = _candidates(query, mode, limit, defaults, given)
    options = cast(
        "SearchKeywords", {**given, "mode": mode, "filter": filter, "rerank": rerank, "candidates": candidates}
    )
    if mode == "hybrid":
        options["fusion"] = _fusion(query, rerank, defaults, given)
    return Search(asked, limit, options)


def hits_of(search: Search, store: HybridStore) -> list[Hit]:
    """Return the hits of a search; the score of one that was chosen for diversity is its marginal relevance."""
    query = search.query
    if search.diversity is None:
        if isinstance(query, str):
            return store.search(query, search.limit, **search.options)
        return store.search_vectors(query, search.limit, **search.options)
    if isinstance(query, str):
        # The search and the choice both need its vector.
        with model_lock(store.model):
            query = encode_texts(store.model.encode_queries, store.model, [query], ["dense"])
    hits = store.search_vectors(query, search.limit, **search.options)
    # Arrays, because numpy would convert lists anew for each of the comparisons.
    rows = cast("list[list[float]]", list(vectors_of(hits, store.model)))
    relevance, positions = get_top_k_mmr_embeddings(
        query["dense_vecs"][0],
        rows,
        similarity_top_k=search.diversity.limit,
        mmr_threshold=search.diversity.threshold,
    )
    return [replace(hits[place], score=float(score)) for place, score in zip(positions, relevance, strict=True)]


def _asked(query: VectorStoreQuery) -> str | M3Output:
    if query.mode not in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR, *_SPARSE, *_HYBRID):
        raise ValueError(
            f"the mode {query.mode.value!r} needs the vectors of all nodes, which the stores do not give out: use "
            "'default', 'hybrid', 'semantic_hybrid', 'sparse', 'text_search' or 'mmr'"
        )
    if query.embedding_field is not None:
        raise ValueError(
            f"embedding_field={query.embedding_field!r}: a FlagVectorStore chooses its fields by the mode; leave it out"
        )
    if query.query_str is not None:
        return query.query_str
    if not query.query_embedding:
        raise ValueError("the query has neither query_str nor query_embedding: pass one of them")
    if query.mode not in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR):
        raise ValueError(
            f"the query has no query_str, and the mode {query.mode.value!r} needs one: pass it, or use the mode "
            "'default' or 'mmr' for a query_embedding alone"
        )
    return dense_query(query.query_embedding)


def _candidates(query: VectorStoreQuery, mode: Mode, limit: int, defaults: Defaults, given: QueryKeywords) -> Any:
    if "candidates" in given:
        return given["candidates"]
    if mode == "hybrid" and query.sparse_top_k:
        return max(limit, query.similarity_top_k, query.sparse_top_k)
    return None if defaults.candidates is None else max(limit, defaults.candidates)


def _fusion(query: VectorStoreQuery, rerank: Any, defaults: Defaults, given: QueryKeywords) -> Fusion:
    alpha = query.alpha
    if alpha is None:
        return given.get("fusion", "rrf" if rerank else defaults.fusion)
    if rerank:
        raise ValueError(
            f"alpha={alpha} has no effect with rerank={rerank!r}, which the mode 'semantic_hybrid' sets, because "
            "ColBERT alone orders the nodes: leave one of the two out"
        )
    if "fusion" in given:
        raise ValueError(f"alpha={alpha} and fusion={given['fusion']!r} both set the fusion: leave one of the two out")
    dense = checked_share("alpha", alpha)
    return Weighted(dense=dense, sparse=1 - dense, colbert=0)


def _diversity(query: VectorStoreQuery, given: QueryKeywords, max_limit: int) -> Diversity:
    threshold: float | None = given.get("mmr_threshold", query.mmr_threshold)
    limit = checked_limit("similarity_top_k", query.similarity_top_k, max_limit)
    return Diversity(limit, checked_share("mmr_threshold", _MMR_THRESHOLD if threshold is None else threshold))


def _prefetched(limit: int, given: QueryKeywords, max_limit: int) -> int:
    if "mmr_prefetch_k" not in given:
        factor = given.get("mmr_prefetch_factor", _MMR_PREFETCH_FACTOR)
        fetched = limit * whole_number("mmr_prefetch_factor", factor, at_least=1)
        return checked_limit("similarity_top_k * mmr_prefetch_factor", fetched, max_limit)
    if "mmr_prefetch_factor" in given:
        raise ValueError(
            f"mmr_prefetch_k={given['mmr_prefetch_k']} and mmr_prefetch_factor={given['mmr_prefetch_factor']} both set "
            "how many nodes to choose from: leave one of the two out"
        )
    return checked_limit("mmr_prefetch_k", given["mmr_prefetch_k"], max_limit, at_least=limit)
