"""Line charts: training history, calibration, precision and recall, intensity histograms."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from hpa.report.canvas import BLACK, BLUE, FAINT, INK, SERIES, WIDTH, new_drawing, plain, tidy, to_png
from hpa.report.formats import number


def history_curves(history: pd.DataFrame, panels: Mapping[str, Sequence[str]]) -> bytes:
    """Values over the epochs, one panel per subject, one colour per fold.

    Args:
        history: columns epoch, fold and those that the panels name.
        panels: title to columns; the first column solid, the second dashed, and so on.
    """
    across = min(len(panels), 3)
    down = math.ceil(len(panels) / across)
    drawing = new_drawing(WIDTH, 0.5 + 2.5 * down)
    grid = drawing.subplots(down, across, squeeze=False).ravel()
    styles = ("-", "--", ":", "-.")
    folds = sorted(history["fold"].unique())
    for axes, (title, columns) in zip(grid, panels.items(), strict=False):
        for number_, column in enumerate(columns):
            for colour, fold in enumerate(folds):
                rows = history[(history["fold"] == fold) & history[column].notna()].sort_values("epoch")
                name = plain(f"fold {fold}" if number_ == 0 else f"{column}, fold {fold}")
                axes.plot(
                    *(rows["epoch"], rows[column]),
                    styles[number_ % len(styles)],
                    color=SERIES[colour % len(SERIES)],
                    marker="o" if len(rows) < 15 else None,
                    markersize=3,
                    linewidth=1.5,
                    label=name,
                )
        tidy(axes, plain(title, 40), "epoch")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.ticklabel_format(axis="y", useOffset=False)
        if (history[list(columns)].max(axis=None) < 1e-2) and (history[list(columns)].min(axis=None) >= 0):
            axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
            axes.yaxis.get_offset_text().set_fontsize(8)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    if len(folds) > 1:
        handles, names = grid[0].get_legend_handles_labels()
        drawing.legend(
            handles[: len(folds)],
            names[: len(folds)],
            loc="outside lower center",
            ncols=10,
            fontsize=8.5,
            frameon=False,
        )
    return to_png(drawing)


def reliability_plot(reliability: pd.DataFrame) -> bytes:
    """Predicted probability against the share that is true: all classes pooled, each class as a thin line.

    Args:
        reliability: columns class, bin, lower, upper, items, probability, share.
    """
    drawing = new_drawing(6.2, 5.4)
    upper, lower = drawing.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    upper.plot([0, 1], [0, 1], color=FAINT, linewidth=1.2, linestyle="--")
    many = reliability[reliability["items"] >= 10]
    for _, rows in many.groupby("class", sort=False):
        upper.plot(rows["probability"], rows["share"], color="#9aa5b1", linewidth=0.7, alpha=0.8)
    weighted = reliability.assign(
        probability=reliability["probability"] * reliability["items"], share=reliability["share"] * reliability["items"]
    )
    pooled = weighted.groupby("bin")[["items", "probability", "share"]].sum()
    items = pooled["items"].to_numpy()
    probability, share = (pooled[name].to_numpy() / items for name in ("probability", "share"))
    upper.plot(probability, share, color=BLUE, linewidth=2, marker="o", markersize=5)
    upper.set_xlim(-0.02, 1.02)
    upper.set_ylim(-0.02, 1.02)
    tidy(upper, y="share that has the class", grid="both")
    edges = reliability.groupby("bin")[["lower", "upper"]].first()
    lower.bar(edges["lower"], items, width=0.92 * (edges["upper"] - edges["lower"]), align="edge", color=BLUE)
    lower.set_yscale("log")
    tidy(lower, x="predicted probability", y="predictions")
    return to_png(drawing)


def precision_recall_grid(
    curves: pd.DataFrame, names: Sequence[str], precision: Sequence[float], constant: Sequence[float]
) -> bytes:
    """One small precision-recall curve per class, the constant predictor as a dashed line.

    Args:
        curves: columns class, recall, precision.
        names: of the classes, in order.
        precision: average precision per class.
        constant: the constant predictor's.
    """
    across = min(len(names), 5)
    down = math.ceil(len(names) / across)
    drawing = new_drawing(WIDTH if across > 3 else 3.2 * across, 0.3 + (1.75 if across > 3 else 2.6) * down)
    grid = drawing.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    by_class = dict(tuple(curves.groupby("class", sort=False)))
    for number_, (axes, name) in enumerate(zip(grid.ravel(), names, strict=False)):
        tidy(axes, plain(name, 24), grid="both")
        axes.set_title(plain(name, 24), fontsize=8.2, color=INK, loc="left")
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.05)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
        rows = by_class.get(name)
        if rows is None:
            axes.text(0.5, 0.5, "no image", ha="center", va="center", fontsize=8.5, color=FAINT)
            continue
        # Steps, as the average precision is the area below them.
        axes.fill_between(rows["recall"], rows["precision"], step="pre", color=BLUE, alpha=0.13, linewidth=0)
        axes.plot(rows["recall"], rows["precision"], drawstyle="steps-pre", color=BLUE, linewidth=1.6)
        axes.axhline(constant[number_], color=BLACK, linewidth=1, linestyle="--")
        axes.text(
            *(0.97, 0.94, f"AP {number(float(precision[number_]), 2)}"),
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontsize=8.5,
            color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1},
        )
    for axes in grid.ravel()[len(names) :]:
        axes.set_visible(False)
    drawing.supxlabel("recall: share of the class's images found", fontsize=9, color=INK)
    drawing.supylabel("precision: share of those found that are right", fontsize=9, color=INK)
    return to_png(drawing)


def intensity_histograms(sets: Mapping[str, Mapping[str, np.ndarray]]) -> bytes:
    """Intensity histograms, one panel per channel and one colour per data set: median over images, 5 to 95 % band.

    Args:
        sets: data set to channel to (images, bins) shares of each image's pixels.
    """
    channels = list(dict.fromkeys(channel for shares in sets.values() for channel in shares))
    across = len(channels) if len(channels) <= 3 else 2
    down = math.ceil(len(channels) / across)
    drawing = new_drawing(WIDTH if across > 1 else 6, 0.5 + 2.35 * down)
    grid = drawing.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, channel in zip(grid, channels, strict=False):
        for colour, (name, shares) in zip(SERIES, sets.items(), strict=False):
            if channel in shares:
                _band(axes, shares[channel], colour, plain(name, 40))
        tidy(axes, plain(channel), grid="both")
        axes.set_yscale("log")
        axes.set_yticks([1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1], ["0.001 %", "0.01 %", "0.1 %", "1 %", "10 %", "100 %"])
        axes.minorticks_off()
        axes.set_ylim(1e-5, 1.2)
        axes.set_xlim(0, 256)
        axes.set_xticks([0, 64, 128, 192, 255])
    for axes in grid[len(channels) :]:
        axes.set_visible(False)
    drawing.supxlabel("intensity (0 to 255)", fontsize=9, color=INK)
    drawing.supylabel("share of the image's pixels", fontsize=9, color=INK)
    if len(sets) > 1:
        handles, names = grid[0].get_legend_handles_labels()
        drawing.legend(handles, names, loc="outside upper right", ncols=len(sets), fontsize=9, frameon=False)
    return to_png(drawing)


def _band(axes: Axes, shares: np.ndarray, colour: str, name: str) -> None:
    low, middle, high = np.quantile(shares, (0.05, 0.5, 0.95), axis=0)
    centres = (np.arange(shares.shape[1]) + 0.5) * 256 / shares.shape[1]
    floor = 1e-6  # a logarithmic axis has no zero
    axes.fill_between(
        *(centres, np.maximum(low, floor), np.maximum(high, floor)), color=colour, alpha=0.18, linewidth=0
    )
    axes.plot(centres, np.maximum(middle, floor), color=colour, linewidth=1.8, label=name)
