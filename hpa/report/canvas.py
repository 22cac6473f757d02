"""Drawing without global state: figures by matplotlib's objects on the Agg canvas, one look for all, PNG bytes out."""

import io
import warnings
from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from hpa.report.formats import shorten

BLUE, ORANGE, GREEN, PINK, SKY, VERMILION, YELLOW, BLACK = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000"),
)
SERIES = (BLUE, ORANGE, GREEN, PINK, VERMILION, SKY, BLACK)
"""Okabe and Ito's palette, which colour-blind readers can tell apart (jfly.uni-koeln.de/color)."""

INK, FAINT, GRID = "#24292f", "#6e7781", "#e3e6ea"
MAP = "Blues"
"""Colour map of heat maps: light to dark, so that it reads in grey too."""

DPI = 160
WIDTH = 9.6
"""Inches of a figure as wide as the page's text (96 CSS pixels each)."""


def new_drawing(width: float | int = WIDTH, height: float | int = 4) -> Drawing:
    """An empty white figure in inches, laid out by itself, on its own Agg canvas."""
    drawing = Drawing(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(drawing)
    return drawing


def to_png(drawing: Drawing) -> bytes:
    """The figure as PNG; the same drawing gives the same bytes with the same matplotlib."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        # A class name in a script that the font lacks shows boxes; the page's tables hold the name in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        drawing.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def plain(text: object, limit: int = 30) -> str:
    """Text for a figure: shortened, and with no dollar sign taken for mathematics.

    >>> plain("cost $5$")
    'cost \\\\$5\\\\$'
    """
    return shorten(str(text), limit).replace("$", r"\$")


def tidy(axes: Axes, title: str = "", x: str = "", y: str = "", grid: Literal["x", "y", "both"] | None = "y") -> None:
    """Give axes the common look: no box, light grid lines, small text."""
    axes.set_title(title, fontsize=10, color=INK, loc="left", fontweight="bold")
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)
    axes.tick_params(labelsize=8.5, labelcolor=INK, color=FAINT, length=3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(True, axis=grid, color=GRID, linewidth=0.8)


def name_rows(axes: Axes, names: Sequence[str], limit: int = 30) -> None:
    """Put one name per row along the left side, the first on top."""
    axes.set_yticks(range(len(names)), [plain(name, limit) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def logarithmic_x(axes: Axes) -> None:
    """A logarithmic x axis; one that spans little is marked at 1, 2 and 5 of every power of ten, in plain numbers."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    if high < low * 50:  # beyond, so many numbers would touch
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
