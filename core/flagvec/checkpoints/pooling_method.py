"""Chooses how hidden states become one vector, and warns of another way than the model was trained for."""

from __future__ import annotations

import warnings

from flagvec.checkpoints.author_files import AuthorFiles
from flagvec.models import find_model


def checked_pooling_method(pooling: str) -> str:
    """Return a pooling method.

    Raises:
        ValueError: It is neither ``"cls"`` nor ``"mean"``.
    """
    if pooling not in ("cls", "mean"):
        raise ValueError(f"pooling_method={pooling!r}: choose 'cls' or 'mean'")
    return pooling


def choose_pooling(name: str, files: AuthorFiles, pooling: str, given: bool) -> str:
    """Return the pooling method to use, and warn if the model was trained with another.

    Args:
        name: What the user calls the model.
        files: What the checkpoint's authors say.
        pooling: The argument.
        given: Whether the user passed it.
    """
    card = find_model(name)
    trained = files.pooling if card is None else card.pooling
    if trained in (pooling, None):
        return pooling
    # FlagEmbedding does not know mini-m3, so its default need not hold for it.
    if card is not None and card.repository is None and not given:
        return card.pooling
    remedy = f"pass pooling_method={trained!r}" if trained in ("cls", "mean") else "flagvec has cls and mean only"
    warnings.warn(
        f"pooling_method={pooling!r} gives worse vectors with {name if card is None else card.name}, which was trained "
        f"with {trained} pooling: {remedy}",
        stacklevel=4,
    )
    return pooling
