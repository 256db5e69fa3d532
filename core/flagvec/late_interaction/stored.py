"""Scores of codes as a database gives them back: base64, some of it missing or damaged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pybase64
from more_itertools import constrained_batches
from numpy.typing import NDArray

from flagvec.late_interaction.codec import Codes, ColbertCodec

if TYPE_CHECKING:
    from flagvec.late_interaction.maxsim import MaxSim

# Characters that are decoded and compared at once. The system gives larger pieces of memory anew each time, which takes
# as long as the comparison: 190 documents of 200 vectors of 1,024 numbers take 4.3 ms in such parts, and 7.6 at once.
_CHARACTERS_AT_ONCE = 2**20


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
    data = _whole_rows(text, codec)
    if data is None:
        return None
    codes = codec.rows_of(data)
    # What vectors of length 1 can have is finite too, so that `from_bytes` would check twice.
    return codes if codec.may_be_of_unit_vectors(codes) else None


def _whole_rows(text: str | None, codec: ColbertCodec) -> bytes | None:
    if not isinstance(text, str):
        return None
    try:
        data = pybase64.b64decode(text, validate=True)
    except ValueError:
        return None
    return None if len(data) % codec.row_bytes else data


def prepared_query(query_rows: NDArray[np.float32], codec: ColbertCodec) -> MaxSim:
    """Return a query as `scores_of_codes` takes it, for one call or several.

    Args:
        query_rows: (query vectors, dimension) float32.
        codec: What made the codes.
    """
    from flagvec.late_interaction.maxsim import MaxSim  # which imports torch, and packages of stores must not

    return MaxSim(query_rows, codec)


def scores_of_codes(query: MaxSim, texts: Mapping[str, str | None]) -> dict[str, float]:
    """Return the ColBERT scores of documents whose codes a database gave back.

    Args:
        query: What `prepared_query` returned.
        texts: What the database keeps for each document, by id: what `codes_to_text` made, or None if it is missing.

    Returns:
        The score by id, as `flagvec.late_interaction.maxsim.maxsim` computes it. A document is left out if it has no
        vectors, or if its codes are missing or damaged.
    """
    scores: dict[str, float] = {}
    found = [(name, text) for name, text in texts.items() if text and isinstance(text, str)]
    for part in constrained_batches(found, _CHARACTERS_AT_ONCE, get_len=lambda one: len(one[1]), strict=False):
        kept = {name: data for name, text in part if (data := _whole_rows(text, query.codec))}
        scores |= _scores_of_rows(query, kept)
    return scores


def _scores_of_rows(query: MaxSim, kept: Mapping[str, bytes]) -> dict[str, float]:
    codec = query.codec
    rows = codec.rows_of(b"".join(kept.values()))
    # All at once, because a check of each document takes as long as its score.
    if not codec.may_be_of_unit_vectors(rows):
        kept = {name: data for name, data in kept.items() if codec.may_be_of_unit_vectors(codec.rows_of(data))}
        rows = codec.rows_of(b"".join(kept.values()))
    lengths = np.array([len(data) // codec.row_bytes for data in kept.values()], dtype=np.int64)
    return dict(zip(kept, query.scores(rows, lengths).tolist(), strict=True))


def lost_codes(texts: Mapping[str, str | None], scores: Mapping[str, float]) -> int:
    """Return how many documents have codes that are missing or damaged; an empty text is neither.

    Args:
        texts: As in `scores_of_codes`.
        scores: What it returned for them.
    """
    return sum(text != "" and name not in scores for name, text in texts.items())
