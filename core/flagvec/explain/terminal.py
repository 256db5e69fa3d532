"""The views for a terminal, by rich."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flagvec.explain.excerpts import Mark, excerpt, shared_words
from flagvec.explain.explanation_html import chosen, marked_document, mismatch, origin_of, words_with
from flagvec.explain.html import cut
from flagvec.explain.palette import COLOURS
from flagvec.extras import extra

with extra("notebook"):
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

if TYPE_CHECKING:
    from flagvec.explain.comparison import Comparison
    from flagvec.explain.explanation import Explanation
    from flagvec.explain.weights import WordWeights
    from flagvec.store.documents import Hit

_SHOWN_HITS = 10
_SHOWN_ROWS = 8
_SNIPPET = 220
_BAR = 16


def hits_table(hits: Sequence[Hit]) -> Group:
    """Return the first hits as a table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", justify="right")
    table.add_column("score", justify="right")
    names = list(dict.fromkeys(name for hit in hits for name in hit.scores))
    for name in names:
        table.add_column(name, justify="right", style=COLOURS.get(name, ""))
    table.add_column("text", overflow="fold")
    for rank, hit in enumerate(hits[:_SHOWN_HITS], start=1):
        query = hit.origin.query if hit.origin and hit.origin.query else ""
        scores = (f"{hit.scores[name]:.3f}" if name in hit.scores else "" for name in names)
        snippet = _marked(hit.text, shared_words(query, hit.text), _SNIPPET, "sparse")
        table.add_row(str(rank), f"{hit.score:.4f}", *scores, snippet)
    return Group(table, *_more(len(hits) - _SHOWN_HITS, "hits"))


def weights_text(shown: WordWeights) -> Group:
    """Return the text with its heavy words in colour, and the heaviest words with bars."""
    weights = shown.words
    largest = max(weights, default=0.0) or 1.0
    marks = [
        Mark(word.start, word.end, weight / largest)
        for word, weight in zip(shown.read.words, weights, strict=True)
        if weight
    ]
    table = Table(box=None, pad_edge=False, show_header=False)
    for word, weight in shown.heaviest(_SHOWN_ROWS):
        table.add_row(Text(cut(word, 24)), f"{weight:.3f}", _bar(weight / largest, "sparse"))
    return Group(_marked(shown.read.text, marks, 4 * _SNIPPET, "sparse"), "", table)


def explanation_panel(shown: Explanation) -> Group:
    """Return the score's parts, the marked text, the shared tokens and the best answers."""
    parts = Table(box=None, pad_edge=False, show_header=False)
    total = sum(abs(part.amount) for part in shown.parts) or 1.0
    for part in shown.parts:
        coloured = Text(part.name, style=COLOURS[part.name])
        parts.add_row(coloured, f"{part.amount:.4f}", _bar(part.amount / total, part.name), Text(origin_of(part)))
    title = Text.assemble((cut(shown.query.text, 60), "bold"), " finds ", cut(shown.hit.id, 40))
    title.append(f"   score {shown.hit.score:.4f}", style="bold")
    warning = [] if shown.adds_up else [Text(mismatch(shown), style="bold")]
    text, name, marks = marked_document(shown)
    return Group(
        title, parts, *warning, "", _marked(text, marks, 2 * _SNIPPET, name), *_shared(shown), *_answers(shown)
    )


def comparison_table(shown: Comparison) -> Table:
    """Return a column for each search; documents that one search alone found are bold."""
    table = Table(title=Text(cut(shown.query, 80)), box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.add_column("", justify="right", min_width=2, no_wrap=True)
    only = shown.only
    for name in shown.searches:
        table.add_column(name, overflow="ellipsis", no_wrap=True, ratio=1)
    rows = max((len(hits) for hits in shown.searches.values()), default=0)
    for at in range(min(rows, _SHOWN_HITS)):
        cells = [
            Text(cut(hits[at].text or hits[at].id, 60), style="bold" if hits[at].id in only[name] else "")
            if at < len(hits)
            else Text()
            for name, hits in shown.searches.items()
        ]
        table.add_row(str(at + 1), *cells)
    return table


def _shared(shown: Explanation) -> list[Table | Text | str]:
    if not shown.shared:
        return []
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (("shared token", "left"), ("query", "right"), ("document", "right"), ("product", "right")):
        table.add_column(name, justify="right" if justify == "right" else "left")
    table.add_column("")
    for token in shown.shared[:_SHOWN_ROWS]:
        word = Text(cut(words_with(shown, token.document_words, token.piece, False), 28))
        weights = f"{token.query_weight:.3f}", f"{token.document_weight:.3f}", f"{token.product:.4f}"
        table.add_row(word, *weights, _bar(token.product / shown.shared[0].product, "sparse"))
    return ["", table, *_more(len(shown.shared) - _SHOWN_ROWS, "tokens")]


def _answers(shown: Explanation) -> list[Table | str]:
    if shown.alignment is None or not (rows := chosen(shown.alignment, _SHOWN_ROWS, 1)[0]):
        return []
    aligned = shown.alignment.by_word
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("query word", "answered by", "product", "adds", ""):
        table.add_column(name, justify="right" if name in ("product", "adds") else "left")
    largest = max(aligned.amounts) or 1.0
    for row in rows:
        best = aligned.best[row]
        table.add_row(
            Text(cut(aligned.query[row].label, 24)),
            Text(cut(aligned.document[best].label, 28)),
            f"{aligned.matrix[row, best]:.2f}",
            f"{aligned.amounts[row]:.4f}",
            _bar(aligned.amounts[row] / largest, "colbert"),
        )
    return ["", table]


def _marked(text: str, marks: Sequence[Mark], most: int, name: str) -> Text:
    start, end = excerpt(text, marks, most)
    shown = Text("… " if start else "")
    at = start
    for mark in sorted(marks):
        if mark.start < at or mark.end > end:
            continue
        shown.append(_plain(text[at : mark.start]))
        strong = "bold underline " if mark.strength > 0.5 else "bold " if mark.strength > 0.2 else ""
        shown.append(_plain(text[mark.start : mark.end]), style=f"{strong}{COLOURS[name]}")
        at = mark.end
    return shown.append(_plain(text[at:end]) + (" …" if end < len(text) else ""))


def _plain(text: str) -> str:
    # Control characters would move the cursor.
    return "".join(" " if one.isspace() else one for one in text if one.isprintable() or one.isspace())


def _bar(share: float, name: str) -> Text:
    return Text("█" * round(_BAR * min(max(share, 0.0), 1.0)), style=COLOURS[name])


def _more(number: int, what: str) -> list[Text]:
    return [Text(f"{number:,} more {what}", style="dim")] if number > 0 else []
