"""Hits in a notebook: rank, score, a bar for each representation, the marked text, and the metadata."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from flagvec.explain.excerpts import shared_words
from flagvec.explain.html import FAINT, NUMBER, SEPARATOR, bar, chips, isolated, marked, page

if TYPE_CHECKING:
    from flagvec.store.documents import Hit

SHOWN_HITS = 10
_SNIPPET = 260


def hits_html(hits: Sequence[Hit]) -> str:
    """Return the first hits as HTML, and say how many more there are."""
    if not hits:
        return page(f'<span style="{FAINT}">No hits.</span>')
    largest = {
        name: max((hit.scores.get(name, 0.0) for hit in hits), default=0.0)
        for name in dict.fromkeys(name for hit in hits for name in hit.scores)
    }
    rows = "".join(_row(rank, hit, largest) for rank, hit in enumerate(hits[:SHOWN_HITS], start=1))
    more = len(hits) - SHOWN_HITS
    after = f'<div style="{FAINT};padding:6px 0">{more:,} more hits</div>' if more > 0 else ""
    return page(_head(hits), rows, after)


def _head(hits: Sequence[Hit]) -> str:
    origin = hits[0].origin
    if origin is None or origin.query is None:
        return ""
    options = origin.options
    how: str = options.mode
    if options.weights:
        how = ", ".join(f"{name} × {share:.2f}" for name, share in options.weights.shares().items())
    elif options.rerank:
        how = f"{options.mode}, reranked by colbert"
    elif options.mode == "hybrid":
        how = "hybrid, ranks fused"
    return (
        f'<div style="padding:2px 0 6px"><span style="font-weight:600">{isolated(origin.query[:120])}</span> '
        f'<span style="{FAINT}">{escape(how)}</span></div>'
    )


def _row(rank: int, hit: Hit, largest: dict[str, float]) -> str:
    query = hit.origin.query if hit.origin else None
    bars = "".join(
        f'<div style="display:flex;gap:8px;align-items:center;font-size:12px"><span style="{FAINT};width:48px">'
        f"{escape(name)}</span>{bar(score / (largest[name] or 1.0), name, f'{name} {score:.4f}', '72px')}"
        f'<span style="{NUMBER}">{score:.3f}</span></div>'
        for name, score in hit.scores.items()
        if name in ("dense", "sparse", "colbert")
    )
    details = [f'<span style="{FAINT}">id</span> {isolated(hit.id[:60])}']
    if hit.metadata:
        details.append(chips(hit.metadata))
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:4px 16px;padding:8px 0;border-top:1px solid rgba(128,128,128,.3)">'
        f'<div style="flex:0 0 76px;{NUMBER}"><span style="{FAINT}">{rank}.</span> '
        f'<span style="font-weight:600">{hit.score:.4f}</span></div>'
        f'<div style="flex:1 1 320px;min-width:0">{marked(hit.text, shared_words(query or "", hit.text), _SNIPPET)}'
        f'<div style="font-size:12px;overflow-wrap:anywhere">'
        f"{SEPARATOR.join(details)}</div></div>"
        + (f'<div style="flex:0 0 190px">{bars}</div>' if bars else "")
        + "</div>"
    )
