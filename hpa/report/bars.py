"""Bar charts: counts per class, average precision against the constant predictor, how many of each."""

from collections.abc import Sequence

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from hpa.report.canvas import BLACK, BLUE, FAINT, INK, WIDTH, name_rows, new_drawing, plain, tidy, to_png
from hpa.report.formats import number, percent, shorten

ROW = 0.27
"""Inches of one horizontal bar with its gap."""


def count_bars(names: Sequence[str], counts: Sequence[int], total: int, unit: str = "images") -> bytes:
    """One horizontal bar per class with its count and share of `total`, in the order given."""
    drawing = new_drawing(WIDTH, 0.8 + ROW * max(len(names), 2))
    axes = drawing.add_subplot()
    axes.barh(range(len(names)), counts, color=BLUE, height=0.72)
    longest = max(*counts, 1)
    for row, count in enumerate(counts):
        text = f"{count:,}  ({percent(count / total if total else None)})" if count else "none"
        axes.text(count + longest * 0.008, row, text, va="center", fontsize=8.5, color=INK)
    tidy(axes, x=unit, grid="x")
    name_rows(axes, names, 44)
    axes.set_xlim(0, longest * 1.16)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return to_png(drawing)


def columns(values: Sequence[int | str], counts: Sequence[int], x: str, unit: str = "images") -> bytes:
    """One upright bar per value with its count above: for a handful of values."""
    drawing = new_drawing(min(WIDTH, 2.2 + 0.9 * len(values)), 2.9)
    axes = drawing.add_subplot()
    axes.bar(range(len(values)), counts, color=BLUE, width=0.7)
    for position, count in enumerate(counts):
        axes.text(position, count, f"{count:,}", ha="center", va="bottom", fontsize=8.5, color=INK)
    tidy(axes, x=x, y=unit)
    axes.set_xticks(range(len(values)), [plain(value, 18) for value in values])
    axes.set_ylim(0, max(*counts, 1) * 1.12)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    return to_png(drawing)


def precision_bars(
    names: Sequence[str], precision: Sequence[float], constant: Sequence[float], positives: Sequence[int]
) -> bytes:
    """Average precision per class as bars, best first, with the constant predictor's as a black tick on each."""
    ap, base = np.asarray(precision, float), np.asarray(constant, float)
    order = np.argsort(np.where(np.isnan(ap), np.inf, -ap), kind="stable")
    drawing = new_drawing(WIDTH, 1.15 + ROW * max(len(names), 2))
    axes = drawing.add_subplot()
    axes.barh(range(len(order)), np.nan_to_num(ap[order]), color=BLUE, height=0.72)
    for row, column in enumerate(order):
        if np.isnan(ap[column]):
            axes.text(0.006, row, "no image has this class", va="center", fontsize=8.5, color=FAINT)
            continue
        # The number gives way to the tick where the two would meet.
        beyond = max(ap[column], base[column]) if abs(ap[column] - base[column]) < 0.07 else ap[column]
        axes.text(beyond + 0.008, row, number(float(ap[column]), 2), va="center", fontsize=8.5, color=INK)
        axes.plot([base[column]] * 2, [row - 0.42, row + 0.42], color=BLACK, linewidth=2.2, solid_capstyle="butt")
    tidy(axes, x="average precision (1 = every image of the class ranked first)", grid="x")
    name_rows(axes, [f"{shorten(names[k], 38)}  ({positives[k]:,})" for k in order], 60)
    axes.set_xlim(0, 1.06)
    handles = [
        Patch(color=BLUE, label="the model"),
        Line2D([], [], color=BLACK, linewidth=2.2, marker="|", linestyle="", markersize=11, label="constant predictor"),
    ]
    drawing.legend(handles=handles, loc="outside upper right", ncols=2, fontsize=8.5, frameon=False)
    return to_png(drawing)
