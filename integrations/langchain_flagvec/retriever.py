"""`FlagRetriever`: LangChain's retriever over any of flagvec's stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document as LangChainDocument
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, model_validator
from typing_extensions import Self, Unpack

from flagvec import Hit
from flagvec.search.options import Fusion, Mode, Rerank, SearchOptions, whole_number
from flagvec.store.base import HybridStore
from langchain_flagvec.documents import to_langchain
from langchain_flagvec.search_keywords import RetrieverKeywords, SearchKeywords


class FlagRetriever(BaseRetriever):
    """Finds the documents of a store that fit a query best: a text goes through the model once, whatever is searched.

    Every argument but ``store`` and ``add_scores`` can be given to ``invoke`` as well, for that call, and all can be
    made configurable in LangChain's way. A copy of a retriever, deep or not, shares its store; as that holds a
    connection or an open directory, a retriever cannot be pickled.

    Args:
        store: A `QdrantEdgeStore`, `QdrantStore`, `MilvusStore` or `ElasticsearchStore`, to be created and closed by
            who made it.
        k: How many documents to return.
        mode: ``"dense"``, ``"sparse"`` or ``"hybrid"``; None is hybrid where the store holds lexical weights.
        fusion: How a hybrid search orders what its legs found: ``"rrf"``, reciprocal rank fusion, or by the weights of
            a `Weighted`, which may be given as a dict, ``{"dense": 1, "sparse": 0.3, "colbert": 1}``.
        rerank: ``"colbert"`` orders the candidates by ColBERT.
        candidates: How many documents each leg finds before fusion or rerank; 100, or `k` if that is more.
        filter: Which documents take part, in the form of `flagvec.filters.portable`; None for all.
        timeout: Seconds that a request to the database may take; None for the client's own limit.
        add_scores: Add the score to each document's metadata as ``score``, and that of each representation that the
            search used, by its name, as ``scores``. Otherwise the metadata is what was stored.

    Raises:
        TypeError: An option is of a type that it does not take.
        ValueError: An unknown option, one that is out of range, in conflict with another, or needs what the store does
            not hold. pydantic's ``ValidationError`` is one.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> from flagvec_qdrant import QdrantEdgeStore
        >>> with QdrantEdgeStore(BGEM3FlagModel("bge-m3"), "recipes") as store:
        ...     store.create()
        ...     report = store.add(["Rice is cooked in water.", "Bread is baked in an oven."])
        ...     retriever = FlagRetriever(store=store, k=1, rerank="colbert")
        ...     [document.page_content for document in retriever.invoke("Rice is cooked in water.")]
        ['Rice is cooked in water.']
    """

    model_config = ConfigDict(extra="forbid")

    store: HybridStore
    k: int = 4
    mode: Mode | None = None
    fusion: Fusion = "rrf"
    rerank: Rerank | None = None
    candidates: int | None = None
    # Of any type for pydantic, which would copy a dict, and read one as a parsed filter where it can.
    filter: Any = None
    timeout: float | None = None
    add_scores: bool = False

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        SearchOptions.checked(self.store.schema, limit=whole_number("k", self.k, at_least=1), **self._options())
        return self

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **options: Unpack[RetrieverKeywords]
    ) -> list[LangChainDocument]:
        limit, searched = self._asked(options)
        return self._documents(self.store.search(query, limit, explain=self.add_scores, **searched))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **options: Unpack[RetrieverKeywords]
    ) -> list[LangChainDocument]:
        limit, searched = self._asked(options)
        hits = await self.store.asearch(query, limit, explain=self.add_scores, **searched)
        return self._documents(hits)

    def _asked(self, options: RetrieverKeywords) -> tuple[int, SearchKeywords]:
        limit = whole_number("k", options.pop("k", self.k), at_least=1)
        return limit, {**self._options(), **options}  # type: ignore[typeddict-unknown-key]  # k was taken out

    def _options(self) -> SearchKeywords:
        return {
            "mode": self.mode,
            "fusion": self.fusion,
            "rerank": self.rerank,
            "candidates": self.candidates,
            "filter": self.filter,
            "timeout": self.timeout,
        }

    def _documents(self, hits: Sequence[Hit]) -> list[LangChainDocument]:
        documents = [to_langchain(hit) for hit in hits]
        if self.add_scores:
            for document, hit in zip(documents, hits, strict=True):
                document.metadata |= {"score": hit.score, "scores": dict(hit.scores)}
        return documents
