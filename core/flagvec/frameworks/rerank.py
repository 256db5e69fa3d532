"""`best_by_colbert`: the order that ColBERT gives to texts from anywhere, for the frameworks' rerankers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flagvec.scoring import colbert_score
from flagvec.store.encoding import encode_documents, encode_query
from flagvec.store.turns import turn_of

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder


def best_by_colbert(
    model: AbsEmbedder, query: str, texts: Sequence[str], names: Sequence[str], limit: int | None
) -> list[tuple[int, float]]:
    """Encode a query and texts, the texts together, and order them.

    Args:
        model: A model that gives ColBERT vectors.
        query: Any text; it gets the model's query instruction.
        texts: Any texts; of none the model is not asked.
        names: What errors call them, one a text.
        limit: The most texts to keep; None for all.

    Returns:
        The positions of the best texts with their scores, the mean over the query's tokens of the best match (MaxSim),
        between -1 and 1; best first, of equal scores the one that came first.

    Raises:
        ValueError: A vector that is not finite or not of length 1; names the text.
    """
    if not texts:
        return []
    with turn_of(model):
        asked = encode_query(model, query, ["colbert"])
        encoded = encode_documents(model, texts, names, ["colbert"])
    scores = [float(colbert_score(asked.colbert, vectors.colbert)) for vectors in encoded]
    best = sorted(range(len(scores)), key=lambda position: -scores[position])[:limit]
    return [(position, scores[position]) for position in best]
