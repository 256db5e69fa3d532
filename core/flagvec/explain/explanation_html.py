"""`Explanation` in a notebook."""

from __future__ import annotations

from html import escape

import numpy as np

from flagvec.explain.excerpts import Mark
from flagvec.explain.explanation import Alignment, Explanation, Part
from flagvec.explain.html import FAINT, NUMBER, bar, cut, heading, isolated, marked, page, table
from flagvec.explain.palette import COLOURS, rgba

_SNIPPET = 900
_SHOWN_TOKENS = 8
_SHOWN_ROWS = 16
_SHOWN_COLUMNS = 12
_LABEL = 18


def explanation_html(shown: Explanation) -> str:
    """Return the score's parts, the marked text, the shared tokens and the alignment."""
    hit = shown.hit
    return page(
        f'<div><span style="font-weight:600">{isolated(cut(shown.query.text, 120))}</span> '
        f'<span style="{FAINT}">finds</span> {isolated(cut(hit.id, 60))}</div>',
        _score(shown),
        _text(shown),
        _shared(shown),
        "" if shown.alignment is None else _alignment(shown.alignment),
    )


def _score(shown: Explanation) -> str:
    total = sum(abs(part.amount) for part in shown.parts) or 1.0
    segments = "".join(
        f'<span style="flex:{max(part.amount, 0.0) / total:.4f} 0 0;background:{COLOURS[part.name]}"></span>'
        for part in shown.parts
    )
    lines = "".join(
        f'<span style="{NUMBER}">{bar(1.0, part.name, part.name, "9px")} {escape(part.name)} '
        f'<b>{part.amount:.4f}</b> <span style="{FAINT}">{escape(origin_of(part))}</span></span>'
        for part in shown.parts
    )
    warning = "" if shown.adds_up else f'<div role="alert" style="margin-top:4px">⚠ {escape(mismatch(shown))}</div>'
    return (
        heading(f"Score {shown.hit.score:.4f}")
        + f'<div role="img" aria-label="shares of the score" style="display:flex;gap:2px;height:14px;max-width:560px;'
        f'border-radius:7px;overflow:hidden;background:rgba(128,128,128,.22)">{segments}</div>'
        f'<div style="display:flex;flex-wrap:wrap;gap:2px 22px;margin-top:4px">{lines}</div>{warning}'
    )


def origin_of(part: Part) -> str:
    """Return in words where a part comes from."""
    if part.weight is None:
        return "not among the candidates" if part.rank is None else f"= 1 / (60 + rank {part.rank})"
    return f"= {part.weight:.2f} × {part.score:.4f}" if part.weight != 1.0 else ""


def mismatch(shown: Explanation) -> str:
    """Return what a reader should know if the parts do not add up to the score."""
    return (
        f"the parts add up to {shown.score:.4f}, and the hit's score is {shown.hit.score:.4f}: the store has changed "
        "since the search, or the search had other options"
    )


def text_marks(shown: Explanation) -> tuple[str, list[Mark]]:
    """Return the representation by which the document's words are marked, and the marks."""
    products = shown.word_products
    if products:
        largest = max(products.values())
        words = shown.document.words
        return "sparse", [
            Mark(words[at].start, words[at].end, product / largest, f"adds {product:.4f}")
            for at, product in products.items()
        ]
    if shown.alignment is None:
        return "sparse", []
    aligned = shown.alignment.by_word
    found: dict[int, float] = {}
    for amount, column in zip(aligned.amounts, aligned.best, strict=False):
        for number in aligned.document[column].words:
            found[number] = found.get(number, 0.0) + amount
    largest = max(found.values(), default=0.0) or 1.0
    words = shown.alignment.document.words
    return "colbert", [
        Mark(words[at].start, words[at].end, amount / largest, f"answers {amount:.4f}") for at, amount in found.items()
    ]


def marked_document(shown: Explanation) -> tuple[str, str, list[Mark]]:
    """Return the document's text as its marks count it, the representation that marks it, and the marks."""
    name, marks = text_marks(shown)
    read = shown.document if name == "sparse" or shown.alignment is None else shown.alignment.document
    return read.text, name, marks


def _text(shown: Explanation) -> str:
    text, name, marks = marked_document(shown)
    note = {"sparse": "words shaded by what their tokens add", "colbert": "words that answer the query best"}[name]
    return heading("Document", note if marks else "no token in common") + marked(text, marks, _SNIPPET, name)


def _shared(shown: Explanation) -> str:
    if "sparse" not in shown.scores:
        return ""
    total = shown.scores["sparse"]
    if not shown.shared:
        return heading("Shared tokens", "none")
    largest = shown.shared[0].product
    rows = [
        [
            isolated(cut(words_with(shown, token.query_words, token.piece, True), _LABEL * 2)),
            isolated(cut(words_with(shown, token.document_words, token.piece, False), _LABEL * 2)),
            f"{token.query_weight:.3f}",
            f"{token.document_weight:.3f}",
            f"{token.product:.4f}",
            bar(token.product / largest, "sparse", f"{token.product:.4f}"),
        ]
        for token in shown.shared[:_SHOWN_TOKENS]
    ]
    rest = shown.shared[_SHOWN_TOKENS:]
    more = (
        f'<div style="{FAINT}">{len(rest):,} more tokens add {sum(token.product for token in rest):.4f}</div>'
        if rest
        else ""
    )
    header = ["in the query", "in the document", "query weight", "document weight", "product", ""]
    return heading("Shared tokens", f"the products add up to {total:.4f}") + table(header, rows, (2, 3, 4)) + more


def words_with(shown: Explanation, numbers: tuple[int, ...], piece: str, is_query: bool) -> str:
    """Return the word that holds a token, with the token if it is only a part of the word."""
    read = shown.query if is_query else shown.document
    if not numbers:
        return piece
    word = read.word(numbers[0])
    return word if len(read.words[numbers[0]].tokens) == 1 else f"{word} ({piece})"


def chosen(alignment: Alignment, rows: int, columns: int) -> tuple[list[int], list[int]]:
    """Return the numbers of the query's and the document's words to draw, both in the order of the text.

    Args:
        alignment: The alignment.
        rows: The most of the query's words.
        columns: The most of the document's words; first those that answer a word best, then the strongest others.
    """
    aligned = alignment.by_word
    if not aligned.matrix.size:
        return [], []
    kept = sorted(np.argsort(-np.asarray(aligned.amounts), kind="stable")[:rows].tolist())
    answers = dict.fromkeys(aligned.best[at] for at in sorted(kept, key=lambda at: -aligned.amounts[at]))
    strongest = np.argsort(-aligned.matrix[kept].max(axis=0), kind="stable").tolist()
    others = [at for at in strongest if at not in answers and aligned.document[at].words]
    return kept, sorted([*answers, *others][:columns])


def _alignment(alignment: Alignment) -> str:
    rows, columns = chosen(alignment, _SHOWN_ROWS, _SHOWN_COLUMNS)
    if not rows:
        return heading("ColBERT alignment", "query or document has no ColBERT vectors")
    aligned = alignment.by_word
    header = "".join(
        f'<th style="padding:2px;vertical-align:bottom;background:transparent;font-weight:400;text-align:center">'
        f'<span style="writing-mode:vertical-rl;transform:rotate(180deg);white-space:nowrap;display:inline-block">'
        f"{isolated(cut(aligned.document[column].label, _LABEL))}</span></th>"
        for column in columns
    )
    scale = max(float(aligned.matrix[np.ix_(rows, columns)].max()), 1e-9)
    largest = max(aligned.amounts)
    body = "".join(_heat_row(alignment, row, columns, scale, largest) for row in rows)
    cut_off = []
    if len(aligned.query) > len(rows):
        cut_off.append(f"{len(rows)} of {len(aligned.query):,} query words")
    if len(aligned.document) > len(columns):
        cut_off.append(f"{len(columns)} of {len(aligned.document):,} document words")
    return (
        heading("ColBERT alignment", f"each query word’s best answer is framed; the mean is {alignment.score:.4f}")
        + '<table style="border-collapse:separate;border-spacing:2px;border:0;margin:0;font-size:12px;color:inherit">'
        f'<thead><tr style="background:transparent"><th style="background:transparent"></th>{header}'
        f'<th style="{FAINT};background:transparent;font-weight:400;vertical-align:bottom;text-align:left;'
        f'padding-left:10px">adds</th></tr></thead><tbody>{body}</tbody></table>'
        f'<div style="{FAINT};font-size:12px">{" · ".join(cut_off)}</div>'
    )


def _heat_row(alignment: Alignment, row: int, columns: list[int], scale: float, largest: float) -> str:
    aligned = alignment.by_word
    cells = "".join(
        f'<td style="background:{rgba("colbert", 0.75 * max(float(aligned.matrix[row, column]), 0.0) / scale)};'
        f"min-width:34px;text-align:center;padding:3px 2px;border-radius:4px;{NUMBER};"
        f'{"outline:2px solid currentColor;font-weight:600" if aligned.best[row] == column else ""}">'
        f"{aligned.matrix[row, column]:.2f}</td>"
        for column in columns
    )
    amount = aligned.amounts[row]
    return (
        f'<tr style="background:transparent"><th style="font-weight:400;text-align:right;padding-right:8px;'
        f'background:transparent;white-space:nowrap">{isolated(cut(aligned.query[row].label, _LABEL))}</th>{cells}'
        f'<td style="text-align:left;padding-left:10px;background:transparent;{NUMBER}">{amount:.4f} '
        f"{bar(amount / (largest or 1.0), 'colbert', f'{amount:.4f}', '60px')}</td></tr>"
    )
