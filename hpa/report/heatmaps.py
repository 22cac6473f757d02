"""Heat maps with the class names on both sides, and intensity maps per class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar as ColorBar
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import PercentFormatter

from hpa.report.canvas import FAINT, INK, MAP, WIDTH, name_rows, new_drawing, plain, tidy, to_png

INTENSITIES = np.linspace(0, 256, 33)
"""Edges of the 32 bins of the index's histograms, in uint8 steps."""


def heat_map(
    values: np.ndarray,
    names: Sequence[str],
    columns: Sequence[str] | None = None,
    texts: Sequence[Sequence[str]] | None = None,
    x: str = "",
    y: str = "",
    scale: str = "",
    highest: float | None = 1.0,
) -> bytes:
    """A matrix in colour, its numbers written in the cells.

    Args:
        values: (rows, columns), from 0 up; NaN is left grey.
        names: of the rows.
        columns: names of the columns; None where they are the rows' too.
        texts: what to write into each cell; None for nothing.
        x: what a column is.
        y: what a row is.
        scale: what the colour means.
        highest: value of the darkest colour; None for the largest value.
    """
    heads = names if columns is None else columns
    longest = max((len(text) for line in texts or () for text in line), default=0)
    upright = len(heads) <= 12 and max(map(len, heads), default=0) <= 9
    # As wide as the numbers in it, as far as the page has room beside the names.
    cell = min(max(0.27, 0.085 * longest + 0.1, 0.75 if upright else 0), 0.95, 7.0 / max(len(heads), 1))
    row = 0.3 if len(names) > 6 else 0.4
    height = (1.2 if upright else 2.3) + row * max(len(names), 2)
    drawing = new_drawing(min(WIDTH, 3.1 + cell * len(heads)), height)
    axes = drawing.add_subplot()
    top = highest if highest is not None else float(np.nanmax(values, initial=0)) or 1.0
    axes.set_facecolor("#eceef1")
    image = axes.imshow(values, cmap=MAP, vmin=0, vmax=top, aspect="auto", interpolation="nearest")
    # 0.6 of the font size is the width of a digit; 72 points are an inch.
    size = float(np.clip(0.88 * cell * 72 / (0.6 * max(longest, 2)), 5, 8.5))
    for number, line in enumerate(texts or ()):
        for column, text in enumerate(line):
            dark = np.nan_to_num(values[number, column]) > 0.55 * top
            axes.text(column, number, text, ha="center", va="center", fontsize=size, color="white" if dark else INK)
    tidy(axes, "", grid=None)
    name_rows(axes, names, 48)
    turned: dict[str, Any] = (
        {} if upright else {"rotation": 50, "ha": "left", "va": "bottom", "rotation_mode": "anchor"}
    )
    axes.set_xticks(range(len(heads)), [plain(name, 26) for name in heads], **turned)
    axes.xaxis.tick_top()
    axes.tick_params(axis="x", length=0, pad=2)
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.xaxis.set_label_position("bottom")
    axes.set_ylabel(y, fontsize=9, color=INK)
    axes.set_xticks(np.arange(len(heads) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.grid(True, which="minor", color="white", linewidth=0.8)
    axes.tick_params(which="minor", length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    _key(drawing, image, [axes], scale, f"{top:.0%}" if top <= 1 else "")
    return to_png(drawing)


def _key(drawing: Drawing, image: ScalarMappable, panels: Sequence[Axes], scale: str, top: str = "") -> ColorBar:
    """A flat colour key below the panels, in per cent where `top` says so."""
    width = drawing.get_size_inches()[0]
    key = drawing.colorbar(
        image, ax=panels, location="bottom", shrink=min(0.7, 3.2 / width), aspect=26, pad=0.02, anchor=(0.5, 0)
    )
    key.set_label(scale, fontsize=8.5, color=INK)
    key.ax.tick_params(labelsize=8, labelcolor=INK, color=FAINT)
    key.outline.set_visible(False)
    if top:
        key.formatter = PercentFormatter(1, symbol=" %", decimals=None)
        key.update_ticks()
    return key


def intensity_maps(shares: Mapping[str, np.ndarray], names: Sequence[str]) -> bytes:
    """One panel per channel: a row per class, the share of its pixels at each intensity as colour (logarithmic).

    Args:
        shares: channel to (classes, 32) shares of the pixels; rows of NaN where a class has no image.
        names: of the classes.
    """
    drawing = new_drawing(WIDTH, 1.9 + 0.24 * max(len(names), 3))
    panels = drawing.subplots(1, len(shares), sharey=True, squeeze=False)[0]
    norm = LogNorm(1e-4, 1, clip=True)
    image = None
    for axes, (channel, share) in zip(panels, shares.items(), strict=True):
        axes.set_facecolor("#f0f1f3")
        image = axes.pcolormesh(
            INTENSITIES, np.arange(len(names) + 1) - 0.5, np.ma.masked_invalid(share), cmap=MAP, norm=norm
        )
        tidy(axes, plain(channel), "intensity", grid=None)
        axes.set_xticks([0, 64, 128, 192, 256])
        axes.tick_params(axis="y", length=0)
    name_rows(panels[0], names, 34)
    if image is not None:
        key = _key(drawing, image, list(panels), "share of the pixels")
        key.set_ticks([1e-4, 1e-3, 1e-2, 1e-1, 1], labels=["≤0.01 %", "0.1 %", "1 %", "10 %", "100 %"])
        key.ax.minorticks_off()
    return to_png(drawing)
