"""`compare`: the top hits of several kinds of search side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flagvec.search.options import SearchKeywords
    from flagvec.store.base import HybridStore
    from flagvec.store.documents import Hit, Hits


@dataclass(frozen=True, eq=False)
class Comparison:
    """The hits of several searches for one query.

    In a notebook it shows them side by side, the ranks of each document joined by lines. `figure` draws the same for a
    paper, and `rich.print` shows a table in a terminal.

    Args:
        query: The query.
        searches: The hits of each search, by its name, in the order of the columns.
    """

    query: str
    searches: Mapping[str, Hits]

    @property
    def documents(self) -> dict[str, Hit]:
        """Each document that a search found, by its id, in the order in which the searches have them."""
        found: dict[str, Hit] = {}
        for hits in self.searches.values():
            for hit in hits:
                found.setdefault(hit.id, hit)
        return found

    @property
    def ranks(self) -> dict[str, dict[str, int]]:
        """The ranks of each document from one, by its id and the search's name. A search without it has none."""
        found: dict[str, dict[str, int]] = {}
        for name, hits in self.searches.items():
            for rank, hit in enumerate(hits, start=1):
                found.setdefault(hit.id, {})[name] = rank
        return found

    @property
    def only(self) -> dict[str, tuple[str, ...]]:
        """The ids that one search alone found, by the search's name, best first."""
        ranks = self.ranks
        return {name: tuple(hit.id for hit in hits if len(ranks[hit.id]) == 1) for name, hits in self.searches.items()}

    def figure(self, width: float = 7.0) -> Any:
        """Return a matplotlib Figure: a column for each search, and a line for each document.

        Args:
            width: Its width in inches.

        Raises:
            ImportError: matplotlib is not installed.
        """
        from flagvec.explain.figures import comparison_figure

        return comparison_figure(self, width)

    def __repr__(self) -> str:
        only = self.only
        parts = ", ".join(f"{name} {len(hits)} hits ({len(only[name])} alone)" for name, hits in self.searches.items())
        return f"Comparison({self.query[:60]!r}: {parts})"

    def _repr_html_(self) -> str:
        from flagvec.explain.comparison_html import comparison_html

        return comparison_html(self)

    def __rich__(self) -> Any:
        from flagvec.explain.terminal import comparison_table

        return comparison_table(self)


def compare(
    query: str, store: HybridStore, limit: int = 10, searches: Mapping[str, SearchKeywords] | None = None
) -> Comparison:
    """Search in several ways and put the hits side by side.

    Args:
        query: Any text. Each search encodes it.
        store: Where to search.
        limit: The most hits of each search.
        searches: The options of each search, by its name. None takes ``dense``, ``sparse``, ``rrf`` and ``colbert``
            (a rerank), as far as the store holds what they need.

    Raises:
        TypeError: As in `HybridStore.search`.
        ValueError: As in `HybridStore.search`, or `searches` is empty.
        StoreError: As in `HybridStore.search`.
    """
    chosen = _usual(store) if searches is None else searches
    if not chosen:
        raise ValueError("searches={}: give the options of at least one search, or None for the usual ones")
    return Comparison(query, {name: store.search(query, limit, **options) for name, options in chosen.items()})


def _usual(store: HybridStore) -> dict[str, SearchKeywords]:
    held = store.schema.representations
    chosen: dict[str, SearchKeywords] = {"dense": {"mode": "dense"}}
    if "sparse" in held:
        chosen |= {"sparse": {"mode": "sparse"}, "rrf": {"mode": "hybrid"}}
    if "colbert" in held:
        chosen["colbert"] = {"rerank": "colbert"}
    return chosen
