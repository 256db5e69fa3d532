"""What maximal marginal relevance needs of hits: the frameworks' own functions choose among them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flagvec.store.documents import Hit
from flagvec.store.encoding import encode_documents

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder


def checked_share(argument: str, value: Any) -> float:
    """Return the value of an argument that takes a share, such as ``lambda_mult``.

    Raises:
        TypeError: It is not a number.
        ValueError: It is not between 0 and 1.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{argument} takes a number, not {type(value).__name__}")
    if not math.isfinite(value) or not 0 <= value <= 1:
        raise ValueError(f"{argument}={value}: give a number from 0 to 1")
    return float(value)


def vectors_of(hits: Sequence[Hit], model: AbsEmbedder) -> NDArray[np.float32]:
    """Return the hits' dense vectors, (n, dimension) float32.

    Their texts are encoded again, in one pass, because the stores do not give vectors out. Without hits the model does
    not run.
    """
    if not hits:
        return np.empty((0, model.dimension), dtype=np.float32)
    names = [f"document {hit.id!r}" for hit in hits]
    encoded = encode_documents(model, [hit.text for hit in hits], names, ["dense"])
    return np.array([one.dense for one in encoded.all_valid()], dtype=np.float32)
