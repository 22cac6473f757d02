"""Maps of items side by side in one figure: coloured by class, or by a number."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D

from hpa.arrays import Bool, Float, Int64, Points
from hpa.report.canvas import FAINT, GRID, INK, SERIES, WIDTH, new_drawing, plain, to_png
from hpa.report.scatter_items import RAMP, Panel

SHAPES = ("o", "^", "s", "D")
"""Markers of the classes: the colours repeat with another shape, as on the page."""

_NONE = "#8a929a"


def class_maps(panels: Sequence[Panel], classes: Sequence[str], labels: Bool[np.ndarray, "items classes"]) -> bytes:
    """One map per panel, its items coloured by class, with one legend; PNG.

    An item with several classes has the colour of the rarest, as on the page of points; one without any is grey.

    Args:
        panels: maps of the same items.
        classes: names.
        labels: which classes the items have.
    """
    drawn = rarest_class(labels)
    drawing, cells = _grid(panels)
    sizes = labels.sum(axis=0)
    # The frequent classes first, so that rare ones are not hidden.
    order = [-1, *np.argsort(-sizes, kind="stable").tolist()]
    for axes, panel in zip(cells, panels, strict=True):
        for number in order:
            rows = drawn == number
            if rows.any():
                shape, colour = ("o", _NONE) if number < 0 else _look(number)
                points = panel.coordinates[rows]
                _draw(axes, points, len(labels), c=colour, marker=shape)
    handles = [
        Line2D([], [], linestyle="", marker=shape, color=colour, markersize=5.5, label=plain(f"{name} ({size:,})", 40))
        for (shape, colour), name, size in (
            (_look(number), classes[number], int(size)) for number, size in enumerate(sizes.tolist()) if size
        )
    ]
    if (drawn < 0).any():
        none = f"no label ({int((drawn < 0).sum()):,})"
        handles.append(Line2D([], [], linestyle="", marker="o", color=_NONE, markersize=5.5, label=none))
    columns = 4 if len(handles) > 3 else max(1, len(handles))
    drawing.legend(handles=handles, loc="outside lower left", ncols=columns, fontsize=7.5, frameon=False)
    return to_png(drawing)


def number_maps(panels: Sequence[Panel], name: str, values: Float[np.ndarray, " items"]) -> bytes:
    """One map per panel, its items coloured by a number, high ones dark and on top; PNG.

    Colours end at the 1st and the 99th percentile, so that one extreme value does not leave all others pale.

    Args:
        panels: maps of the same items.
        name: of the number.
        values: NaN (grey squares) where an item has none.
    """
    known = ~np.isnan(values)
    low, high = np.quantile(values[known], [0.01, 0.99]) if known.any() else (0.0, 1.0)
    scale = Normalize(float(low), float(high) if high > low else float(low) + 1)
    ramp = LinearSegmentedColormap.from_list("scores", [tuple(np.array(colour) / 255) for colour in RAMP])
    order = np.flatnonzero(known)[np.argsort(values[known], kind="stable")]
    drawing, cells = _grid(panels)
    for axes, panel in zip(cells, panels, strict=True):
        _draw(axes, panel.coordinates[~known], len(values), c=_NONE, marker="s")
        _draw(axes, panel.coordinates[order], len(values), c=values[order], cmap=ramp, norm=scale)
    bar = drawing.colorbar(ScalarMappable(scale, ramp), ax=cells, shrink=0.6, aspect=30, extend="both")
    bar.set_label(plain(name, 60), fontsize=9, color=INK)
    bar.ax.tick_params(labelsize=8, color=FAINT)
    bar.outline.set_visible(False)
    return to_png(drawing)


def rarest_class(labels: Bool[np.ndarray, "items classes"]) -> Int64[np.ndarray, " items"]:
    """Of each item's classes the one that the fewest items have; -1 for items without any.

    >>> rarest_class(np.array([[1, 1], [1, 0], [0, 0]], bool)).tolist()
    [1, 0, -1]
    """
    sizes = np.where(labels, labels.sum(axis=0), np.iinfo(np.int64).max)
    rarest: Int64[np.ndarray, " items"] = np.where(labels.any(axis=1), sizes.argmin(axis=1), -1).astype(np.int64)
    return rarest


def _look(number: int) -> tuple[str, str]:
    return SHAPES[number // len(SERIES) % len(SHAPES)], SERIES[number % len(SERIES)]


def _draw(axes: Axes, points: Points, items: int, **look: Any) -> None:
    """Points with thin white edges, smaller the more items there are."""
    area = float(np.clip(9000 / max(items, 1), 2.5, 26))  # square points
    axes.scatter(points[:, 0], points[:, 1], s=area, linewidths=0.25, edgecolors="white", **look)


def _grid(panels: Sequence[Panel]) -> tuple[Drawing, list[Axes]]:
    """Square maps, at most two in a row, each with its name and its facts."""
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    drawing = new_drawing(WIDTH, rows * (WIDTH / columns if columns > 1 else 0.8 * WIDTH) + 1.2)
    cells = drawing.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes, panel in zip(cells, panels, strict=False):
        axes.set_xticks([])
        axes.set_yticks([])
        for side in axes.spines.values():
            side.set_color(GRID)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_title(plain(panel.name, 50), fontsize=10.5, color=INK, loc="left", fontweight="bold", pad=18)
        facts = "  ·  ".join(f"{name} {value}" for name, value in panel.facts)
        axes.annotate(
            plain(facts, 90), (0, 1), (0, 5), "axes fraction", "offset points", fontsize=8, color=INK, va="bottom"
        )
    for axes in cells[len(panels) :]:
        axes.set_visible(False)
    return drawing, cells[: len(panels)]
