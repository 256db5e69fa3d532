"""`WordWeights` in a notebook: the text, each word shaded by its weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flagvec.explain.excerpts import Mark
from flagvec.explain.html import FAINT, heading, marked, page, shade_of

if TYPE_CHECKING:
    from flagvec.explain.weights import WordWeights

_SHOWN_CHARACTERS = 2_400


def weights_html(shown: WordWeights) -> str:
    """Return the text with its words shaded, and a scale below it."""
    weights = shown.words
    largest = max(weights, default=0.0)
    if not largest:
        return page(f'<div style="{FAINT}">No word has a weight.</div>', marked(shown.read.text, [], _SHOWN_CHARACTERS))
    marks = [
        Mark(word.start, word.end, weight / largest, f"{weight:.3f}")
        for word, weight in zip(shown.read.words, weights, strict=True)
        if weight
    ]
    scale = f"linear-gradient(to right,{','.join(shade_of('sparse', share / 4) for share in range(5))})"
    notes = ["the model reads only the beginning of this text"] if shown.read.truncated else []
    return page(
        heading("Lexical weights", "; ".join([f"{len(shown.weights):,} tokens have one", *notes])),
        f'<div style="font-size:15px;line-height:1.9">{marked(shown.read.text, marks, _SHOWN_CHARACTERS)}</div>',
        f'<div style="margin-top:6px;font-size:12px">0 <span style="display:inline-block;width:120px;height:9px;'
        f'border-radius:5px;vertical-align:middle;background:{scale}"></span> {largest:.2f}</div>',
    )
