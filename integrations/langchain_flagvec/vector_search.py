# mypy: disable-error-code="override"
# LangChain's methods take any keyword, these take known ones, so that a type checker finds a misspelt one.
"""`VectorSearch`: the searches of `FlagVectorStore`, by text, by a ready vector, and for diversity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from langchain_core.documents import Document as LangChainDocument
from langchain_core.runnables.config import run_in_executor
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from typing_extensions import Unpack

from flagvec import Hit, M3Output
from flagvec.frameworks.mmr import checked_share, vectors_of
from flagvec.search.options import SearchKeywords, SearchOptions, checked_limit, refuse_unknown
from flagvec.store.base import HybridStore
from flagvec.store.encoding import dense_query, encode_texts, model_lock
from langchain_flagvec.documents import to_langchain
from langchain_flagvec.relevance import relevance

DEFAULT_K = 4
DEFAULT_FETCH_K = 20

Scored = list[tuple[LangChainDocument, float]]


class VectorSearch(VectorStore):
    """The searches of `FlagVectorStore`, which describes the arguments."""

    def __init__(self, store: HybridStore, **options: Unpack[SearchKeywords]) -> None:
        if not isinstance(store, HybridStore):
            raise TypeError(f"store takes one of flagvec's stores, like QdrantEdgeStore, not {type(store).__name__}")
        refuse_unknown(options, SearchKeywords.__annotations__, type(self).__name__, limit="k")
        self.store = store
        self._defaults = options
        self._checked(options, 1)

    def similarity_search(
        self, query: str, k: int = DEFAULT_K, **options: Unpack[SearchKeywords]
    ) -> list[LangChainDocument]:
        """Return the documents that fit a query best, best first.

        Args:
            query: Any text; it is encoded once, with the model's query instruction.
            k: The most documents to return.
            options: Those of `flagvec.search.options.SearchKeywords`, which replace the constructor's.
                ``explain=True`` adds the scores to each document's metadata as ``score`` and ``scores``.

        Raises:
            TypeError: The query is not a ``str``, or an option is unknown or of a type that it does not take.
            ValueError: An option is out of range, in conflict with another, or needs what the store does not hold.
            StoreError: The store does not exist, does not fit the model, was closed, or the database refused.
        """
        return [document for document, _ in self._scored("similarity_search", query, k, options)]

    def similarity_search_with_score(self, query: str, k: int = DEFAULT_K, **options: Unpack[SearchKeywords]) -> Scored:
        """Do as `similarity_search` does, and return each document with its score; higher is better.

        The score is that of `flagvec.Hit`, whose scale depends on mode and fusion.
        """
        return self._scored("similarity_search_with_score", query, k, options)

    def similarity_search_by_vector(
        self, embedding: Sequence[float], k: int = DEFAULT_K, **options: Unpack[SearchKeywords]
    ) -> list[LangChainDocument]:
        """Return the documents with the dense vectors nearest to a ready one, nearest first.

        It is a dense search; of the constructor's options only ``filter``, ``candidates`` and ``timeout`` apply. The
        rest is as in `similarity_search`.

        Args:
            embedding: A dense vector of the model's dimension, finite and of any length above 0.
            k: The most documents to return.
            options: Those of `flagvec.search.options.SearchKeywords` that a dense search takes.
        """
        searched = self._dense_options("similarity_search_by_vector", options, self._limit(k))
        return self._documents(self.store.search_vectors(dense_query(embedding), k, **searched), searched)

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = DEFAULT_K,
        fetch_k: int = DEFAULT_FETCH_K,
        lambda_mult: float = 0.5,
        **options: Unpack[SearchKeywords],
    ) -> list[LangChainDocument]:
        """Return documents that fit a query and differ from one another.

        A search as in `similarity_search` finds the candidates, and LangChain's `maximal_marginal_relevance` chooses
        among them by their dense vectors. The candidates are encoded again for that, because stores do not give vectors
        out. On a CPU the time therefore grows with `fetch_k`.

        Args:
            query: Any text.
            k: The most documents to return.
            fetch_k: How many candidates there are; at least `k`.
            lambda_mult: From 0, the most diverse, to 1, the most relevant.
            options: As in `similarity_search`, as are the errors.
        """
        share, fetched = checked_share("lambda_mult", lambda_mult), self._fetched(k, fetch_k)
        searched = self._options("max_marginal_relevance_search", options, fetched)
        vectors = self._encoded(query, self._checked(searched, fetched).representations)
        hits = self._diverse(vectors, self.store.search_vectors(vectors, fetched, **searched), k, share)
        return self._documents(hits, searched)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: Sequence[float],
        k: int = DEFAULT_K,
        fetch_k: int = DEFAULT_FETCH_K,
        lambda_mult: float = 0.5,
        **options: Unpack[SearchKeywords],
    ) -> list[LangChainDocument]:
        """Return documents near a ready dense vector that differ from one another.

        `similarity_search_by_vector` finds the candidates; the rest is as in `max_marginal_relevance_search`.
        """
        share, fetched = checked_share("lambda_mult", lambda_mult), self._fetched(k, fetch_k)
        searched = self._dense_options("max_marginal_relevance_search_by_vector", options, fetched)
        vectors = dense_query(embedding)
        hits = self._diverse(vectors, self.store.search_vectors(vectors, fetched, **searched), k, share)
        return self._documents(hits, searched)

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = DEFAULT_K, **options: Unpack[SearchKeywords]
    ) -> Scored:
        searched = self._options("similarity_search_with_relevance_scores", options, self._limit(k))
        checked = self._checked(searched, k)
        # The relevance of a hit of "rrf" is that of its dense score, which only `explain` gives.
        explained: SearchKeywords = {**searched, "explain": True}
        hits = self.store.search(query, k, **explained)
        documents = self._documents(hits, searched)
        return [(document, relevance(hit, checked)) for document, hit in zip(documents, hits, strict=True)]

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = DEFAULT_K, **options: Unpack[SearchKeywords]
    ) -> Scored:
        # LangChain's own does not call the method above.
        return await run_in_executor(None, self._similarity_search_with_relevance_scores, query, k, **options)

    def _scored(self, method: str, query: str, k: int, options: SearchKeywords) -> Scored:
        searched = self._options(method, options, self._limit(k))
        hits = self.store.search(query, k, **searched)
        return list(zip(self._documents(hits, searched), (hit.score for hit in hits), strict=True))

    def _documents(self, hits: Iterable[Hit], options: SearchKeywords) -> list[LangChainDocument]:
        return [to_langchain(hit, with_scores=options.get("explain", False)) for hit in hits]

    def _options(self, method: str, options: SearchKeywords, limit: int) -> SearchKeywords:
        """Return the options of a call and, for what it leaves open, those of the constructor."""
        refuse_unknown(options, SearchKeywords.__annotations__, f"{type(self).__name__}.{method}", limit="k")
        searched: SearchKeywords = {**self._defaults, **options}
        given = self._defaults.get("candidates")
        if given is not None and "candidates" not in options:
            # The constructor does not know how many documents a call returns.
            searched["candidates"] = max(given, limit)
        return searched

    def _dense_options(self, method: str, options: SearchKeywords, limit: int) -> SearchKeywords:
        searched = self._options(method, options, limit)
        kept = {"filter", "candidates", "timeout", *options}
        named = {name: value for name, value in searched.items() if name in kept}
        return cast("SearchKeywords", {"mode": "dense", **named})

    def _checked(self, options: SearchKeywords, limit: int) -> SearchOptions:
        bounds: Any = {"max_limit": self.store.max_limit, "is_native": self.store.is_native_filter}
        return SearchOptions.checked(self.store.schema, limit, **bounds, **options)

    def _encoded(self, query: str, representations: Iterable[str]) -> M3Output:
        """Encode a query once, for the search and for its distances from the hits."""
        if not isinstance(query, str):
            raise TypeError(f"query takes a str, not {type(query).__name__}")
        model = self.store.model
        with model_lock(model):
            return encode_texts(model.encode_queries, model, [query], {"dense", *representations})

    def _diverse(self, query: M3Output, hits: Sequence[Hit], k: int, share: float) -> list[Hit]:
        vectors = vectors_of(hits, self.store.model).tolist()
        return [hits[place] for place in maximal_marginal_relevance(query["dense_vecs"][0], vectors, share, k)]

    def _limit(self, k: int) -> int:
        return checked_limit("k", k, self.store.max_limit)

    def _fetched(self, k: int, fetch_k: int) -> int:
        return max(self._limit(k), checked_limit("fetch_k", fetch_k, self.store.max_limit))
