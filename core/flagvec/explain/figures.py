"""The views as matplotlib Figures for papers. They touch no global state of pyplot."""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from flagvec.explain.comparison_html import LINE_COLOURS
from flagvec.explain.explanation_html import chosen, origin_of, words_with
from flagvec.explain.html import cut
from flagvec.explain.palette import COLOURS
from flagvec.extras import extra

with extra("notebook"):
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

if TYPE_CHECKING:
    from flagvec.explain.comparison import Comparison
    from flagvec.explain.explanation import Alignment, Explanation
    from flagvec.explain.weights import WordWeights

_INK, _FAINT = "#222222", "#6b6b6b"
_SIZE = 8.5
_ROWS, _COLUMNS, _TOKENS, _HITS = 12, 12, 8, 10
_ROW = 0.24  # inches


def weights_figure(shown: WordWeights, width: float, most: int) -> Figure:
    """Return a bar for each of the heaviest words."""
    words = shown.heaviest(most)
    figure = Figure(figsize=(width, 0.5 + _ROW * max(len(words), 1)), layout="constrained")
    axes = figure.add_subplot()
    _bars(axes, [word for word, _ in words], [weight for _, weight in words], ["sparse"] * len(words), "{:.2f}")
    axes.set_title("The heaviest words of the text, by lexical weight", loc="left", fontsize=_SIZE + 1, color=_INK)
    return figure


def explanation_figure(shown: Explanation, width: float) -> Figure:
    """Return the parts of the score, the shared tokens and the alignment, one below the other."""
    rows = chosen(shown.alignment, _ROWS, _COLUMNS) if shown.alignment is not None else ([], [])
    tokens = shown.shared[:_TOKENS]
    heights = [0.32 + _ROW * max(len(shown.parts), 1)]
    if tokens:
        heights.append(0.42 + _ROW * len(tokens))
    if rows[0]:
        heights.append(1.15 + _ROW * len(rows[0]))
    figure = Figure(figsize=(width, sum(heights) + 0.15 * len(heights)), layout=ConstrainedLayoutEngine(hspace=0.06))
    axes = list(np.atleast_1d(figure.subplots(len(heights), 1, height_ratios=heights)))
    _draw_parts(axes.pop(0), shown)
    if tokens:
        names = [words_with(shown, token.document_words, token.piece, False) for token in tokens]
        products = [token.product for token in tokens]
        part = axes.pop(0)
        _bars(part, names, products, ["sparse"] * len(tokens), "{:.3f}")
        _title(part, "sparse: words of both query and document, by the product of their lexical weights")
    if rows[0] and shown.alignment is not None:
        _draw_alignment(axes.pop(0), shown.alignment, *rows)
    return figure


def comparison_figure(shown: Comparison, width: float) -> Figure:
    """Return a column for each search, and a line for each document through its ranks."""
    names, ranks = list(shown.searches), shown.ranks
    rows = min(max((len(hits) for hits in shown.searches.values()), default=0), _HITS)
    figure = Figure(figsize=(width, 0.85 + 0.27 * rows), layout="constrained")
    axes = figure.add_subplot()
    # A label takes two thirds of its column, and a letter about 0.06 inches.
    letters = max(int(width / max(len(names), 1) * 0.66 / 0.062) - 3, 8)
    for number, document in enumerate(shown.documents):
        colour = LINE_COLOURS[number % len(LINE_COLOURS)]
        places = [(at, ranks[document].get(name)) for at, name in enumerate(names)]
        for (left, before), (right, after) in pairwise(places):
            if before and after and before <= rows and after <= rows:
                axes.plot([left + 0.7, right - 0.03], [before, after], color=colour, linewidth=1.6, clip_on=False)
    for at, name in enumerate(names):
        only = shown.only[name]
        axes.text(at, 0.1, name, fontsize=_SIZE + 0.5, fontweight="bold", color=_INK)
        for rank, hit in enumerate(shown.searches[name][:rows], start=1):
            weight = "bold" if hit.id in only else "normal"
            label = f"{rank}  {_drawn(cut(hit.text or hit.id, letters))}"
            axes.text(at, rank, label, fontsize=_SIZE - 1, va="center", color=_INK, fontweight=weight)
    axes.set(xlim=(-0.03, len(names) - 0.3), ylim=(rows + 1.2, -0.4))
    axes.axis("off")
    title = f"Ranks of the documents for “{_drawn(cut(shown.query, 60))}”"
    axes.set_title(title, loc="left", fontsize=_SIZE + 1, color=_INK)
    key = "A line joins the ranks of one document in two searches. Bold: only this search found it."
    _faint(axes, 0, rows + 0.75, key, va="top")
    return figure


def _draw_parts(axes: Any, shown: Explanation) -> None:
    parts = shown.parts
    _bars(axes, [part.name for part in parts], [part.amount for part in parts], [part.name for part in parts], "{:.4f}")
    for at, part in enumerate(parts):
        origin = origin_of(part).removeprefix("= ")
        _faint(axes, 1.0, at, origin, transform=axes.get_yaxis_transform(), ha="right", va="center")
    _title(axes, f"Score {shown.hit.score:.4f} for “{_drawn(cut(shown.query.text, 60))}”")
    if parts:
        origin = "1 / (60 + rank)" if parts[0].weight is None else "weight × own score"
        _faint(axes, 1.0, 1.03, origin, transform=axes.transAxes, ha="right", va="bottom")


def _faint(axes: Any, x: float, y: float, text: str, **options: Any) -> None:
    axes.text(x, y, text, fontsize=_SIZE - 1, color=_FAINT, **options)


def _draw_alignment(axes: Any, alignment: Alignment, rows: list[int], columns: list[int]) -> None:
    aligned = alignment.by_word
    matrix = aligned.matrix[np.ix_(rows, columns)]
    colours = LinearSegmentedColormap.from_list("colbert", ["#ffffff", COLOURS["colbert"]])
    axes.imshow(matrix, cmap=colours, vmin=min(0.0, float(matrix.min())), vmax=float(matrix.max()), aspect="auto")
    for row, number in enumerate(rows):
        for column, other in enumerate(columns):
            is_best = aligned.best[number] == other
            weight = "bold" if is_best else "normal"
            value = f"{matrix[row, column]:.2f}"
            axes.text(column, row, value, ha="center", va="center", fontsize=_SIZE - 2, fontweight=weight, color=_INK)
            if is_best:
                axes.add_patch(_frame(column, row))
    labels = [_drawn(cut(aligned.document[column].label, 18)) for column in columns]
    axes.set_xticks(range(len(columns)), labels, rotation=40, ha="left", rotation_mode="anchor", fontsize=_SIZE - 0.5)
    axes.xaxis.tick_top()
    names = [_drawn(cut(aligned.query[row].label, 18)) for row in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=_SIZE)
    axes.tick_params(length=0, colors=_INK)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("words of the document", fontsize=_SIZE - 1, color=_FAINT)
    axes.set_ylabel("words of the query", fontsize=_SIZE - 1, color=_FAINT)
    _title(axes, f"colbert: the best match of each query word is framed, and their mean is {alignment.score:.4f}")


def _frame(column: int, row: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.47, row - 0.45), 0.94, 0.9, fill=False, edgecolor=_INK, linewidth=1.3)


def _bars(axes: Any, labels: list[str], values: list[float], names: list[str], form: str) -> None:
    places = np.arange(len(values))
    axes.barh(places, values, height=0.62, color=[COLOURS[name] for name in names])
    largest = max([*values, 1e-9])
    for place, value in zip(places, values, strict=True):
        axes.text(
            max(value, 0) + largest * 0.012, place, form.format(value), va="center", fontsize=_SIZE - 1, color=_INK
        )
    axes.set_yticks(places, [_drawn(cut(label, 26)) for label in labels], fontsize=_SIZE)
    axes.set(xlim=(min([*values, 0.0]), largest * 1.45), ylim=(len(values) - 0.5, -0.5), xticks=[])
    axes.tick_params(length=0, colors=_INK)
    axes.spines[:].set_visible(False)


def _title(axes: Any, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=_SIZE + 1, color=_INK, pad=6)


def _drawn(text: str) -> str:
    """Return a text as matplotlib draws it: no formulas, and right-to-left words from left to right."""
    text = "".join(one if one.isprintable() else " " for one in text).replace("$", r"\$")
    if text and all(unicodedata.bidirectional(one) in ("R", "AL", "NSM") for one in text):
        # matplotlib sets letters from left to right, and does not join them.
        return text[::-1]
    return text
