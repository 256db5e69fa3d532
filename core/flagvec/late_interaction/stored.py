"""Scores of codes as a database gives them back: base64, some of it missing or damaged."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pybase64
from numpy.typing import NDArray

from flagvec.late_interaction.codec import Codes, ColbertCodec


def codes_to_text(codes: Codes) -> str:
    """Return a document's codes as base64, which every database keeps; an empty text for a document without vectors.

    Example:
        >>> codes_to_text(np.array([[1, 2, 3]], dtype=np.uint8))
        'AQID'
    """
    return pybase64.b64encode(codes.tobytes()).decode("ascii")


def codes_from_text(text: str | None, codec: ColbertCodec) -> Codes | None:
    """Return the codes in `text`; None if it is None or damaged, as another tool may have left it.

    Codes are damaged if they cannot be of vectors of length 1 or less.
    """
    if not isinstance(text, str):
        return None
    try:
        codes = codec.rows_of(pybase64.b64decode(text, validate=True))
    except ValueError:  # not base64, or not codes of this codec
        return None
    # What vectors of length 1 can have is finite too, so that `from_bytes` would check twice.
    return codes if codec.may_be_of_unit_vectors(codes) else None


def scores_of_codes(
    query_rows: NDArray[np.float32], texts: Mapping[str, str | None], codec: ColbertCodec
) -> dict[str, float]:
    """Return the ColBERT scores of documents whose codes a database gave back.

    Args:
        query_rows: (query vectors, dimension) float32.
        texts: What the database keeps for each document, by id: what `codes_to_text` made, or None if it is missing.
        codec: What made the codes.

    Returns:
        The score by id, as `flagvec.late_interaction.maxsim.maxsim` computes it. A document is left out if it has no
        vectors, or if its codes are missing or damaged.
    """
    from flagvec.late_interaction.maxsim import maxsim  # which imports torch, and packages of stores must not

    found = {name: codes_from_text(text, codec) for name, text in texts.items()}
    filled = {name: codes for name, codes in found.items() if codes is not None and len(codes)}
    scores = maxsim(query_rows, list(filled.values()), codec)
    return dict(zip(filled, scores.tolist(), strict=True))


def lost_codes(texts: Mapping[str, str | None], scores: Mapping[str, float]) -> int:
    """Return how many documents have codes that are missing or damaged; an empty text is neither.

    Args:
        texts: As in `scores_of_codes`.
        scores: What it returned for them.
    """
    return sum(text != "" and name not in scores for name, text in texts.items())
