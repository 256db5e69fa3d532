"""What goes into a store and what comes out of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Document:
    """A text to be indexed.

    Args:
        id: Any non-empty string of at most 512 bytes of UTF-8; adding the same id again replaces the document.
        text: The text that is encoded and given back with a hit.
        metadata: JSON-like values, given back unchanged.

    Example:
        >>> Document("guide-1", "How to cook rice.", {"lang": "en"}).id
        'guide-1'
    """

    id: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result.

    Args:
        id: The document's id, as it was added.
        score: What the hits are ordered by, higher is better; its scale depends on mode and fusion.
        text: The document's text.
        metadata: The document's metadata, as it was added.
        scores: Each representation's own score in the model's scale, for those the search computed:
            ``dense`` the dot product of unit vectors (-1 to 1), ``sparse`` the dot product of lexical weights
            (0 and up), ``colbert`` the mean over query tokens of the best match (-1 to 1).
    """

    id: str
    score: float
    text: str
    metadata: Mapping[str, Any]
    scores: Mapping[str, float] = field(default_factory=dict)
