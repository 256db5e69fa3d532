"""`FlagRetriever`: LangChain's retriever over any of flagvec's stores."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document as LangChainDocument
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables.config import run_in_executor
from pydantic import ConfigDict, SkipValidation, model_validator
from typing_extensions import Self, Unpack

from flagvec.filters.portable import FilterLike
from flagvec.search.options import (
    Fusion,
    Mode,
    Rerank,
    SearchKeywords,
    SearchOptions,
    checked_limit,
    refuse_unknown,
)
from flagvec.store.base import HybridStore
from langchain_flagvec.documents import to_langchain


class RetrieverKeywords(SearchKeywords, total=False):
    """What a call of a retriever takes: ``k``, the most documents to return, and the options of a search."""

    k: int


class FlagRetriever(BaseRetriever):
    """Finds the documents of a store that fit a query best; a query is encoded once, whatever is searched.

    A call may replace each option: ``retriever.invoke(query, k=3, mode="dense")``; ``explain`` there means what
    ``add_scores`` means here. The fields can be made configurable as LangChain does it. A copy, deep or not, shares
    the store. A retriever cannot be pickled, because it holds an open database.

    Args:
        store: A `QdrantEdgeStore`, `QdrantStore`, `MilvusStore` or `ElasticsearchStore`. The retriever neither creates
            nor closes it.
        k: The most documents to return.
        mode: ``"dense"``, ``"sparse"`` or ``"hybrid"``; None is hybrid if the store holds lexical weights.
        fusion: How a hybrid search orders what its legs found: ``"rrf"`` by reciprocal ranks, or a `Weighted` or a dict
            like ``{"dense": 1, "sparse": 0.3}`` by weighted scores.
        rerank: ``"colbert"`` orders the candidates by ColBERT alone.
        candidates: How many documents each leg finds before fusion or rerank; 100, or `k` if that is more.
        filter: Which documents take part, in the form of `flagvec.filters.portable` or the database's own.
        min_score: Leave out documents with a lower score; refused for ``"rrf"``, whose scores come from ranks.
        timeout: Seconds that one request to the database may take; None for the client's own limit.
        add_scores: Add the score to each document's metadata as ``score``, and that of each representation that the
            search used as ``scores``.

    Raises:
        TypeError: An option is of a type that it does not take.
        ValueError: An option is unknown, out of range, in conflict with another, or needs what the store does not hold.
            pydantic's ``ValidationError`` is a ``ValueError``.

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
    # pydantic would make a Weighted of a dict, in which a missing weight is 1 and not 0.
    fusion: SkipValidation[Fusion] = "rrf"
    rerank: Rerank | None = None
    candidates: int | None = None
    # pydantic would copy a dict, and make a parsed filter of one that looks like it.
    filter: SkipValidation[FilterLike | None] = None
    min_score: float | None = None
    timeout: float | None = None
    add_scores: bool = False

    def __repr_args__(self) -> list[tuple[str, Any]]:
        changed = (name for name in self._searched() if getattr(self, name) != type(self).model_fields[name].default)
        return [(name, _Shown(f"{getattr(self, name)!r:.200}")) for name in ("store", "k", *changed)]

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        limit = checked_limit("k", self.k, self.store.max_limit)
        bounds: Any = {"max_limit": self.store.max_limit, "is_native": self.store.is_native_filter}
        SearchOptions.checked(self.store.schema, limit, **bounds, **self._searched())
        return self

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **options: Unpack[RetrieverKeywords]
    ) -> list[LangChainDocument]:
        refuse_unknown(options, RetrieverKeywords.__annotations__, "FlagRetriever.invoke", limit="k")
        asked = {"explain": self.add_scores, **self._searched(), **options}
        limit = checked_limit("k", asked.pop("k", self.k), self.store.max_limit)
        hits = self.store.search(query, limit, **asked)
        return [to_langchain(hit, with_scores=asked["explain"]) for hit in hits]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **options: Unpack[RetrieverKeywords]
    ) -> list[LangChainDocument]:
        # LangChain's own takes no options.
        return await run_in_executor(
            None, self._get_relevant_documents, query, run_manager=run_manager.get_sync(), **options
        )

    def _searched(self) -> dict[str, Any]:
        names = ("mode", "fusion", "rerank", "candidates", "filter", "min_score", "timeout")
        return {name: getattr(self, name) for name in names}


class _Shown(str):
    """A text that pydantic shows without quotes."""

    __repr__ = str.__str__
