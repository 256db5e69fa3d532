"""How an index keeps the ColBERT vectors that are compared here: as codes, or in half precision in older indices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flagvec.late_interaction.codec import ColbertCodec
from flagvec.late_interaction.half_precision import base64_size, text_size
from flagvec.late_interaction.stored import codes_from_text, prepared_query, scores_of_codes
from flagvec.scoring import colbert_score
from flagvec.store.schema import Schema
from flagvec.store.vectors import LENGTH_TOLERANCE
from flagvec_elasticsearch import queries
from flagvec_elasticsearch.convert import codes_text, colbert_rows
from flagvec_elasticsearch.filters import Query
from flagvec_elasticsearch.schema import CODES_ROWS, COLBERT, COLBERT_ROWS, ID, Layout

# Vectors of length 1 that are rounded to half precision have no larger score.
_MOST_SCORE = 1.0 + 2 * LENGTH_TOLERANCE

Scores = dict[str, float]
# How many ColBERT vectors a document has, by its id; None if it does not say.
Rows = Mapping[str, int | None]
Found = Mapping[str, Any]
# Takes documents that `read` brought and how many vectors each has, and returns the scores of those whose vectors are
# neither missing nor damaged.
Compare: TypeAlias = Callable[[Iterable[Found], Rows], Scores]


@dataclass(frozen=True, slots=True)
class Codes:
    """Codes in ``_source``, from which a search reads them, because doc values would keep them twice.

    Args:
        codec: What made them.

    Attributes:
        rows_field: The field whose doc values say how many vectors a document has.
        empty: What that field says of a document that has lost nothing and has no vectors.
        documents_a_search: How many documents one search of a request reads, because the server reads those of several
            searches at the same time.
        read: The part of a search's body that reads a document's vectors.
    """

    codec: ColbertCodec
    rows_field: ClassVar[str] = CODES_ROWS
    empty: ClassVar[tuple[int | None, ...]] = (0,)
    documents_a_search: ClassVar[int] = 32
    # The server copies a whole `_source` into its answer. To leave a part out it parses all of it, which takes twice as
    # much of its time (benchmarks/NOTEBOOK.md).
    read: ClassVar[Query] = {"_source": True, "docvalue_fields": [ID]}

    def size(self, rows: int) -> int:
        """Return the length of the text that keeps so many vectors."""
        return base64_size(rows * self.codec.row_bytes)

    def comparison(self, query_rows: NDArray[np.float32]) -> Compare:
        """Return what compares documents with a query: (query vectors, dimension) float32."""
        query = prepared_query(query_rows, self.codec)

        def scores(found: Iterable[Found], rows: Rows) -> Scores:
            texts = {name: self._text(hit, count(rows, name)) for hit in found if (name := queries.value(hit, ID))}
            return scores_of_codes(query, texts)

        return scores

    def is_intact(self, found: Found, rows: int) -> bool:
        """Return whether a document that `read` brought has so many undamaged vectors."""
        return codes_from_text(self._text(found, rows), self.codec) is not None

    def _text(self, found: Found, rows: int) -> str | None:
        text = codes_text(found)
        return text if text is not None and len(text) == self.size(rows) else None


@dataclass(frozen=True, slots=True)
class HalfPrecision:
    """Vectors in half precision, in doc values, as `Codes`; layouts 1 and 2 have them.

    Args:
        dimension: Their width.
        empty: As in `Codes`. Layout 1 says nothing of a text without tokens.
    """

    dimension: int
    empty: tuple[int | None, ...] = (0,)
    rows_field: ClassVar[str] = COLBERT_ROWS
    documents_a_search: ClassVar[int] = queries.MOST_HITS
    read: ClassVar[Query] = {"stored_fields": "_none_", "docvalue_fields": [ID, COLBERT]}

    def size(self, rows: int) -> int:
        """Do as `Codes.size` does."""
        return text_size(rows, self.dimension)

    def comparison(self, query_rows: NDArray[np.float32]) -> Compare:
        """Do as `Codes.comparison` does."""

        def scores(found: Iterable[Found], rows: Rows) -> Scores:
            compared = {}
            for hit in found:
                name = queries.value(hit, ID)
                vectors = self._vectors(hit, count(rows, name))
                # A comparison with NaN is false.
                if vectors is not None and abs(score := float(colbert_score(query_rows, vectors))) <= _MOST_SCORE:
                    compared[name] = score
            return compared

        return scores

    def is_intact(self, found: Found, rows: int) -> bool:
        """Do as `Codes.is_intact` does."""
        vectors = self._vectors(found, rows)
        if vectors is None:
            return False
        # A comparison with NaN is false. Half precision changes a length of 1 by less.
        return bool(np.all(np.abs(np.linalg.norm(vectors, axis=1) - 1.0) <= 2 * LENGTH_TOLERANCE))

    def _vectors(self, found: Found, rows: int) -> NDArray[np.float32] | None:
        return colbert_rows(queries.value(found, COLBERT), rows, self.dimension)


StoredColbert = Codes | HalfPrecision


def stored_colbert(schema: Schema, layout: Layout) -> StoredColbert | None:
    """Return how an index keeps ColBERT vectors; None if it has none, or if Elasticsearch compares them."""
    if schema.colbert_dimension is None or layout.colbert_field == "rank_vectors":
        return None
    if schema.colbert_storage is not None:
        return Codes(schema.colbert_storage.codec(schema.colbert_dimension))
    return HalfPrecision(schema.colbert_dimension, (0,) if layout.counts_rows else (0, None))


def count(rows: Rows, name: str) -> int:
    """Return how many vectors a document has; 0 if it does not say."""
    # Another tool may have written any whole number.
    return max(rows.get(name) or 0, 0)
