"""`Search`: one search of an index, in as few requests as its ranking allows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from more_itertools import chunked_even, constrained_batches

from flagvec.search.exact import Ranked, by_reciprocal_ranks, by_scores
from flagvec.search.lost import LostColbert
from flagvec.search.options import SearchOptions
from flagvec.search.requests import Requests
from flagvec.store.asking import Patience
from flagvec.store.documents import Hit
from flagvec.store.vectors import TextVectors
from flagvec_elasticsearch import queries
from flagvec_elasticsearch.client import Found, Index
from flagvec_elasticsearch.convert import document_alone, to_document
from flagvec_elasticsearch.filters import Query, to_query
from flagvec_elasticsearch.schema import COLBERT, DENSE, ID, SPARSE, Layout
from flagvec_elasticsearch.stored_colbert import Rows, Scores, StoredColbert, count

# One request fetches ColBERT vectors of so many documents and of this size at most, because candidates may be many and
# long. So many threads make requests and compare what they bring, because the server reads others meanwhile.
_FETCHED_DOCUMENTS, _FETCHED_BYTES = 64, 64 * 2**20
_REQUESTS_AT_ONCE = 2
# The texts of so many candidates are kept. Those of more would fill the memory, and an `_mget` reads the hits.
_KEPT_DOCUMENTS = 512


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """One search.

    1. An ``_msearch`` of the legs finds the ids of the candidates. A search of one leg needs no other request.
    2. If hits carry scores that no leg has found, a second ``_msearch`` gets these. If ranks have ordered the hits
       already, it also reads them. ColBERT vectors that are compared here take one or more requests of their own.
    3. An ``_mget`` reads the hits that no request has read. Those that were read stay hits, also if they are deleted
       meanwhile.

    Args:
        index: Where to search.
        layout: The index's field types.
        stored: How the index keeps ColBERT vectors that are compared here; None if it has none of these.
        query: What is searched for.
        options: The search's options.
        patience: The time that all requests together may take.
        lost: Counts the candidates that have lost their ColBERT vectors, which have no ColBERT score.
    """

    index: Index
    layout: Layout
    stored: StoredColbert | None
    query: TextVectors
    options: SearchOptions
    patience: Patience
    lost: LostColbert

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
            read: dict[str, Found] = {}
            ranked = by_scores(self.query, found, options, lambda missing: self._scores_of(missing, rows, read))
            return self._read(ranked, read)
        if native_fusion and len(legs) > 1:
            return self._fused_natively(legs)
        found, _ = self._candidates(legs)
        fused = by_reciprocal_ranks(found, options.limit)
        if options.explain:
            return self._explained(fused, found[DENSE])
        return self._read([Ranked(name, score, {}) for name, score in fused.items()], read={})

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
        fetched = self.stored if COLBERT in self.options.representations else None
        read = queries.ids_and(fetched.rows_field) if fetched else queries.ONLY_IDS
        answers = self._searches([{**self._leg(leg, self.options.candidates), **read} for leg in legs])
        found = {leg: self._scores(leg, hits) for leg, hits in zip(legs, answers, strict=True)}
        if fetched is None:
            return found, {}
        rows = {queries.value(hit, ID): queries.value(hit, fetched.rows_field) for hits in answers for hit in hits}
        return found, rows

    def _scores_of(self, missing: Mapping[str, list[str]], rows: Rows, read: dict[str, Found]) -> dict[str, Scores]:
        """Return the exact scores of the ids that are missing in a representation.

        Args:
            missing: The ids.
            rows: As `_candidates` returns them.
            read: Receives the documents that come with their ColBERT vectors, by id.
        """
        wanted = missing.get(COLBERT) if self.stored else None
        exact = {name: self._exact(name, ids) for name, ids in missing.items() if name != COLBERT or wanted is None}
        if not wanted or self.stored is None:
            return self._exact_scores(exact)
        with Requests(_REQUESTS_AT_ONCE) as requests:
            others = requests.submit(lambda: self._exact_scores(exact))
            compared = self._max_sims(wanted, rows, self.stored, requests, read)
            scores = {**others.result(), COLBERT: compared}
        lost = [name for name in wanted if name not in compared and rows.get(name) not in self.stored.empty]
        self.lost.count(len(lost), len(wanted))
        return scores

    def _exact_scores(self, bodies: Mapping[str, Query]) -> dict[str, Scores]:
        """Return the scores that a search gives in each representation."""
        answers = self._searches(list(bodies.values()))
        return {name: self._scores(name, hits) for name, hits in zip(bodies, answers, strict=True)}

    def _fetches(self, ids: Sequence[str], rows: Rows, stored: StoredColbert) -> Iterable[list[Query]]:
        """Yield the searches for the documents that have ColBERT vectors, in lists that are one request each."""
        requests = constrained_batches(
            [name for name in ids if count(rows, name)],
            max_size=_FETCHED_BYTES,
            max_count=_FETCHED_DOCUMENTS,
            get_len=lambda name: stored.size(count(rows, name)),
            strict=False,
        )
        for request in requests:
            yield [queries.reading(part, stored.read) for part in chunked_even(request, stored.documents_a_search)]

    def _max_sims(
        self, ids: Sequence[str], rows: Rows, stored: StoredColbert, requests: Requests, read: dict[str, Found]
    ) -> Scores:
        """Return the ColBERT scores of documents, without those whose vectors are missing or damaged."""
        assert self.query.colbert is not None
        compare, keeps = stored.comparison(self.query.colbert), len(ids) <= _KEPT_DOCUMENTS

        def compared(bodies: list[Query]) -> tuple[Scores, dict[str, Found]]:
            found = list(chain.from_iterable(self._searches(bodies)))
            # Without their vectors, which would fill the memory.
            documents = {one["_id"]: document_alone(one) for one in found if keeps and "_source" in one}
            return compare(found, rows), documents

        scores: Scores = {}
        for of_these, documents in requests.ahead(compared, self._fetches(ids, rows, stored)):
            scores |= of_these
            read |= documents
        return scores

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

    def _read(self, ranked: Sequence[Ranked], read: Mapping[str, Found]) -> list[Hit]:
        """Return ranked documents as hits. Those of `read`, by id, are not read again."""
        unread = [place.id for place in ranked if place.id not in read]
        found = self.index.documents(unread, self.patience.of_attempt()) if unread else []
        return _hits(ranked, [*found, *(read[place.id] for place in ranked if place.id in read)])


def _hits(ranked: Sequence[Ranked], found: Iterable[Found]) -> list[Hit]:
    """Return ranked documents as hits, without those that were not found, because they were deleted meanwhile."""
    documents = {one["_id"]: to_document(one) for one in found}
    return [
        Hit(place.id, place.score, documents[place.id].text, documents[place.id].metadata, place.scores)
        for place in ranked
        if place.id in documents
    ]
