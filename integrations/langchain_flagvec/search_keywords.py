"""The keywords of a search, as each method that searches takes them."""

from __future__ import annotations

from typing_extensions import TypedDict

from flagvec.filters.portable import FilterLike
from flagvec.search.options import Fusion, Mode, Rerank


class VectorSearchKeywords(TypedDict, total=False):
    """What a search by a ready vector takes, with the meaning that ``HybridStore.search`` gives it."""

    filter: FilterLike | None
    candidates: int | None
    timeout: float | None


class SearchKeywords(VectorSearchKeywords, total=False):
    """What a search by text takes, with the meaning that ``HybridStore.search`` gives it."""

    mode: Mode | None
    fusion: Fusion
    rerank: Rerank | None


class RetrieverKeywords(SearchKeywords, total=False):
    """What a call of a retriever takes: ``k``, the number of documents, and what a search takes."""

    k: int
