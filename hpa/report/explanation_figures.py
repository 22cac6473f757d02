"""Figures about attribution: parts of the channels, insertion and deletion curves, methods beside each other."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from hpa.report.canvas import (
    BLACK,
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    SERIES,
    VERMILION,
    WIDTH,
    YELLOW,
    name_rows,
    new_drawing,
    plain,
    tidy,
    to_png,
)

STAINS = {"red": VERMILION, "green": GREEN, "blue": BLUE, "yellow": YELLOW, "grey": FAINT}
"""Colours of the four channels that colour-blind readers can tell apart."""

_HIGHLIGHTED = 3


def channel_bars(values: Mapping[str, float], shares: pd.DataFrame, names: Mapping[str, str]) -> bytes:
    """What each channel brings to the probability, and its part of every method's map.

    Args:
        values: by channel, its Shapley value.
        shares: index method, one column per channel, 0 to 1.
        names: of the channels, for people.
    """
    rows = max(len(values), len(shares), 2)
    drawing = new_drawing(WIDTH, 1.0 + 0.27 * rows)
    panels: Sequence[Axes] = drawing.subplots(1, 2, width_ratios=(1, 1.25)) if len(shares) else [drawing.add_subplot()]
    colours = {channel: STAINS.get(channel, SERIES[place % len(SERIES)]) for place, channel in enumerate(values)}
    own = np.array(list(values.values()))
    left = panels[0]
    left.barh(range(len(own)), own, color=list(colours.values()), height=0.66, edgecolor=INK, linewidth=0.5)
    reach = max(float(np.abs(own).max()), 0.05)
    for row, value in enumerate(own):
        at = value + np.copysign(0.03 * reach, value)
        left.text(at, row, f"{value:+.2f}", va="center", ha="left" if value >= 0 else "right", fontsize=8.5, color=INK)
    left.axvline(0, color=INK, linewidth=0.8)
    left.set_xlim(min(0, float(own.min())) - 0.3 * reach, max(0, float(own.max())) + 0.3 * reach)
    tidy(left, "Brought to the probability", grid="x")
    name_rows(left, [names.get(channel, channel) for channel in values], 28)
    if len(shares):
        right = panels[1]
        start = np.zeros(len(shares))
        for channel, colour in colours.items():
            part = shares[channel].to_numpy(float)
            right.barh(
                range(len(shares)), part, left=start, color=colour, height=0.72, edgecolor="white", linewidth=0.6
            )
            start = start + part
        right.set_xlim(0, 1)
        right.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
        tidy(right, "Part of each map", grid=None)
        name_rows(right, list(shares.index), 36)
    return to_png(drawing)


def curve_panels(
    parts: np.ndarray,
    deletion: Mapping[str, np.ndarray],
    insertion: Mapping[str, np.ndarray],
    controls: Sequence[str],
) -> bytes:
    """Insertion and deletion curves; the best methods of each in colour, controls dashed, the others faint.

    Args:
        parts: of the pixels, 0 to 1.
        deletion: by method, the probability with these parts removed.
        insertion: by method, the same with these parts put back.
        controls: names among the methods that are controls.
    """
    drawing = new_drawing(WIDTH, 3.6)
    panels = drawing.subplots(1, 2, sharey=True)
    texts = (("Put back: a good map rises at once", insertion, -1), ("Removed: a good map falls at once", deletion, 1))
    for axes, (title, curves, sign) in zip(panels, texts, strict=True):
        areas = {name: sign * float(np.trapezoid(values, parts)) for name, values in curves.items()}
        best = sorted((name for name in curves if name not in controls), key=areas.__getitem__)[:_HIGHLIGHTED]
        for name, values in curves.items():
            if name not in best and name not in controls:
                axes.plot(parts, values, color="#c3cad1", linewidth=1)
        for name, style in zip(controls, ("--", ":"), strict=False):
            if name in curves:
                axes.plot(parts, curves[name], color=BLACK, linestyle=style, linewidth=1.3, label=plain(name, 34))
        for name, colour in zip(best, (BLUE, VERMILION, ORANGE), strict=False):
            axes.plot(parts, curves[name], color=colour, linewidth=2, label=plain(name, 34))
        tidy(axes, title, "part of the image", grid="both")
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
        axes.legend(fontsize=8, frameon=False, loc="best")
    panels[0].set_ylabel("probability of the class", fontsize=9, color=INK)
    return to_png(drawing)


def method_panels(
    names: Sequence[str], panels: Mapping[str, tuple[Sequence[float], Sequence[float]]], marks: Mapping[str, float]
) -> bytes:
    """Methods as rows, one panel of bars with whiskers (one standard error) per figure.

    Args:
        names: of the methods.
        panels: by title, the values and their standard errors; NaN is left out.
        marks: by title of a panel, where a dashed line says what a map without information reaches.
    """
    drawing = new_drawing(WIDTH, 1.2 + 0.27 * len(names))
    grid = drawing.subplots(1, max(len(panels), 1), sharey=True, squeeze=False)[0]
    for axes, (title, (values, errors)) in zip(grid, panels.items(), strict=False):
        own, spread = np.asarray(values, float), np.nan_to_num(np.asarray(errors, float))
        axes.barh(
            *(range(len(own)), np.nan_to_num(own)),
            xerr=spread,
            color=BLUE,
            height=0.68,
            ecolor=INK,
            capsize=2,
            error_kw={"linewidth": 0.9},
        )
        for row in np.flatnonzero(np.isnan(own)):
            axes.text(0, row, " –", va="center", fontsize=8.5, color=FAINT)
        axes.axvline(0, color=INK, linewidth=0.8)
        if title in marks and np.isfinite(marks[title]):
            axes.axvline(marks[title], color=VERMILION, linewidth=1.3, linestyle="--")
        tidy(axes, title, grid="x")
        axes.title.set_fontsize(9)
        axes.locator_params(axis="x", nbins=4)
    if panels:
        name_rows(grid[0], names, 36)
    return to_png(drawing)
