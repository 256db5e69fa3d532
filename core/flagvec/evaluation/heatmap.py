"""The picture of a measure over all weights: a triangle for three representations, a line for two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flagvec.extras import extra
from flagvec.search.fusion import Weighted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from flagvec.evaluation.tuning import Tuning

# The corners of the triangle: dense to the left, sparse to the right, ColBERT on top.
_CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])
_NAMES = ("dense", "sparse", "colbert")
_LABELS = {"dense": "dense", "sparse": "sparse", "colbert": "ColBERT"}
_INK, _BEST = "#222222", "#d1495b"


def check_picture(path: Path) -> None:
    """Check that a figure can be written to a file.

    Raises:
        ValueError: matplotlib writes no such files; names those that it writes.
        ImportError: matplotlib is not installed; has the pip line.
    """
    with extra("evaluate"):
        from matplotlib.backend_bases import FigureCanvasBase

    known = FigureCanvasBase.get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in known:
        raise ValueError(f"{str(path)!r}: a picture has a name that ends with .{', .'.join(sorted(known))}")


def heatmap(tuning: Tuning) -> Figure:
    """Return the figure of `Tuning.heatmap`. It is not shown, and pyplot does not know it.

    Raises:
        ImportError: matplotlib is not installed; has the pip line.
    """
    with extra("evaluate"):
        from matplotlib.figure import Figure

    tried = [
        (fusion, mean)
        for fusion, mean in zip(tuning.fusions, tuning.means.tolist(), strict=True)
        if isinstance(fusion, Weighted)
    ]
    weights = np.array([[fusion.shares().get(name, 0.0) for name in _NAMES] for fusion, _ in tried])
    means = np.array([mean for _, mean in tried])
    used = [name for name, column in zip(_NAMES, weights.T, strict=True) if column.any()]
    figure = Figure(figsize=(7.2, 6.4) if len(used) == 3 else (7.2, 4.2), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    if len(used) == 3:
        _triangle(tuning, axes, weights, means)
    else:
        _line(tuning, axes, weights, means, used)
    axes.set_title(
        f"{tuning.measure} of {tuning.queries:,} queries, by the weights of the scores",
        loc="left",
        fontsize=13,
        color=_INK,
    )
    return figure


def _triangle(tuning: Tuning, axes: Axes, weights: NDArray[np.float64], means: NDArray[np.float64]) -> None:
    from matplotlib.collections import RegularPolyCollection

    places = weights @ _CORNERS
    axes.text(
        -0.16, 1.12, "Each cell is a mixture: the nearer to a corner, the more that score counts.",
        color="#666666", fontsize=10, va="top",
    )  # fmt: skip
    axes.set_xlim(-0.16, 1.16)
    axes.set_ylim(-0.3, 1.12)
    axes.set_aspect("equal")
    axes.set_axis_off()
    step = np.min(weights[weights > 0])
    # A hexagon's corners are 1 / sqrt(3) of its width from its middle, and the size is an area in square points.
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]  # the layout settles the size of a unit
    points = 72 * axes.get_window_extent().width / axes.figure.dpi / 1.32
    size = np.pi * (1.04 * step * points / np.sqrt(3)) ** 2
    cells = RegularPolyCollection(
        6, sizes=(size,), offsets=places, offset_transform=axes.transData, array=means, cmap="viridis"
    )
    # The worst corners would take most of the colours.
    cells.set_clim(float(np.quantile(means, 0.1)), float(means.max()))
    axes.add_collection(cells)
    bar = axes.figure.colorbar(cells, ax=axes, shrink=0.6, extend="min", pad=0.0)
    bar.set_label(f"{tuning.measure} (more is better)", color=_INK)
    _name_corners(axes, weights, means)
    _mark(tuning, axes, weights, means)


def _name_corners(axes: Axes, weights: NDArray[np.float64], means: NDArray[np.float64]) -> None:
    aligned = (("center", "top", 0.0, -0.05), ("center", "top", 0.0, -0.05), ("center", "bottom", 0.0, 0.05))
    for corner, (name, (horizontal, vertical, right, up)) in enumerate(zip(_NAMES, aligned, strict=True)):
        mean = means[int(np.argmax(weights[:, corner]))]
        x, y = _CORNERS[corner]
        axes.text(
            x + right, y + up, f"{_LABELS[name]} alone\n{mean:.3f}", ha=horizontal, va=vertical, color=_INK, fontsize=11
        )
    middle = (_CORNERS[[1, 2, 0]] + _CORNERS[[0, 1, 2]]) / 2
    sides = (
        ("no ColBERT score", 0, (0.0, -0.06)),
        ("no dense score", -60, (0.075, 0.04)),
        ("no sparse score", 60, (-0.075, 0.04)),
    )
    for (x, y), (label, angle, (right, up)) in zip(middle, sides, strict=True):
        axes.text(x + right, y + up, label, rotation=angle, ha="center", va="center", color="#666666", fontsize=9)


def _mark(tuning: Tuning, axes: Axes, weights: NDArray[np.float64], means: NDArray[np.float64]) -> None:
    for shares, label, shape, size in _marks(tuning, weights, means):
        _scatter(axes, shares @ _CORNERS, label, shape, size)
    if "rrf" in tuning.baselines:
        # Ranks have no place among weights.
        axes.scatter(
            [], [], marker="None", label=f"for comparison, rrf (by ranks): {tuning.baselines['rrf'].value:.3f}"
        )
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, -0.07), frameon=False, fontsize=10, labelcolor=_INK)


def _marks(
    tuning: Tuning, weights: NDArray[np.float64], means: NDArray[np.float64]
) -> Iterator[tuple[NDArray[np.float64], str, str, int]]:
    """Yield the shares, label, shape and size of each mark: the fusion that was chosen, and equal weights."""
    equal = tuning.baselines["equal weights"].value
    if isinstance(tuning.fusion, Weighted):
        shares = np.array([tuning.fusion.shares().get(name, 0.0) for name in _NAMES])
        mean = means[int(np.argmin(np.abs(weights - shares).sum(axis=1)))]
        parts = ", ".join(f"{_LABELS[name]} {share:.0%}" for name, share in zip(_NAMES, shares, strict=True) if share)
        yield shares, f"chosen: {parts}: {mean:.3f}", "*", 260
        if np.allclose(shares, weights[0]):
            return
    yield weights[0], f"equal weights: {equal:.3f}", "o", 70


def _scatter(axes: Axes, place: Sequence[float] | NDArray[np.float64], label: str, shape: str, size: int) -> None:
    x, y = place
    axes.scatter(
        x,
        y,
        marker=shape,
        s=size,
        color=_BEST,
        edgecolor="white",
        linewidth=1.2,
        zorder=3,
        clip_on=False,
        label=label,
    )


def _line(
    tuning: Tuning, axes: Axes, weights: NDArray[np.float64], means: NDArray[np.float64], used: list[str]
) -> None:
    first, second = used
    column = _NAMES.index(second)
    order = np.argsort(weights[:, column])
    axes.plot(weights[order, column], means[order], color="#31688e", linewidth=2)
    for shares, label, shape, size in _marks(tuning, weights, means):
        height = np.interp(shares[column], weights[order, column], means[order])
        _scatter(axes, (shares[column], float(height)), label, shape, size)
    if "rrf" in tuning.baselines:
        ranks = tuning.baselines["rrf"].value
        axes.axhline(ranks, color="#666666", linestyle="--", linewidth=1.2, label=f"rrf (by ranks): {ranks:.3f}")
    named = [f"{_LABELS[first]} alone", "25 %", "half", "75 %", f"{_LABELS[second]} alone"]
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], named)
    axes.set_xlabel(f"share of the {_LABELS[second]} score", color=_INK)
    axes.set_ylabel(f"{tuning.measure} (more is better)", color=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, labelcolor=_INK)
