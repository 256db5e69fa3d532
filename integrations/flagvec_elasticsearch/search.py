"""`Search`: one search of an index, in as few requests as its ranking allows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from flagvec.ingest.batches import batches
from flagvec.scoring import colbert_score
from flagvec.search.exact import Ranked, by_reciprocal_ranks, by_scores
from flagvec.search.options import SearchOptions
from flagvec.store.documents import Document, Hit
from flagvec.store.encoding import TextVectors
from flagvec_elasticsearch import convert, queries
from flagvec_elasticsearch.filters import Query, to_query
from flagvec_elasticsearch.layout import COLBERT, COLBERT_ROWS, DENSE, ID, SPARSE, Layout
from flagvec_elasticsearch.requests import Index

# Of candidates of many tokens, not all ColBERT vectors are fetched at once.
_FETCHED_BYTES = 64 * 2**20

# Legs and representations are searched only where the query has them.
_CHECKED = "the query has it"

Scores = dict[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """One search.

    The first request is an ``_msearch`` of the legs; a search of one leg needs no other. What it reads of candidates is
    their ids. If hits are to carry scores that no leg has brought, an ``_msearch`` gets these, which brings the hits as
    well where ranks have ordered them already; else the hits come in an ``_mget``.

    Args:
        index: Where to search.
        layout: The index's field types.
        query: What is searched for.
        options: The search's options.
    """

    index: Index
    layout: Layout
    query: TextVectors
    options: SearchOptions

    def hits(self, native_fusion: bool) -> list[Hit]:
        """Return the best hits, at least ``options.limit`` of them if there are as many.

        Args:
            native_fusion: Whether Elasticsearch is to fuse by reciprocal ranks.
        """
        options = self.options
        legs = [name for name in options.legs if name in self.query.present]
        if not legs:
            return []
        if len(options.representations) == 1:
            return self._found_by(legs[0])
        if options.weights or options.rerank:
            return self._ordered_by_scores(legs)
        if native_fusion and len(legs) > 1:
            return self._fused_natively(legs)
        found, _ = self._candidates(legs)
        fused = by_reciprocal_ranks(found, options.limit)
        if options.explain:
            return self._explained(fused, found[DENSE])
        return self._hits([Ranked(name, score, {}) for name, score in fused.items()])

    def _found_by(self, leg: str) -> list[Hit]:
        body = {**self._leg(leg, self.options.limit), **queries.ONLY_DOCUMENTS}
        [hits] = self.index.searches([body], self.options.timeout)
        scores = queries.model_scores(leg, [hit["_score"] for hit in hits])
        ranked = [Ranked(hit["_id"], score, {leg: score}) for hit, score in zip(hits, scores, strict=True)]
        return _hits(ranked, map(convert.to_document, hits))

    def _ordered_by_scores(self, legs: Sequence[str]) -> list[Hit]:
        found, rows = self._candidates(legs)
        ranked = by_scores(self.query, found, self.options, lambda missing: self._scores_of(missing, rows))
        return self._hits(ranked)

    def _hits(self, ranked: Sequence[Ranked]) -> list[Hit]:
        """Return ranked documents as hits, which takes a request."""
        documents = self.index.documents([place.id for place in ranked], self.options.timeout) if ranked else []
        return _hits(ranked, documents)

    def _fused_natively(self, legs: Sequence[str]) -> list[Hit]:
        options = self.options
        body = queries.fused([self._leg(leg, options.candidates) for leg in legs], options.limit, options.candidates)
        read = queries.NO_DOCUMENTS if options.explain else queries.ONLY_DOCUMENTS
        [hits] = self.index.searches([{**body, **read}], options.timeout)
        fused = {hit["_id"]: hit["_score"] for hit in hits}
        if options.explain:
            return self._explained(fused, {})
        return _hits([Ranked(name, score, {}) for name, score in fused.items()], map(convert.to_document, hits))

    def _explained(self, fused: Mapping[str, float], dense: Mapping[str, float]) -> list[Hit]:
        """Return the documents that were fused, with the scores that explain their ranks.

        Args:
            fused: Scores by id.
            dense: What is known of their dense scores, by id.
        """
        if not fused:
            return []
        # What brings the documents scores them by their lexical weights: one search less.
        bodies = [queries.documents_of(list(fused), self.query.sparse, self.layout.sparse_field)]
        if unknown := [name for name in fused if name not in dense]:
            bodies.append(self._exact(DENSE, unknown))
        documents, *further = self.index.searches(bodies, self.options.timeout)
        known = {**dense, **self._scores(DENSE, [*chain.from_iterable(further)])}
        ranked = [
            Ranked(hit["_id"], fused[hit["_id"]], {DENSE: known.get(hit["_id"], 0.0), SPARSE: hit["_score"]})
            for hit in documents
        ]
        return _hits(ranked, map(convert.to_document, documents))

    def _candidates(self, legs: Sequence[str]) -> tuple[dict[str, Scores], dict[str, int]]:
        """Return each leg's candidates with their scores, and of how many ColBERT vectors if these are fetched."""
        fetched = COLBERT in self.options.representations and self._is_fetched(COLBERT)
        read = queries.IDS_AND_ROWS if fetched else queries.ONLY_IDS
        bodies = [{**self._leg(leg, self.options.candidates), **read} for leg in legs]
        answers = self.index.searches(bodies, self.options.timeout)
        found = {leg: self._scores(leg, hits) for leg, hits in zip(legs, answers, strict=True)}
        if not fetched:
            return found, {}
        rows = {queries.value(hit, ID): queries.value(hit, COLBERT_ROWS) for hits in answers for hit in hits}
        return found, {name: count for name, count in rows.items() if count}

    def _scores_of(self, missing: Mapping[str, list[str]], rows: Mapping[str, int]) -> dict[str, Scores]:
        """Return the exact scores of chosen documents, as `by_scores` asks for them.

        Args:
            missing: Ids by representation.
            rows: How many ColBERT vectors the documents have, where these are fetched.
        """
        exact = {name: self._exact(name, ids) for name, ids in missing.items() if not self._is_fetched(name)}
        fetches = [queries.colbert_vectors_of(part) for part in self._parts(missing.get(COLBERT, []), rows)]
        answers = self.index.searches([*exact.values(), *fetches[:1]], self.options.timeout)
        scores = {name: self._scores(name, hits) for name, hits in zip(exact, answers, strict=False)}
        for hits in answers[len(exact) :]:
            scores[COLBERT] = self._max_sims(hits)
        for fetch in fetches[1:]:
            [hits] = self.index.searches([fetch], self.options.timeout)
            scores[COLBERT] |= self._max_sims(hits)
        return scores

    def _parts(self, ids: Sequence[str], rows: Mapping[str, int]) -> Iterable[list[str]]:
        """Yield the documents whose ColBERT vectors are to be fetched, in parts of bounded size."""
        dimension = 0 if self.query.colbert is None else self.query.colbert.shape[1]
        there = [name for name in ids if name in rows]
        return batches(
            there, queries.MOST_HITS, lambda name: convert.packed_size(rows[name], dimension), _FETCHED_BYTES
        )

    def _is_fetched(self, name: str) -> bool:
        return name == COLBERT and self.layout.colbert_field == "binary"

    def _leg(self, leg: str, limit: int) -> Query:
        filters = [] if self.options.filter is None else [to_query(self.options.filter)]
        if leg == SPARSE:
            assert self.query.sparse, _CHECKED
            return queries.sharing_tokens(self.query.sparse, self.layout.sparse_field, limit, filters)
        assert self.query.dense is not None, _CHECKED
        return queries.nearest(self.query.dense, limit, self.options.candidates, filters)

    def _exact(self, name: str, ids: Sequence[str]) -> Query:
        read = queries.ONLY_IDS
        if name == SPARSE:
            assert self.query.sparse, _CHECKED
            chosen = [queries.with_ids(ids)]
            return {**queries.sharing_tokens(self.query.sparse, self.layout.sparse_field, len(ids), chosen), **read}
        if name == COLBERT:
            assert self.query.colbert is not None, _CHECKED
            return {**queries.max_sim_of(self.query.colbert, ids), **read}
        assert self.query.dense is not None, _CHECKED
        return {**queries.nearest_of(self.query.dense, ids, self.layout.is_quantised), **read}

    def _scores(self, name: str, hits: Sequence[Mapping[str, Any]]) -> Scores:
        rows = 0 if self.query.colbert is None else len(self.query.colbert)
        scores = queries.model_scores(name, [hit["_score"] for hit in hits], rows)
        return dict(zip([hit["fields"][ID][0] for hit in hits], scores, strict=True))

    def _max_sims(self, hits: Iterable[Mapping[str, Any]]) -> Scores:
        query = self.query.colbert
        assert query is not None, _CHECKED
        return {
            queries.value(hit, ID): float(
                colbert_score(query, convert.unpack_rows(queries.value(hit, COLBERT), query.shape[1]))
            )
            for hit in hits
        }


def _hits(ranked: Sequence[Ranked], documents: Iterable[Document]) -> list[Hit]:
    """Return ranked documents as hits, without those that were deleted since they were found."""
    found = {document.id: document for document in documents}
    return [
        Hit(place.id, place.score, found[place.id].text, found[place.id].metadata, place.scores)
        for place in ranked
        if place.id in found
    ]
