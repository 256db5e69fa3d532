"""A search of a store that keeps ColBERT vectors as codes: Qdrant finds candidates, and they are compared here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from flagvec.late_interaction.codec import ColbertCodec
from flagvec.late_interaction.stored import lost_codes, prepared_query, scores_of_codes
from flagvec.search.exact import Scores, by_scores
from flagvec.search.lost import LostColbert
from flagvec.search.options import SearchOptions
from flagvec.store.documents import Hit
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors
from flagvec_qdrant.convert import COLBERT, DOCUMENT_KEYS, PointId, to_documents
from flagvec_qdrant.search import Ask, Nearest, Stage, own_scores

if TYPE_CHECKING:
    from flagvec.late_interaction.maxsim import MaxSim

# Makes a request of `Ask`, and returns a function that waits for its answer.
Request: TypeAlias = Callable[[], Sequence[Sequence[Any]]]
InBackground: TypeAlias = Callable[[Request], Request]
Result = TypeVar("Result")


class Read(Protocol):
    """Reads points."""

    def __call__(
        self, ids: Sequence[PointId], keys: Sequence[str], use: Callable[[Sequence[Any]], Result]
    ) -> Iterable[Result]:
        """Yield what `use` makes of the points, in batches of a bounded size. An engine may call it in several threads.

        Args:
            ids: The points. One that is not there is left out.
            keys: What to read of their payload.
            use: Takes a batch.
        """


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


def asked_of_engine(query: TextVectors, kept: KeptCodes | None) -> TextVectors:
    """Return what an engine gets of a query: no ColBERT vectors if their codes are compared here."""
    return query if kept is None else replace(query, colbert=None)


def when_asked(request: Request) -> Request:
    """Make a request only when its answer is needed: the `InBackground` of an engine that takes one call at a time."""
    return request


def find_hits_by_codes(
    query: TextVectors,
    options: SearchOptions,
    kept: KeptCodes,
    ask: Ask,
    read: Read,
    in_background: InBackground = when_asked,
) -> list[Hit]:
    """Return the best hits of a search that uses ColBERT.

    Args:
        query: What is searched for.
        options: The search's options.
        kept: The codes of the store.
        ask: Finds candidates, and scores chosen points.
        read: Reads the codes of candidates, and the hits.
        in_background: Makes requests while the query is prepared and codes are read.
    """
    legs = [name for name in options.legs if name in query.present]
    if not legs:
        return []
    found = in_background(lambda: ask([Stage(Nearest(leg), options.candidates) for leg in legs]))
    prepared = None if query.colbert is None or not len(query.colbert) else prepared_query(query.colbert, kept.codec)
    scores = {leg: _by_point(points) for leg, points in zip(legs, found(), strict=True)}
    ids = list(dict.fromkeys(chain.from_iterable(scores.values())))
    others = [name for name in options.scored if name != COLBERT and name in query.present]
    absent = {name: [point for point in ids if point not in scores.get(name, {})] for name in others}
    incomplete = [name for name in others if absent[name]]
    stages = [own_scores(absent[name], name) for name in incomplete]
    further = in_background(lambda: ask(stages) if stages else ())
    candidates = _candidates(ids, prepared, kept.lost, read)
    for name, points in zip(incomplete, further(), strict=True):
        scores[name] = {**scores.get(name, {}), **_by_point(points)}
    known = {name: _by_name(of_points, candidates.names) for name, of_points in scores.items()}
    # Whatever is missing now has no token in common with the query.
    ranked = by_scores(query, known, options, lambda _: {COLBERT: candidates.scores})
    points_of = {name: point for point, name in candidates.names.items()}
    read_again = read([points_of[one.id] for one in ranked], DOCUMENT_KEYS, to_documents)
    documents = {document.id: document for batch in read_again for document in batch}
    return [
        Hit(one.id, one.score, documents[one.id].text, documents[one.id].metadata, dict(one.scores))
        for one in ranked
        # Another thread may have deleted one.
        if one.id in documents
    ]


@dataclass(frozen=True, slots=True)
class _Candidates:
    """What was read of candidates.

    Args:
        names: The ids of their documents.
        scores: Their ColBERT scores by these.
        lost: How many have codes that are missing or damaged.
    """

    names: Mapping[PointId, str]
    scores: Scores
    lost: int = 0


def _candidates(ids: Sequence[PointId], query: MaxSim | None, lost: LostColbert, read: Read) -> _Candidates:
    """Return what is read of candidates. With None for `query`, which has no vectors then, no codes are read."""
    if query is None:
        batches = [*read(ids, ("id",), lambda points: _Candidates(_names(points), {}))]
    else:
        batches = [*read(ids, ("id", COLBERT), lambda points: _compared(points, query))]
    names = {point: name for batch in batches for point, name in batch.names.items()}
    lost.count(sum(batch.lost for batch in batches), len(names))
    return _Candidates(names, {name: score for batch in batches for name, score in batch.scores.items()})


def _names(points: Sequence[Any]) -> Mapping[PointId, str]:
    return {point.id: point.payload["id"] for point in points}


def _compared(points: Sequence[Any], query: MaxSim) -> _Candidates:
    texts = {point.payload["id"]: point.payload.get(COLBERT) for point in points}
    scores = scores_of_codes(query, texts)
    return _Candidates(_names(points), scores, lost_codes(texts, scores))


def _by_point(points: Iterable[Any]) -> dict[PointId, float]:
    return {point.id: point.score for point in points}


def _by_name(scores: Mapping[PointId, float], names: Mapping[PointId, str]) -> dict[str, float]:
    return {names[point]: score for point, score in scores.items() if point in names}
