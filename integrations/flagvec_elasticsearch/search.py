"""`Search`: one search of an index, in as few requests as its ranking allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from more_itertools import constrained_batches

from flagvec.late_interaction.half_precision import text_size
from flagvec.scoring import colbert_score
from flagvec.search.exact import Ranked, by_reciprocal_ranks, by_scores
from flagvec.search.options import SearchOptions
from flagvec.store.asking import Patience
from flagvec.store.documents import Hit
from flagvec.store.vectors import LENGTH_TOLERANCE, TextVectors
from flagvec_elasticsearch import queries
from flagvec_elasticsearch.client import Found, Index
from flagvec_elasticsearch.convert import colbert_rows, to_document
from flagvec_elasticsearch.filters import Query, to_query
from flagvec_elasticsearch.schema import COLBERT, COLBERT_ROWS, DENSE, ID, SPARSE, Layout

# One request fetches ColBERT vectors of this size at most, because candidates may be many and long.
_FETCHED_BYTES = 64 * 2**20
# Of vectors of length 1, rounded to half precision.
_MOST_SCORE = 1.0 + 2 * LENGTH_TOLERANCE

Scores = dict[str, float]
# How many ColBERT vectors a document has, by its id; None if it does not say.
Rows = Mapping[str, int | None]


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """One search.

    1. An ``_msearch`` of the legs finds the ids of the candidates. A search of one leg needs no other request.
    2. If hits carry scores that no leg has found, a second ``_msearch`` gets these. If ranks have ordered the hits
       already, it also reads them.
    3. Otherwise an ``_mget`` reads the hits.

    Args:
        index: Where to search.
        layout: The index's field types.
        query: What is searched for.
        options: The search's options.
        patience: The time that all requests together may take.
        without_colbert: Called with the number of candidates that have lost their ColBERT vectors, if there are any,
            and with the number of all candidates whose ColBERT vectors were wanted. They have no ColBERT score.
    """

    index: Index
    layout: Layout
    query: TextVectors
    options: SearchOptions
    patience: Patience
    without_colbert: Callable[[int, int], object]

    def hits(self, native_fusion: bool) -> list[Hit]:
        """Return the best ``options.limit`` hits; with `native_fusion` Elasticsearch fuses by reciprocal ranks."""
        options = self.options
        legs = [name for name in options.legs if name in self.query.present]
        if not legs:
            return []
        if len(options.representations) == 1:
            return self._found_by(legs[0])
        if options.weights or options.rerank:
            found, rows = self._candidates(legs)
            return self._read(by_scores(self.query, found, options, lambda missing: self._scores_of(missing, rows)))
        if native_fusion and len(legs) > 1:
            return self._fused_natively(legs)
        found, _ = self._candidates(legs)
        fused = by_reciprocal_ranks(found, options.limit)
        if options.explain:
            return self._explained(fused, found[DENSE])
        return self._read([Ranked(name, score, {}) for name, score in fused.items()])

    def _found_by(self, leg: str) -> list[Hit]:
        [found] = self._searches([{**self._leg(leg, self.options.limit), **queries.ONLY_DOCUMENTS}])
        scores = {one["_id"]: queries.model_score(leg, one["_score"]) for one in found}
        return _hits([Ranked(name, score, {leg: score}) for name, score in scores.items()], found)

    def _fused_natively(self, legs: Sequence[str]) -> list[Hit]:
        options = self.options
        body = queries.fused([self._leg(leg, options.candidates) for leg in legs], options.limit, options.candidates)
        [found] = self._searches([{**body, **(queries.NO_DOCUMENTS if options.explain else queries.ONLY_DOCUMENTS)}])
        fused = {one["_id"]: one["_score"] for one in found}
        if options.explain:
            return self._explained(fused, {})
        return _hits([Ranked(name, score, {}) for name, score in fused.items()], found)

    def _explained(self, fused: Mapping[str, float], dense: Mapping[str, float]) -> list[Hit]:
        """Return the fused documents with the scores that explain their ranks, given the `dense` scores known."""
        if not fused:
            return []
        # The search that reads the documents also scores them by their lexical weights.
        bodies = [queries.documents_of(list(fused), self.query.sparse, self.layout.sparse_field)]
        if unknown := [name for name in fused if name not in dense]:
            bodies.append(self._exact(DENSE, unknown))
        found, *further = self._searches(bodies)
        known = {**dense, **self._scores(DENSE, chain.from_iterable(further))}
        ranked = [
            Ranked(one["_id"], fused[one["_id"]], {DENSE: known.get(one["_id"], 0.0), SPARSE: one["_score"]})
            for one in found
        ]
        return _hits(ranked, found)

    def _candidates(self, legs: Sequence[str]) -> tuple[dict[str, Scores], Rows]:
        """Return the scores of each leg's candidates, and how many ColBERT vectors they have if these are fetched."""
        fetched = COLBERT in self.options.representations and self._is_fetched(COLBERT)
        read = queries.IDS_AND_ROWS if fetched else queries.ONLY_IDS
        answers = self._searches([{**self._leg(leg, self.options.candidates), **read} for leg in legs])
        found = {leg: self._scores(leg, hits) for leg, hits in zip(legs, answers, strict=True)}
        rows = {queries.value(hit, ID): queries.value(hit, COLBERT_ROWS) for hits in answers for hit in hits}
        return found, rows

    def _scores_of(self, missing: Mapping[str, list[str]], rows: Rows) -> dict[str, Scores]:
        """Return the exact scores of the ids that are missing in a representation; `rows` is from `_candidates`."""
        exact = {name: self._exact(name, ids) for name, ids in missing.items() if not self._is_fetched(name)}
        wanted = missing.get(COLBERT, []) if self._is_fetched(COLBERT) else []
        fetches = [queries.colbert_vectors_of(part) for part in self._parts(wanted, rows)]
        answers = self._searches([*exact.values(), *fetches[:1]])
        scores = {name: self._scores(name, hits) for name, hits in zip(exact, answers, strict=False)}
        if wanted:
            further = (hits for fetch in fetches[1:] for hits in self._searches([fetch]))
            fetched = chain.from_iterable(chain(answers[len(exact) :], further))
            scores[COLBERT] = self._max_sims(fetched, rows)
            self._count_lost(wanted, rows, scores[COLBERT])
        return scores

    def _parts(self, ids: Sequence[str], rows: Rows) -> Iterable[tuple[str, ...]]:
        """Yield the documents that have ColBERT vectors, in parts whose vectors one request fetches."""
        return constrained_batches(
            [name for name in ids if _count(rows, name)],
            max_size=_FETCHED_BYTES,
            max_count=queries.MOST_HITS,
            get_len=lambda name: text_size(_count(rows, name), self._colbert_dimension),
            strict=False,
        )

    def _max_sims(self, fetched: Iterable[Found], rows: Rows) -> Scores:
        """Return the ColBERT scores of documents, without those whose vectors are missing or damaged."""
        assert self.query.colbert is not None
        scores = {}
        for hit in fetched:
            name = queries.value(hit, ID)
            vectors = colbert_rows(queries.value(hit, COLBERT), _count(rows, name), self._colbert_dimension)
            # Vectors of length 1 have no larger score, and a comparison with NaN is false.
            if vectors is not None and abs(score := float(colbert_score(self.query.colbert, vectors))) <= _MOST_SCORE:
                scores[name] = score
        return scores

    def _count_lost(self, wanted: Sequence[str], rows: Rows, scored: Scores) -> None:
        # In an index of layout 1, a text without tokens has no count.
        intact = (0,) if self.layout.counts_rows else (0, None)
        lost = [name for name in wanted if name not in scored and rows.get(name) not in intact]
        if lost:
            self.without_colbert(len(lost), len(wanted))

    @property
    def _colbert_dimension(self) -> int:
        return 0 if self.query.colbert is None else self.query.colbert.shape[1]

    def _is_fetched(self, name: str) -> bool:
        """Return whether scores of this representation are computed here, from vectors that are fetched."""
        return name == COLBERT and self.layout.colbert_field == "binary"

    def _leg(self, leg: str, limit: int) -> Query:
        filters = [] if self.options.filter is None else [to_query(self.options.filter)]
        if leg == SPARSE:
            return self._sharing_tokens(limit, filters)
        assert self.query.dense is not None
        return queries.nearest(self.query.dense, limit, self.options.candidates, filters)

    def _exact(self, name: str, ids: Sequence[str]) -> Query:
        if name == SPARSE:
            body = self._sharing_tokens(len(ids), [queries.with_ids(ids)])
        elif name == COLBERT:
            assert self.query.colbert is not None
            body = queries.max_sim_of(self.query.colbert, ids)
        else:
            assert self.query.dense is not None
            body = queries.nearest_of(self.query.dense, ids, self.layout.is_quantised)
        return {**body, **queries.ONLY_IDS}

    def _sharing_tokens(self, limit: int, filters: Sequence[Query]) -> Query:
        assert self.query.sparse is not None
        return queries.sharing_tokens(self.query.sparse, self.layout.sparse_field, limit, filters)

    def _scores(self, name: str, hits: Iterable[Found]) -> Scores:
        rows = 0 if self.query.colbert is None else len(self.query.colbert)
        return {queries.value(hit, ID): queries.model_score(name, hit["_score"], rows) for hit in hits}

    def _searches(self, bodies: Sequence[Query]) -> list[list[Found]]:
        return self.index.searches(bodies, self.patience.of_attempt())

    def _read(self, ranked: Sequence[Ranked]) -> list[Hit]:
        found = self.index.documents([place.id for place in ranked], self.patience.of_attempt()) if ranked else []
        return _hits(ranked, found)


def _count(rows: Rows, name: str) -> int:
    # Another tool may have written any whole number.
    return max(rows.get(name) or 0, 0)


def _hits(ranked: Sequence[Ranked], found: Iterable[Found]) -> list[Hit]:
    """Return ranked documents as hits, without those that were deleted since they were ranked."""
    documents = {one["_id"]: to_document(one) for one in found}
    return [
        Hit(place.id, place.score, documents[place.id].text, documents[place.id].metadata, place.scores)
        for place in ranked
        if place.id in documents
    ]
