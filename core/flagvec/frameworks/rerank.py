"""`best_by_colbert`: orders texts from any source by ColBERT, for the frameworks' rerankers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flagvec.scoring import colbert_score
from flagvec.store.encoding import encode_documents, encode_query

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder


def best_by_colbert(
    model: AbsEmbedder, query: str, texts: Sequence[str], names: Sequence[str], limit: int | None
) -> list[tuple[int, float]]:
    """Encode a query and texts, and order the texts by their ColBERT scores.

    Args:
        model: A model that gives ColBERT vectors.
        query: Any text; it gets the model's query instruction.
        texts: Any texts. Without texts the model does not run.
        names: What messages call them, one for each text.
        limit: The most texts to keep; None for all.

    Returns:
        The positions of the best texts with their scores, best first, equal scores in the order of the texts. A score
        is the mean over the query's tokens of the best match (MaxSim), between -1 and 1.

    Raises:
        ValueError: A vector is not finite or not of length 1; names the text.
    """
    if not texts:
        return []
    asked = encode_query(model, query, ["colbert"])
    encoded = encode_documents(model, texts, names, ["colbert"]).all_valid()
    scores = [float(colbert_score(asked.colbert, vectors.colbert)) for vectors in encoded]
    best = sorted(range(len(scores)), key=lambda position: -scores[position])[:limit]
    return [(position, scores[position]) for position in best]
