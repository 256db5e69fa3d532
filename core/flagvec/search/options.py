"""What a search may ask for, checked before any work is done."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from flagvec.filters.portable import Filter, FilterLike, NativeFilter, parse_filter
from flagvec.search.fusion import Weighted
from flagvec.store.schema import Schema

Mode = Literal["dense", "sparse", "hybrid"]
Fusion = Literal["rrf"] | Weighted
Rerank = Literal["colbert"]

DEFAULT_CANDIDATES = 100
_LEGS = {"dense": ("dense",), "sparse": ("sparse",), "hybrid": ("dense", "sparse")}


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """A search's options, made by `checked`.

    Args:
        limit: The most hits to return.
        mode: Which representations find the candidates.
        weights: The weights that order the candidates of a hybrid search; None for reciprocal rank fusion.
        rerank: Whether the candidates are ordered by ColBERT instead.
        candidates: How many documents each leg finds before they are fused or reranked.
        filter: Which documents take part; None for all.
        explain: Whether hits carry the scores of all representations that the search uses.
        timeout: Seconds that each request to the database may take; None for the client's own limit.
    """

    limit: int
    mode: Mode
    weights: Weighted | None
    rerank: bool
    candidates: int
    filter: Filter | NativeFilter | None = None
    explain: bool = False
    timeout: float | None = None

    @classmethod
    def checked(
        cls,
        schema: Schema,
        *,
        limit: int = 10,
        mode: Mode | None = None,
        fusion: Fusion = "rrf",
        rerank: Rerank | None = None,
        candidates: int | None = None,
        filter: FilterLike | None = None,
        explain: bool = False,
        timeout: float | None = None,
    ) -> SearchOptions:
        """Return the options of ``HybridStore.search``, defaults filled in.

        Raises:
            TypeError: ``limit`` or ``candidates`` is no whole number, ``explain`` no bool, ``timeout`` no number, or
                what `parse_filter` raises.
            ValueError: An option that is unknown, out of range, in conflict with another, or needs a representation
                that the store does not hold; the message says what to use instead.
        """
        weights = fusion if isinstance(fusion, Weighted) else None
        if mode is None:
            mode = "hybrid" if schema.sparse or weights else "dense"
        check_choice("mode", mode, _LEGS)
        if not weights:
            check_choice("fusion", fusion, ["rrf"], "a Weighted(dense=..., sparse=..., colbert=...)")
        check_choice("rerank", rerank, [None, "colbert"])
        if weights and mode != "hybrid":
            raise ValueError(f"fusion={weights} is for mode='hybrid'; mode={mode!r} has nothing to fuse: leave one out")
        if weights and rerank:
            raise ValueError(
                "rerank='colbert' orders the hits by ColBERT alone, so weights have no effect: "
                "leave rerank out and give ColBERT its weight in fusion, or leave fusion out"
            )
        limit = whole_number("limit", limit, at_least=1)
        if candidates is None:
            candidates = max(limit, DEFAULT_CANDIDATES)
        candidates = whole_number("candidates", candidates, at_least=limit)
        parsed = None if filter is None else parse_filter(filter)
        if not isinstance(explain, bool):
            raise TypeError(f"explain takes True or False, not {type(explain).__name__}")
        seconds = checked_timeout(timeout)
        options = cls(limit, mode, weights, rerank is not None, candidates, parsed, explain, seconds)
        options._check_held(schema)
        return options

    @property
    def legs(self) -> tuple[str, ...]:
        """The representations that find candidates: those of the mode, less those with a weight of 0.

        A search that weighs neither dense nor sparse lets both find the candidates.
        """
        legs = _LEGS[self.mode]
        if self.weights is None:
            return legs
        return tuple(name for name in legs if name in self.weights.representations) or legs

    @property
    def representations(self) -> tuple[str, ...]:
        """All representations that the search uses, in the order dense, sparse, colbert."""
        used = {*self.legs, *self.ordering}
        return tuple(name for name in ("dense", "sparse", "colbert") if name in used)

    @property
    def ordering(self) -> tuple[str, ...]:
        """The representations whose scores order the hits; none where ranks do."""
        if self.weights is not None:
            return self.weights.representations
        if self.rerank:
            return ("colbert",)
        return () if self.mode == "hybrid" else (self.mode,)

    @property
    def scored(self) -> tuple[str, ...]:
        """The representations whose scores each hit carries."""
        return self.representations if self.explain else self.ordering

    def _check_held(self, schema: Schema) -> None:
        weighted = self.weights.representations if self.weights else ()
        for argument, needed, remedy in (
            (f"mode={self.mode!r}", self.legs, "choose mode='dense'"),
            (f"fusion={self.weights}", weighted, "give it a weight of 0"),
            ("rerank='colbert'", ("colbert",) if self.rerank else (), "leave rerank out"),
        ):
            if missing := [name for name in needed if name not in schema.representations]:
                held = " and ".join(schema.representations)
                raise ValueError(
                    f"{argument} needs {' and '.join(missing)}, but this store holds {held} only: "
                    f"{remedy}, or use a store and a model that have it"
                )


def checked_timeout(timeout: Any) -> float | None:
    """Return a timeout in seconds; None for the client's own.

    Raises:
        TypeError: It is no number.
        ValueError: It is not finite or not above zero.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout takes a number of seconds, not {type(timeout).__name__}")
    if not math.isfinite(timeout) or timeout <= 0:
        raise ValueError(f"timeout={timeout}: a number of seconds above 0, or None for the client's own")
    return float(timeout)


def whole_number(name: str, value: Any, at_least: int) -> int:
    """Return the value of the argument `name` as an int.

    Raises:
        TypeError: It is no whole number.
        ValueError: It is below `at_least`.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} takes a whole number, not {type(value).__name__}")
    if (number := operator.index(value)) < at_least:
        reason = f" (limit={at_least})" if name == "candidates" else ""
        raise ValueError(f"{name}={number}: at least {at_least}{reason}")
    return number


def check_choice(name: str, value: Any, choices: Iterable[Any], further: str = "") -> None:
    """Refuse a value of the argument `name` that is none of `choices`; `further` says what else may be given.

    Raises:
        ValueError: It is none of them; names them all.
    """
    if value not in list(choices):
        known = [repr(choice) for choice in choices] + ([further] if further else [])
        raise ValueError(f"{name}={value!r}: choose {' or '.join(known)}")
