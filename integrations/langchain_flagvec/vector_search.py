# mypy: disable-error-code="override"
# LangChain's methods take any keyword. These take the ones that they know, so that a typing error is one.
"""`VectorSearch`: the searches of `FlagVectorStore`, by text, by a ready vector, and for diversity."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from langchain_core.documents import Document as LangChainDocument
from langchain_core.vectorstores import VectorStore
from typing_extensions import Unpack

from flagvec import Hit, M3Output
from flagvec.frameworks.mmr import Diversity, checked_share, marginal_relevance, vectors_of
from flagvec.search.options import Fusion, Mode, Rerank, SearchOptions, whole_number
from flagvec.store.base import HybridStore
from flagvec.store.encoding import encode_texts
from flagvec.store.ready_vectors import dense_query
from flagvec.store.turns import turn_of
from langchain_flagvec.documents import to_langchain
from langchain_flagvec.relevance import relevance_of
from langchain_flagvec.search_keywords import SearchKeywords, VectorSearchKeywords

DEFAULT_K = 4
DEFAULT_FETCH_K = 20

Scored = list[tuple[LangChainDocument, float]]


class VectorSearch(VectorStore):
    """What a `FlagVectorStore` can be asked; that class says what its arguments are."""

    def __init__(
        self,
        store: HybridStore,
        *,
        mode: Mode | None = None,
        fusion: Fusion = "rrf",
        rerank: Rerank | None = None,
        candidates: int | None = None,
        timeout: float | None = None,
    ) -> None:
        if not isinstance(store, HybridStore):
            raise TypeError(f"store takes one of flagvec's stores, like QdrantEdgeStore, not {type(store).__name__}")
        self.store = store
        self._defaults: SearchKeywords = {
            "mode": mode, "fusion": fusion, "rerank": rerank, "candidates": candidates, "timeout": timeout
        }  # fmt: skip
        self._checked({}, 1)

    def similarity_search(
        self, query: str, k: int = DEFAULT_K, **options: Unpack[SearchKeywords]
    ) -> list[LangChainDocument]:
        """Return the `k` documents that fit a query best, best first.

        Args:
            query: Any text; it is encoded once, with the model's query instruction.
            k: How many.
            options: ``filter``, and what the constructor takes.

        Raises:
            TypeError: An unknown keyword, or a value of a type that is not taken.
            ValueError: A value that is out of range, in conflict with another, or beyond what the store can do.
            StoreError: The store does not exist, does not fit the model, or was closed.
        """
        return [document for document, _ in self.similarity_search_with_score(query, k, **options)]

    async def asimilarity_search(
        self, query: str, k: int = DEFAULT_K, **options: Unpack[SearchKeywords]
    ) -> list[LangChainDocument]:
        """Do as `similarity_search` does."""
        return [document for document, _ in await self.asimilarity_search_with_score(query, k, **options)]

    def similarity_search_with_score(self, query: str, k: int = DEFAULT_K, **options: Unpack[SearchKeywords]) -> Scored:
        """Do as `similarity_search` does, with each document's score: higher is better, the scale is the search's.

        It is the score of `flagvec.Hit`: that of the representation in a dense or sparse search and after a rerank,
        and the fused one otherwise.
        """
        return _scored(self.store.search(query, _limit(k), **self._options(options, k)))

    async def asimilarity_search_with_score(
        self, query: str, k: int = DEFAULT_K, **options: Unpack[SearchKeywords]
    ) -> Scored:
        """Do as `similarity_search_with_score` does."""
        return _scored(await self.store.asearch(query, _limit(k), **self._options(options, k)))

    def similarity_search_by_vector(
        self, embedding: Sequence[float], k: int = DEFAULT_K, **options: Unpack[VectorSearchKeywords]
    ) -> list[LangChainDocument]:
        """Return the `k` documents whose dense vectors are nearest to a ready one; lexical weights have no part.

        Args:
            embedding: A dense vector of the model's dimension, of any length but 0.
            k: How many.
            options: ``filter``, ``candidates`` and ``timeout``.

        Raises:
            TypeError: As in `similarity_search`.
            ValueError: A vector of another dimension, of length 0 or not finite; else as in `similarity_search`.
            StoreError: As in `similarity_search`.
        """
        hits = self.store.search_vectors(dense_query(embedding), _limit(k), **self._vector_options(options, k))
        return [to_langchain(hit) for hit in hits]

    async def asimilarity_search_by_vector(
        self, embedding: Sequence[float], k: int = DEFAULT_K, **options: Unpack[VectorSearchKeywords]
    ) -> list[LangChainDocument]:
        """Do as `similarity_search_by_vector` does."""
        hits = await self.store.asearch_vectors(dense_query(embedding), _limit(k), **self._vector_options(options, k))
        return [to_langchain(hit) for hit in hits]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = DEFAULT_K,
        fetch_k: int = DEFAULT_FETCH_K,
        lambda_mult: float = 0.5,
        **options: Unpack[SearchKeywords],
    ) -> list[LangChainDocument]:
        """Return documents that fit a query and differ from one another.

        A search as in `similarity_search` finds the candidates. Of these, how near they are to the query and to one
        another is told by dense vectors. The candidates' are not read from the database but made again, in one call of
        the model, with which a search on a CPU takes longer the higher `fetch_k` is.

        Args:
            query: Any text.
            k: How many documents to return.
            fetch_k: How many candidates there are, `k` at least.
            lambda_mult: From 0, the most diverse, to 1, the most relevant.
            options: As in `similarity_search`.

        Raises:
            As `similarity_search` does.
        """
        share, fetched = checked_share("lambda_mult", lambda_mult), _fetched(k, fetch_k)
        vectors = self._encoded(query, self._checked(options, fetched).representations)
        hits = self.store.search_vectors(vectors, fetched, **self._options(options, fetched))
        return self._diverse(vectors, hits, k, share)

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = DEFAULT_K,
        fetch_k: int = DEFAULT_FETCH_K,
        lambda_mult: float = 0.5,
        **options: Unpack[SearchKeywords],
    ) -> list[LangChainDocument]:
        """Do as `max_marginal_relevance_search` does."""
        return await asyncio.to_thread(self.max_marginal_relevance_search, query, k, fetch_k, lambda_mult, **options)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: Sequence[float],
        k: int = DEFAULT_K,
        fetch_k: int = DEFAULT_FETCH_K,
        lambda_mult: float = 0.5,
        **options: Unpack[VectorSearchKeywords],
    ) -> list[LangChainDocument]:
        """Return documents near a ready dense vector that differ from one another.

        Otherwise as `max_marginal_relevance_search`, with the candidates of `similarity_search_by_vector`.
        """
        share, fetched = checked_share("lambda_mult", lambda_mult), _fetched(k, fetch_k)
        vectors = dense_query(embedding)
        hits = self.store.search_vectors(vectors, fetched, **self._vector_options(options, fetched))
        return self._diverse(vectors, hits, k, share)

    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: Sequence[float],
        k: int = DEFAULT_K,
        fetch_k: int = DEFAULT_FETCH_K,
        lambda_mult: float = 0.5,
        **options: Unpack[VectorSearchKeywords],
    ) -> list[LangChainDocument]:
        """Do as `max_marginal_relevance_search_by_vector` does."""
        return await asyncio.to_thread(
            self.max_marginal_relevance_search_by_vector, embedding, k, fetch_k, lambda_mult, **options
        )

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = DEFAULT_K, **options: Unpack[SearchKeywords]
    ) -> Scored:
        relevance = relevance_of(self._checked(options, _limit(k)))
        return [
            (document, relevance(score)) for document, score in self.similarity_search_with_score(query, k, **options)
        ]

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = DEFAULT_K, **options: Unpack[SearchKeywords]
    ) -> Scored:
        relevance = relevance_of(self._checked(options, _limit(k)))
        found = await self.asimilarity_search_with_score(query, k, **options)
        return [(document, relevance(score)) for document, score in found]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return relevance_of(self._checked({}, 1))

    def _options(self, options: SearchKeywords, limit: int) -> SearchKeywords:
        return {**self._defaults, **self._candidates(limit), **options}

    def _vector_options(self, options: VectorSearchKeywords, limit: int) -> SearchKeywords:
        dense: SearchKeywords = {"mode": "dense", "timeout": self._defaults["timeout"]}
        return {**dense, **self._candidates(limit), **options}

    def _candidates(self, limit: int) -> VectorSearchKeywords:
        """Return the constructor's number of candidates for a search that it did not know the limit of."""
        given = self._defaults["candidates"]
        return {"candidates": None if given is None else max(given, limit)}

    def _checked(self, options: SearchKeywords, limit: int) -> SearchOptions:
        return SearchOptions.checked(self.store.schema, limit=limit, **self._options(options, limit))

    def _encoded(self, query: str, representations: Iterable[str]) -> M3Output:
        """Encode a query once, for a search and for its distances from the hits."""
        if not isinstance(query, str):
            raise TypeError(f"query takes a str, not {type(query).__name__}")
        model = self.store.model
        with turn_of(model):
            return encode_texts(model.encode_queries, model, [query], {"dense", *representations})

    def _diverse(self, query: M3Output, hits: Sequence[Hit], k: int, relevance_share: float) -> list[LangChainDocument]:
        vectors = vectors_of(hits, self.store.model)
        chosen = marginal_relevance(vectors @ query["dense_vecs"][0], vectors, Diversity(k, relevance_share))
        return [to_langchain(hits[position]) for position, _ in chosen]


def _limit(k: int) -> int:
    return whole_number("k", k, at_least=1)


def _fetched(k: int, fetch_k: int) -> int:
    return max(_limit(k), whole_number("fetch_k", fetch_k, at_least=1))


def _scored(hits: Iterable[Hit]) -> Scored:
    return [(to_langchain(hit), hit.score) for hit in hits]
