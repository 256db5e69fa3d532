"""An explanation as the JSON that the page draws."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from flagvec.explain.explanation_html import chosen, marked_document
from flagvec.ui.snippets import segments

if TYPE_CHECKING:
    from flagvec.explain import Alignment, Explanation

_LONGEST_SHOWN = 12_000
_MOST_WORDS = 600
# In the heatmap. A wider one cannot be read.
_MOST_COLUMNS = 24


def explanation_json(found: Explanation) -> dict[str, Any]:
    """Return why a hit has its score.

    Returns:
        ``parts``, what each representation adds to the score, as `flagvec.explain.Part` names it; ``scores`` of all
        representations that the store holds; ``shared``, the tokens in common with both weights and their product;
        ``alignment``, or None if query or document has no ColBERT vectors; ``segments``, the beginning of the document
        in pieces, marked if there is no alignment.
    """
    alignment = _alignment(found.alignment) if found.alignment is not None else None
    text, _, marks = marked_document(found)
    if found.alignment is not None and alignment is not None:
        text, marks = found.alignment.document.text, []
    return {
        "parts": [asdict(part) for part in found.parts],
        "scores": dict(found.scores),
        "shared": [
            {
                "token": token.piece.strip(),
                "query": token.query_weight,
                "document": token.document_weight,
                "product": token.product,
            }
            for token in found.shared
        ],
        "alignment": alignment,
        "segments": segments(text, sorted(marks), 0, min(len(text), _LONGEST_SHOWN)),
        "characters": len(text),
        "shown": min(len(text), _LONGEST_SHOWN),
    }


def _alignment(alignment: Alignment) -> dict[str, Any] | None:
    """Return the heatmap, and the words of the text as begin, end and the numbers of the table's columns."""
    if not alignment.matrix.size:
        return None
    aligned, document = alignment.by_word, alignment.document
    _, shown = chosen(alignment, len(aligned.query), _MOST_COLUMNS)
    kept = sorted({*range(min(len(aligned.document), _MOST_WORDS)), *shown, *aligned.best})
    place = {column: at for at, column in enumerate(kept)}
    columns: dict[int, list[int]] = {}
    for column in kept:
        for word in aligned.document[column].words:
            columns.setdefault(word, []).append(place[column])
    return {
        "query": [
            {"word": row.label, "part": amount, "best": place[best], "similarity": float(products[best])}
            for row, amount, best, products in zip(
                aligned.query, aligned.amounts, aligned.best, aligned.matrix, strict=True
            )
        ],
        "words": [aligned.document[column].label for column in kept],
        "spans": [
            (word.start, word.end, columns[number])
            for number, word in enumerate(document.words)
            if number in columns and word.end <= _LONGEST_SHOWN
        ],
        "columns": [place[column] for column in shown],
        "table": np.round(aligned.matrix[:, kept].astype(np.float64), 3).tolist(),
        "score": alignment.score,
    }
