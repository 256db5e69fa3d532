"""The searches that are compared, by the name that tables give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flagvec.search.fusion import Weighted
from flagvec.search.options import SearchKeywords, SearchOptions
from flagvec.store.base import HybridStore
from flagvec.store.schema import Schema


def usual_searches(schema: Schema) -> dict[str, SearchKeywords]:
    """Return the searches of a store that holds what `schema` says, from a single representation to all three."""
    held = schema.representations
    searches: dict[str, SearchKeywords] = {"dense": {"mode": "dense"}}
    if "sparse" in held:
        searches["sparse"] = {"mode": "sparse"}
        searches["rrf"] = {"fusion": "rrf"}
        searches["dense + sparse"] = {"fusion": Weighted(1, 1, 0)}
    if "colbert" in held:
        candidates, mixed = ("rrf", "dense + sparse") if "sparse" in held else ("dense", "dense")
        searches[f"{candidates}, ColBERT rerank"] = {"rerank": "colbert"}
        searches[f"{mixed} + ColBERT"] = {"fusion": Weighted(1, float("sparse" in held), 1)}
    return searches


def checked_searches(
    store: HybridStore, searches: Mapping[str, SearchKeywords] | None, limit: int
) -> dict[str, SearchOptions]:
    """Return the options of searches by name; those of `usual_searches` for None.

    Raises:
        TypeError: Something other than a dict of the options of each search, or an option of a wrong type.
        ValueError: There is no search, or an option is not valid; names the search.
    """
    searches = usual_searches(store.schema) if searches is None else searches
    if not isinstance(searches, Mapping) or not searches:
        raise TypeError(
            f"searches={searches!r:.80}: give a dict of the options of each search by its name, such as "
            "{'dense': {'mode': 'dense'}, 'rrf': {'fusion': 'rrf'}}"
        )
    checked = {}
    for name, given in searches.items():
        options: dict[str, Any] = dict(given)
        bounds: Any = {"max_limit": store.max_limit, "is_native": store.is_native_filter}
        try:
            checked[name] = SearchOptions.checked(store.schema, limit, **bounds, **options)
        except (TypeError, ValueError) as error:
            raise type(error)(f"searches[{name!r}]: {error}") from None
    return checked
