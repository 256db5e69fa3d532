"""`Comparison` in a notebook: a column for each search, the ranks of a document joined by lines."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from flagvec.explain.html import FAINT, cut, heading, page

if TYPE_CHECKING:
    from flagvec.explain.comparison import Comparison
    from flagvec.store.documents import Hit

_SHOWN_HITS = 15
_ROW = 34
_LINES = 56
# Each line has a colour, because a reader confuses lines of one colour. It also ends at its document's rank.
LINE_COLOURS = ("#3d8fd1", "#e69f00", "#17a582", "#c96a9c", "#8a7fd1", "#d1603d", "#7d9a2b", "#4fb3bf")


def comparison_html(shown: Comparison) -> str:
    """Return the columns, with the lines between each two neighbours."""
    names = list(shown.searches)
    columns: list[str] = []
    for at, name in enumerate(names):
        if at:
            columns.append(_lines(shown, names[at - 1], name))
        columns.append(_column(shown, name))
    widths = f" {_LINES}px ".join(["minmax(110px,1fr)"] * len(names))
    return page(
        heading(cut(shown.query, 120)),
        f'<div style="display:grid;grid-template-columns:{widths}">{"".join(columns)}</div>',
    )


def _column(shown: Comparison, name: str) -> str:
    hits, only = shown.searches[name], shown.only[name]
    cells = "".join(_cell(rank, hit, hit.id in only) for rank, hit in enumerate(hits[:_SHOWN_HITS], start=1))
    more = f'<div style="{FAINT}">{len(hits) - _SHOWN_HITS:,} more</div>' if len(hits) > _SHOWN_HITS else ""
    alone = f"{len(only)} only here" if only else ""
    return (
        f'<div style="min-width:0"><div style="height:42px;border-bottom:1px solid rgba(128,128,128,.4)">'
        f'<div style="font-weight:600;line-height:20px">{escape(name)}</div>'
        f'<div style="{FAINT};font-size:12px;line-height:18px">{alone}</div></div>{cells}{more}</div>'
    )


def _cell(rank: int, hit: Hit, is_alone: bool) -> str:
    edge = "border-left:3px solid currentColor;padding-left:5px" if is_alone else "padding-left:8px"
    return (
        f'<div title="{escape(cut(f"{hit.score:.4f} {hit.id}: {hit.text}", 300))}" style="height:{_ROW}px;'
        f'box-sizing:border-box;display:flex;gap:6px;align-items:center;font-size:12px;{edge}">'
        f'<span style="{FAINT};flex:none">{rank}</span><span dir="auto" style="flex:1;min-width:0;overflow:hidden;'
        f'white-space:nowrap;text-overflow:ellipsis">{escape(cut(hit.text or hit.id, 80))}</span></div>'
    )


def _lines(shown: Comparison, left: str, right: str) -> str:
    ranks, order = shown.ranks, list(shown.documents)
    paths = []
    for number, name in enumerate(order):
        start, end = ranks[name].get(left, 0), ranks[name].get(right, 0)
        if not 0 < start <= _SHOWN_HITS or not 0 < end <= _SHOWN_HITS:
            continue
        top, bottom, middle = (start - 0.5) * _ROW, (end - 0.5) * _ROW, _LINES / 2
        colour = LINE_COLOURS[number % len(LINE_COLOURS)]
        paths.append(
            f'<path d="M2 {top} C {middle} {top}, {middle} {bottom}, {_LINES - 2} {bottom}" fill="none" '
            f'stroke="{colour}" stroke-width="2" stroke-linecap="round"/>'
        )
    rows = max((len(hits[:_SHOWN_HITS]) for hits in shown.searches.values()), default=0)
    return (
        f'<svg aria-hidden="true" width="{_LINES}" height="{rows * _ROW}" style="margin-top:43px;display:block">'
        f"{''.join(paths)}</svg>"
    )
