"""A search of a store that keeps ColBERT vectors as codes: Qdrant finds candidates, and they are compared here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from flagvec.late_interaction.codec import ColbertCodec
from flagvec.late_interaction.stored import lost_codes, scores_of_codes
from flagvec.search.exact import Scores, by_scores
from flagvec.search.lost import LostColbert
from flagvec.search.options import SearchOptions
from flagvec.store.documents import Hit
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors
from flagvec_qdrant.convert import COLBERT, DOCUMENT_KEYS, PointId, to_documents
from flagvec_qdrant.search import Ask, Nearest, Stage, own_scores

# Reads chosen points with these keys of their payload, in batches of a bounded size. One that is not there is left out.
Read: TypeAlias = Callable[[Sequence[PointId], Sequence[str]], Iterable[Sequence[Any]]]


@dataclass(frozen=True, slots=True)
class KeptCodes:
    """The codes of a store's documents.

    Args:
        codec: What made them.
        lost: Warns of documents whose codes are missing or damaged.
    """

    codec: ColbertCodec
    lost: LostColbert

    @classmethod
    def of(cls, schema: Schema, where: str) -> KeptCodes | None:
        """Return the codes of a store of this schema, which messages call `where`; None if it keeps none."""
        if schema.colbert_storage is None or schema.colbert_dimension is None:
            return None
        return cls(schema.colbert_storage.codec(schema.colbert_dimension), LostColbert(where))


def find_hits_by_codes(query: TextVectors, options: SearchOptions, kept: KeptCodes, ask: Ask, read: Read) -> list[Hit]:
    """Return the best hits of a search that uses ColBERT."""
    legs = [name for name in options.legs if name in query.present]
    if not legs:
        return []
    found = ask([Stage(Nearest(leg), options.candidates) for leg in legs])
    candidates = _candidates([point.id for points in found for point in points], query, kept, read)
    points_of = {name: point for point, name in candidates.names.items()}

    def scores_of(missing: Mapping[str, list[str]]) -> dict[str, Scores]:
        scores: dict[str, Scores] = {COLBERT: candidates.scores}
        others = sorted(missing.keys() - {COLBERT})
        stages = [own_scores([points_of[one] for one in missing[name]], name) for name in others]
        for name, points in zip(others, ask(stages) if stages else (), strict=True):
            scores[name] = _by_name(points, candidates.names)
        return scores

    own = {leg: _by_name(points, candidates.names) for leg, points in zip(legs, found, strict=True)}
    ranked = by_scores(query, own, options, scores_of)
    read_again = read([points_of[one.id] for one in ranked], DOCUMENT_KEYS)
    documents = {document.id: document for points in read_again for document in to_documents(points)}
    return [
        Hit(one.id, one.score, documents[one.id].text, documents[one.id].metadata, dict(one.scores))
        for one in ranked
        # Another thread may have deleted one.
        if one.id in documents
    ]


@dataclass(frozen=True, slots=True)
class _Candidates:
    """What was read of the candidates: the ids of their documents, and their ColBERT scores by these."""

    names: Mapping[PointId, str]
    scores: Scores


def _candidates(ids: Iterable[PointId], query: TextVectors, kept: KeptCodes, read: Read) -> _Candidates:
    names: dict[PointId, str] = {}
    scores: dict[str, float] = {}
    lost = 0
    is_compared = COLBERT in query.present
    for points in read(list(dict.fromkeys(ids)), ("id", COLBERT) if is_compared else ("id",)):
        names |= {point.id: point.payload["id"] for point in points}
        if is_compared and query.colbert is not None:
            texts = {point.payload["id"]: point.payload.get(COLBERT) for point in points}
            of_these = scores_of_codes(query.colbert, texts, kept.codec)
            lost += lost_codes(texts, of_these)
            scores |= of_these
    kept.lost.count(lost, len(names))
    return _Candidates(names, scores)


def _by_name(points: Iterable[Any], names: Mapping[PointId, str]) -> dict[str, float]:
    # The embedded engine makes an id anew each time that it is asked for.
    return {names[found]: point.score for point in points if (found := point.id) in names}
