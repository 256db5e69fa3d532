"""What the page asks: about the store, a search, and why a hit is a hit. Questions and answers are JSON."""

from __future__ import annotations

import math
import threading
from collections.abc import Collection, Mapping
from datetime import datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any

from cachetools import LRUCache

from flagvec.filters.bounds import bounded_filter
from flagvec.filters.dates import read_moment
from flagvec.m3_output import M3Output
from flagvec.search.fusion import Weighted
from flagvec.search.options import DEFAULT_CANDIDATES
from flagvec.store.documents import Hit
from flagvec.store.encoding import encode_texts, model_lock
from flagvec.ui.explanations import explanation_json
from flagvec.ui.snippets import shared_marks, snippet

if TYPE_CHECKING:
    from flagvec.explain.excerpts import Mark
    from flagvec.search.options import SearchKeywords
    from flagvec.store.base import HybridStore

# Seconds. After that the page says that the store is away, and asks again by itself.
_TIMEOUT = 8.0
_LONGEST_QUERY = 20_000
_LONGEST_VALUE = 300
_MOST_FIELDS = 40
_RANGES = ("gt", "gte", "lt", "lte", "$gt", "$gte", "$lt", "$lte")
_QUERIES_KEPT = 64


class BadQuestion(ValueError):
    """Raised for a question with a wrong value.

    Args:
        argument: Which value is wrong.
        message: What is wrong with it and what is expected.
    """

    def __init__(self, argument: str, message: str) -> None:
        super().__init__(message)
        self.argument = argument


class Questions:
    """Answers the page's questions; threads may ask at the same time.

    Args:
        store: What is asked.
        name: What the page calls the store.
        settings: What the page begins with, as `flagvec.search.settings.load_settings` returns it.
    """

    def __init__(self, store: HybridStore, name: str = "", settings: SearchKeywords | None = None) -> None:
        self._store = store
        self._name = name or type(store).__name__
        self._settings = settings or {}
        self._queries: LRUCache[str, M3Output] = LRUCache(_QUERIES_KEPT)
        self._lock = threading.Lock()

    def about(self) -> dict[str, Any]:
        """Return what the store holds.

        Raises:
            StoreError: The store is away or gone.
        """
        documents, schema = self._store.count(timeout=_TIMEOUT), self._store.schema
        held = schema.representations
        fusion = self._settings.get("fusion", Weighted())
        weights = (
            Weighted()
            if isinstance(fusion, str)
            else fusion
            if isinstance(fusion, Weighted)
            else Weighted.from_mapping(fusion)
        )
        return {
            "name": self._name,
            "documents": documents,
            "model": schema.model,
            "dimension": schema.dimension,
            "representations": list(held),
            "ranking": _first_ranking(held, fusion),
            "weights": {name: getattr(weights, name) for name in held},
            "candidates": self._settings.get("candidates", DEFAULT_CANDIDATES),
        }

    def search(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the hits of a search, with the scores of all representations that it uses.

        Args:
            given: ``query``, and if wanted ``limit``, ``candidates``, ``mode``, ``fusion``, ``rerank`` and ``filter``
                as `HybridStore.search` takes them. A string in a range of the filter is a date.

        Raises:
            BadQuestion: A value is wrong; has its name.
            StoreError: The store is away or gone.
        """
        query = _text(given, "query", _LONGEST_QUERY)
        if not query.strip():
            raise BadQuestion("query", "the query is empty: type some words")
        options = _options(given)
        begin = perf_counter()
        vectors = self._encoded(query)
        encoded = perf_counter()
        hits = self._store.search_vectors(vectors, given.get("limit", 10), explain=True, timeout=_TIMEOUT, **options)
        found = perf_counter()
        weights = vectors["lexical_weights"][0] if "lexical_weights" in vectors else {}
        return {
            "hits": [_shown(hit, shared_marks(self._store.model, weights, hit.text)) for hit in hits],
            "milliseconds": {"encode": 1e3 * (encoded - begin), "search": 1e3 * (found - encoded)},
        }

    def explain(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return why a hit has its score, as `flagvec.explain.explain` finds it in the store's own vectors.

        Args:
            given: ``query``, the hit's ``id`` and ``score``, and the options of the search as `search` takes them.

        Raises:
            BadQuestion: A value is wrong, or the document is gone.
            StoreError: The store is away or gone.
        """
        query, name = _text(given, "query", _LONGEST_QUERY), _text(given, "id", _LONGEST_QUERY)
        score, options = _number(given, "score"), _options(given)
        found = self._store.get([name], timeout=_TIMEOUT)
        if not found:
            raise BadQuestion("id", f"the document {name!r} is not in the store any more: search again")
        hit = Hit(name, score, found[0].text, found[0].metadata)
        return explanation_json(self._store.explain(query, hit, timeout=_TIMEOUT, **options))

    def _encoded(self, query: str) -> M3Output:
        with self._lock:
            kept = self._queries.get(query)
        if kept is None:
            model = self._store.model
            with model_lock(model):
                kept = encode_texts(model.encode_queries, model, [query], self._store.schema.representations)
            with self._lock:
                self._queries[query] = kept
        return kept


def _first_ranking(held: Collection[str], fusion: object) -> str:
    if "sparse" not in held:
        return "dense"
    return "ranks" if fusion == "rrf" else "weights"


def _text(given: Mapping[str, Any], name: str, longest: int) -> str:
    value = given.get(name)
    if not isinstance(value, str):
        raise BadQuestion(name, f"{name} is {type(value).__name__}, not a text")
    if len(value) > longest:
        raise BadQuestion(name, f"{name} has {len(value):,} characters: at most {longest:,}")
    return value


def _number(given: Mapping[str, Any], name: str) -> float:
    value = given.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise BadQuestion(name, f"{name} is {value!r:.60}, not a finite number")
    return float(value)


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    options = {name: given[name] for name in ("mode", "fusion", "rerank", "candidates") if given.get(name)}
    if given.get("filter"):
        options["filter"] = _filter(given["filter"])
    return options


def _filter(value: Any) -> Any:
    try:
        return bounded_filter(_with_dates(value))
    except (TypeError, ValueError) as error:
        raise BadQuestion("filter", str(error)) from None


def _with_dates(value: Any) -> Any:
    """Return a filter of JSON in which strings in ranges are the dates that they name, because JSON has no dates."""
    if isinstance(value, list):
        return [_with_dates(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {name: _moment(one) if name in _RANGES else _with_dates(one) for name, one in value.items()}


def _moment(value: Any) -> datetime | Any:
    return (read_moment(value) or value) if isinstance(value, str) else value


def _shown(hit: Hit, marks: list[Mark]) -> dict[str, Any]:
    return {
        "id": hit.id,
        "score": hit.score,
        "scores": dict(hit.scores),
        "metadata": {name[:_LONGEST_VALUE]: _short(hit.metadata[name]) for name in list(hit.metadata)[:_MOST_FIELDS]},
        "characters": len(hit.text),
        **snippet(hit.text, marks),
    }


def _short(value: Any) -> Any:
    if isinstance(value, (bool, int, float)) or value is None:
        return value
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
