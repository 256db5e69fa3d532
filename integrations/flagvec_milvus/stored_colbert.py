"""ColBERT scores that are computed here, from what a collection keeps: codes, structs, or text in half precision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flagvec.late_interaction.codec import ColbertCodec
from flagvec.late_interaction.half_precision import base64_size, text_size
from flagvec.late_interaction.stored import lost_codes, prepared_query, scores_of_codes
from flagvec.scoring import colbert_score
from flagvec.store.schema import Schema
from flagvec_milvus.convert import Row, colbert_rows, from_parts
from flagvec_milvus.schema import COLBERT, ID


@dataclass(frozen=True, slots=True)
class StoredColbert:
    """How a collection keeps ColBERT vectors.

    Args:
        dimension: Their width.
        codec: What made their codes; None if the vectors are kept themselves, as structs or in half precision.
    """

    dimension: int
    codec: ColbertCodec | None

    @classmethod
    def of(cls, schema: Schema) -> StoredColbert:
        """Return how a collection of this schema keeps them."""
        width, storage = schema.colbert_dimension or 0, schema.colbert_storage
        return cls(width, None if storage is None else storage.codec(width))

    def text_size(self, rows: int) -> int:
        """Return the length of the text that keeps so many vectors."""
        if self.codec is None:
            return text_size(rows, self.dimension)
        return base64_size(rows * self.codec.row_bytes)

    def scores(self, query_rows: NDArray[np.float32], rows: Iterable[Row]) -> tuple[dict[str, float], int]:
        """Return the scores of documents by id, and how many have damaged vectors and therefore no score.

        A document without vectors has no score either.

        Args:
            query_rows: (query vectors, dimension) float32.
            rows: The documents' ids and ColBERT fields.
        """
        fields = {row[ID]: row[COLBERT] for row in rows}
        if self.codec is not None:
            texts = {name: from_parts(value) for name, value in fields.items()}
            scores = scores_of_codes(prepared_query(query_rows, self.codec), texts)
            return scores, lost_codes(texts, scores)
        vectors = {name: colbert_rows(value, self.dimension) for name, value in fields.items()}
        scores = {
            name: float(colbert_score(query_rows, found))
            for name, found in vectors.items()
            if found is not None and len(found)
        }
        return scores, sum(found is None for found in vectors.values())
