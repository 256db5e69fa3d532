"""Pieces of HTML that every view shares. They need no style sheet, and read well in light and dark notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import isfinite

from flagvec.explain.excerpts import Mark, excerpt
from flagvec.explain.palette import COLOURS, rgba

# The text has the notebook's colour, and lines and backgrounds are mixed with it, so that no theme needs colours of
# its own.
_FONT = "font-family:system-ui,-apple-system,'Segoe UI',sans-serif;font-size:13px;line-height:1.5;color:inherit"
_RULE = "border-top:1px solid rgba(128,128,128,.3)"
FAINT = "opacity:.7"
SEPARATOR = ' <span style="opacity:.35">·</span> '
NUMBER = "font-variant-numeric:tabular-nums;white-space:nowrap"


def page(*parts: str) -> str:
    """Return a view's HTML, which is at most as wide as a page of text."""
    return f'<div style="{_FONT};max-width:920px;text-align:left;overflow-x:auto">{"".join(parts)}</div>'


def heading(text: str, note: str = "") -> str:
    """Return a heading of a part of a view; `note` is fainter."""
    after = f' <span style="{FAINT};font-weight:400">{escape(note)}</span>' if note else ""
    return f'<div style="font-weight:600;margin:14px 0 4px">{escape(text)}{after}</div>'


def isolated(text: str) -> str:
    """Return escaped text whose direction does not change that of its neighbours."""
    return f"<bdi>{escape(text)}</bdi>"


def bar(share: float, name: str, label: str, width: str = "96px") -> str:
    """Return a bar in the colour of a representation.

    Args:
        share: How much of the width is filled, from 0 to 1.
        name: The representation.
        label: What a screen reader says.
        width: The width, as CSS has it.
    """
    filled = 100 * min(max(share if isfinite(share) else 0.0, 0.0), 1.0)
    return (
        f'<span role="img" aria-label="{escape(label)}" style="display:inline-block;vertical-align:middle;height:9px;'
        f'width:{width};border-radius:5px;background:rgba(128,128,128,.22)"><span style="display:block;height:9px;'
        f'width:{filled:.1f}%;border-radius:5px;background:{COLOURS[name]}"></span></span>'
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Return a table.

    Args:
        header: The columns' names, not escaped yet.
        rows: The cells, as HTML.
        numbers: The columns that are set to the right.
    """

    def style(column: int) -> str:
        return f"padding:3px 14px 3px 0;background:transparent;text-align:{'right' if column in numbers else 'left'}"

    cells = "".join(
        f'<th style="{style(at)};font-weight:400;{FAINT}">{escape(name)}</th>' for at, name in enumerate(header)
    )
    body = "".join(
        f'<tr style="{_RULE};background:transparent">'
        + "".join(
            f'<td style="{style(at)};{NUMBER if at in numbers else ""}">{cell}</td>' for at, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return (
        '<table style="border-collapse:collapse;border:0;margin:0;font-size:13px;color:inherit">'
        f'<thead><tr style="border:0;background:transparent">{cells}</tr></thead><tbody>{body}</tbody></table>'
    )


def marked(text: str, marks: Sequence[Mark], most: int, name: str = "sparse") -> str:
    """Return the part of a text with the strongest marks, at most `most` characters, with each mark shaded."""
    start, end = excerpt(text, marks, most)
    html, at = ["… " if start else ""], start
    for mark in sorted(marks):
        if mark.start < max(at, start) or mark.end > end:
            continue
        shade = shade_of(name, mark.strength)
        html.append(_gap(text[at : mark.start]))
        html.append(
            f'<mark style="background:{shade};color:inherit;border-radius:3px;padding:1px 0"'
            f"{_title(mark.title)}>{_gap(text[mark.start : mark.end])}</mark>"
        )
        at = mark.end
    html += [_gap(text[at:end]), " …" if end < len(text) else ""]
    # A break inside a word that no mark holds would let a long line widen the page.
    return f'<div dir="auto" style="overflow-wrap:anywhere;text-align:start">{"".join(html)}</div>'


def _title(text: str) -> str:
    return f' title="{escape(text)}"' if text else ""


def _gap(text: str) -> str:
    """Return escaped text in one line; spaces at its ends stay, because marks stand beside them."""
    words = " ".join(text.split())
    if not words:
        return " " if text else ""
    return f"{' ' if text[0].isspace() else ''}{escape(words)}{' ' if text[-1].isspace() else ''}"


def shade_of(name: str, strength: float) -> str:
    """Return the background of a mark, whose strength is from 0 to 1."""
    # Most words of a text have some weight. The power lets the few heavy ones stand out.
    return rgba(name, 0.04 + 0.62 * min(max(strength, 0.0), 1.0) ** 1.5)


def chips(values: Mapping[str, object], most: int = 6) -> str:
    """Return names and values, cut so that they take two lines."""
    shown = [
        f'<span style="{FAINT}">{escape(cut(str(key), 24))}</span> {isolated(cut(str(value), 40))}'
        for key, value in list(values.items())[:most]
    ]
    if len(values) > most:
        shown.append(f'<span style="{FAINT}">{len(values) - most:,} more</span>')
    return SEPARATOR.join(shown)


def cut(text: str, most: int) -> str:
    """Return a text in one line, with an ellipsis if it is longer than `most` characters."""
    text = text[: 4 * most]
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
