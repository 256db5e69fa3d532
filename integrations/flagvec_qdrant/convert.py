"""flagvec's records and searches in Qdrant's terms: pure functions and values, the same for every Qdrant engine."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha1
from types import MappingProxyType
from typing import Any

from flagvec.search.fusion import RRF_K
from flagvec.search.options import SearchOptions
from flagvec.store.documents import Document
from flagvec.store.encoding import TextVectors

# As engines give it and take it.
PointId = int | str | uuid.UUID

DENSE, SPARSE, COLBERT = "dense", "sparse", "colbert"

# A server refuses a multivector, in a point as in a query, of this many numbers and more (Qdrant's `validate_multi`).
_MULTIVECTOR_SIZE = 1_048_576
# Qdrant counts ranks from zero, 1 / (k + rank): one more in k makes that the one-based formula.
_QDRANT_RRF_K = RRF_K + 1
# How many times more vectors are compared in full than are wanted, where they are kept in a short form too.
OVERSAMPLING = 3.0
NO_FIELDS: Mapping[str, Any] = MappingProxyType({})
_POINT_IDS = uuid.UUID("0c5a0f3d-8e5b-5c0e-9d0a-5d1f6a4f7c11").bytes
# RFC 4122 has a digit for the version of a UUID, and half of one for its variant.
_VERSION = "5"
_VARIANTS = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
# Keys that every version of Qdrant's JSON path takes without quotes.
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Nearest:
    """Points are ordered by the query's similarity in one named vector; those without it are left out."""

    vector: str


@dataclass(frozen=True, slots=True)
class ReciprocalRanks:
    """Points are ordered by the sum over sources of 1 / (k + rank), ranks from zero."""

    k: int = _QDRANT_RRF_K


@dataclass(frozen=True, slots=True)
class WeightedSum:
    """Points are ordered by the sum of factor * score over sources; a source that lacks a point gives it 0."""

    factors: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a search, as Qdrant nests them.

    Args:
        order: What the points are ordered by.
        limit: The most points that it passes on.
        sources: The stages whose points it orders; all points of the store if there are none.
        only: If not empty, the ids of the only points that take part. For an outermost stage.
        payload: Whether points come with their payload. For an outermost stage.
    """

    order: Nearest | ReciprocalRanks | WeightedSum
    limit: int
    sources: tuple[Stage, ...] = ()
    only: tuple[PointId, ...] = ()
    payload: bool = False


def point_id(document_id: str) -> str:
    """Return the UUID under which Qdrant keeps a document, for Qdrant takes no other strings.

    It is ``uuid.uuid5`` of the id, which takes three times as long by way of its objects.
    """
    name = sha1(_POINT_IDS + document_id.encode(), usedforsecurity=False).hexdigest()
    return f"{name[:8]}-{name[8:12]}-{_VERSION}{name[13:16]}-{_VARIANTS[name[16]]}{name[17:20]}-{name[20:32]}"


def to_payload(document: Document) -> dict[str, Any]:
    """Return a document as a point's payload, from which `from_payload` makes it again."""
    return {"id": document.id, "text": document.text, "metadata": document.metadata}


def from_payload(payload: Mapping[str, Any]) -> Document:
    """Return the document of a payload that `to_payload` made."""
    return Document(payload["id"], payload["text"], payload["metadata"])


def field_key(path: Sequence[str]) -> str:
    """Return the place of a metadata field in the payload as a JSON path, in Qdrant's notation."""
    return ".".join(key if _PLAIN_KEY.fullmatch(key) else f'"{key}"' for key in ("metadata", *path))


def max_colbert_rows(dimension: int) -> int:
    """Return the most vectors of `dimension` numbers that a multivector may have: 1,023 at 1,024 dimensions."""
    return (_MULTIVECTOR_SIZE - 1) // dimension


def ranking(query: TextVectors, options: SearchOptions) -> Stage | None:
    """Return the stage that finds and orders a search's hits; None if the query is empty in all that could find any.

    - One leg: the nearest points in it.
    - Reciprocal rank fusion: over each leg's candidates. Its ties are many and Qdrant breaks them at random, so all
      candidates are kept, for the store to cut off where no tie is cut.
    - Weighted fusion: each representation scores the union of all legs' candidates, so that a candidate which one leg
      did not find has that leg's true score, and the sum of these orders them. ColBERT's part is divided by the number
      of query vectors, for Qdrant gives the sum of the best matches where the model takes their mean.
    - Rerank: ColBERT scores the union of all legs' candidates.
    """
    found_by = [name for name in options.legs if name in query.present]
    if not found_by:
        return None
    if options.representations == (options.mode,):
        return Stage(Nearest(options.mode), options.limit)
    legs = tuple(Stage(Nearest(name), options.candidates) for name in found_by)
    union = options.candidates * len(legs)
    if options.rerank and COLBERT in query.present:
        return Stage(Nearest(COLBERT), options.limit, legs)
    if options.weights is None:
        return Stage(ReciprocalRanks(), union, legs)
    shares = {name: share for name, share in options.weights.shares().items() if name in query.present}
    return Stage(
        WeightedSum(tuple(share * score_scale(name, query) for name, share in shares.items())),
        options.limit,
        tuple(Stage(Nearest(name), union, legs) for name in shares),
    )


def own_scores(ids: Sequence[PointId], representations: Sequence[str]) -> list[Stage]:
    """Return the stages that give chosen points' exact scores, one for each representation."""
    return [Stage(Nearest(name), len(ids), only=tuple(ids)) for name in representations]


def hit_scale(query: TextVectors, options: SearchOptions) -> float:
    """Return what a score of `ranking` is multiplied with to be a hit's; of a rerank without ColBERT vectors, 0."""
    if not options.rerank:
        return 1.0
    return score_scale(COLBERT, query) if COLBERT in query.present else 0.0


def score_scale(representation: str, query: TextVectors) -> float:
    """Return what Qdrant's score in a representation is multiplied with to be the model's."""
    if representation == COLBERT and query.colbert is not None and len(query.colbert):
        return 1.0 / len(query.colbert)
    return 1.0
