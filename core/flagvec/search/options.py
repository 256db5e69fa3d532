"""The options of a search: named once, checked once, and put into words that the stores can follow."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Real
from typing import Any, Literal, TypeAlias

from typing_extensions import TypedDict

from flagvec.filters.portable import Filter, FilterLike, NativeFilter, parse_filter
from flagvec.search.fusion import Weighted
from flagvec.store.schema import Schema

Mode = Literal["dense", "sparse", "hybrid"]
Fusion: TypeAlias = Literal["rrf"] | Weighted | Mapping[str, float]
Rerank = Literal["colbert"]

DEFAULT_CANDIDATES = 100
_LEGS = {"dense": ("dense",), "sparse": ("sparse",), "hybrid": ("dense", "sparse")}
# What libraries call the number of hits.
_LIMIT_NAMES = ("limit", "k", "top_k", "topk", "top_n", "n", "n_results", "size")


class SearchKeywords(TypedDict, total=False):
    """What ``HybridStore.search`` takes beside the query and ``limit``.

    Args:
        mode: ``"dense"``, ``"sparse"`` or ``"hybrid"``, which fuses both. None is hybrid if the store holds lexical
            weights, and dense otherwise.
        fusion: How a hybrid search orders what its legs found. ``"rrf"`` adds the reciprocal ranks, 1 / (60 + rank),
            with ranks from one. A `Weighted`, or a dict like ``{"dense": 1, "sparse": 0.3}``, computes the model's own
            score of every candidate in full, whichever leg found it. A representation without a weight is left out.
        rerank: ``"colbert"`` orders the candidates by ColBERT alone.
        candidates: How many documents each leg finds before fusion or rerank; 100, or ``limit`` if that is more.
        filter: Which documents take part, in the form of `flagvec.filters.portable`, or the database's own filter.
        explain: Let each hit's ``scores`` hold those of all representations that the search used, not only those that
            ordered the hits. The others take one more request to the database, or a larger one.
        min_score: Leave out hits with a lower score, in the scale of ``Hit.score``. Refused for ``"rrf"``, whose scores
            come from ranks and say nothing of how well a document fits.
        timeout: Seconds that the search in the database may take, with its repetitions. With None no attempt begins
            after ten seconds, and each takes the client's own limit at most.
    """

    mode: Mode | None
    fusion: Fusion
    rerank: Rerank | None
    candidates: int | None
    filter: FilterLike | None
    explain: bool
    min_score: float | None
    timeout: float | None


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """A search's options, made by `checked`.

    Args:
        limit: The most hits to return.
        mode: Which representations find the candidates.
        weights: The weights that order the candidates of a hybrid search; None for reciprocal rank fusion.
        rerank: Whether ColBERT orders the candidates instead.
        candidates: How many documents each leg finds before they are fused or reranked.
        filter: Which documents take part; None for all.
        explain: Whether hits carry the scores of all representations that the search uses.
        min_score: The lowest score of a hit; None for any.
        timeout: Seconds that each request to the database may take; None for the client's own limit.
    """

    limit: int
    mode: Mode
    weights: Weighted | None
    rerank: bool
    candidates: int
    filter: Filter | NativeFilter | None = None
    explain: bool = False
    min_score: float | None = None
    timeout: float | None = None

    @classmethod
    def checked(
        cls,
        schema: Schema,
        limit: int = 10,
        *,
        owner: str = "search",
        is_native: Callable[[Any], bool] = lambda filter: False,
        **options: Any,
    ) -> SearchOptions:
        """Return the options of a search, with defaults filled in.

        Args:
            schema: What the store holds.
            limit: The most hits to return.
            owner: What messages call the method that takes the options.
            is_native: Tells whether a filter is the database's own.
            options: Those of `SearchKeywords`.

        Raises:
            TypeError: An unknown option, or one of a type that it does not take.
            ValueError: An option that is unknown, out of range, in conflict with another, or needs a representation
                that the store does not hold; the message says what to use instead.
        """
        refuse_unknown(options, SearchKeywords.__annotations__, owner)
        weights = _weights(options.get("fusion", "rrf"))
        mode: Any = options.get("mode") or ("hybrid" if schema.sparse or weights else "dense")
        check_choice("mode", mode, _LEGS)
        rerank = options.get("rerank")
        check_choice("rerank", rerank, [None, "colbert"])
        _check_fusion(mode, weights, rerank)
        limit = whole_number("limit", limit, at_least=1)
        candidates = options.get("candidates")
        candidates = max(limit, DEFAULT_CANDIDATES) if candidates is None else candidates
        explain = options.get("explain", False)
        if not isinstance(explain, bool):
            raise TypeError(f"explain takes True or False, not {type(explain).__name__}")
        filter = options.get("filter")
        checked = cls(
            limit,
            mode,
            weights,
            rerank is not None,
            whole_number("candidates", candidates, at_least=limit),
            None if filter is None else parse_filter(filter, is_native),
            explain,
            _checked_min_score(options.get("min_score")),
            checked_timeout(options.get("timeout")),
        )
        checked._check_held(schema)
        return checked

    @property
    def legs(self) -> tuple[str, ...]:
        """The representations that find candidates: those of the mode, without those with a weight of 0.

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
        """The representations whose scores order the hits; none if ranks do."""
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
        if self.min_score is not None and not self.ordering:
            raise ValueError(
                f"min_score={self.min_score}: the scores of fusion='rrf' come from ranks and do not say how well a "
                "document fits; choose fusion={'dense': 1, 'sparse': 1}, rerank='colbert' or mode='dense'"
            )


def refuse_unknown(given: Mapping[str, Any], known: Iterable[str], owner: str, limit: str = "limit") -> None:
    """Refuse a keyword that `owner`, a public method or class, does not take.

    Args:
        given: The keywords.
        known: The names that `owner` takes.
        owner: What messages call the method or class.
        limit: What `owner` calls the number of hits.

    Raises:
        TypeError: A keyword is unknown; names the one that was probably meant.
    """
    known = list(known)
    for name in given:
        if name in known:
            continue
        if name in _LIMIT_NAMES:
            raise TypeError(f"{owner} takes no argument {name!r}: the number of hits is the argument `{limit}`")
        nearest = get_close_matches(name, known, n=1, cutoff=0.5)
        meant = f"did you mean {nearest[0]!r}?" if nearest else f"it takes {', '.join(known)}"
        raise TypeError(f"{owner} takes no argument {name!r}: {meant}")


def checked_timeout(timeout: Any) -> float | None:
    """Return a timeout in seconds; None for the client's own.

    Raises:
        TypeError: It is not a number.
        ValueError: It is not finite or not above zero.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, Real):
        raise TypeError(f"timeout takes a number of seconds, not {type(timeout).__name__}")
    if not math.isfinite(timeout) or timeout <= 0:
        raise ValueError(f"timeout={timeout}: give a number of seconds above 0, or None for the client's own limit")
    return float(timeout)


def whole_number(name: str, value: Any, at_least: int) -> int:
    """Return the value of the argument `name` as an int.

    Raises:
        TypeError: It is not a whole number.
        ValueError: It is below `at_least`.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} takes a whole number, not {type(value).__name__}")
    if (number := operator.index(value)) < at_least:
        reason = f" (limit={at_least})" if name == "candidates" else ""
        raise ValueError(f"{name}={number}: at least {at_least}{reason}")
    return number


def check_choice(name: str, value: Any, choices: Iterable[Any], further: str = "") -> None:
    """Refuse a value of the argument `name` that is not among `choices`; `further` names what else may be given.

    Raises:
        ValueError: It is not among them; names them all.
    """
    if value not in list(choices):
        known = [repr(choice) for choice in choices] + ([further] if further else [])
        raise ValueError(f"{name}={value!r}: choose {' or '.join(known)}")


def _weights(fusion: Any) -> Weighted | None:
    if isinstance(fusion, Weighted):
        return fusion
    if isinstance(fusion, Mapping):
        return Weighted.from_mapping(fusion)
    check_choice("fusion", fusion, ["rrf"], "weights like {'dense': 1, 'sparse': 0.3, 'colbert': 1}")
    return None


def _check_fusion(mode: str, weights: Weighted | None, rerank: str | None) -> None:
    if weights and mode != "hybrid":
        raise ValueError(f"fusion={weights} is for mode='hybrid'; mode={mode!r} has nothing to fuse: leave one out")
    if weights and rerank:
        raise ValueError(
            "rerank='colbert' orders the hits by ColBERT alone, so weights have no effect: "
            "leave rerank out and give ColBERT its weight in fusion, or leave fusion out"
        )


def _checked_min_score(min_score: Any) -> float | None:
    if min_score is None:
        return None
    if isinstance(min_score, bool) or not isinstance(min_score, Real):
        raise TypeError(f"min_score takes a number, not {type(min_score).__name__}")
    if not math.isfinite(min_score):
        raise ValueError(f"min_score={min_score}: give a finite number")
    return float(min_score)
