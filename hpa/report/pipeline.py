"""The report of a whole pipeline: mAP of every method, what each step gained, classes, and cells with their labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpa.arrays import Composite, LabelMap
from hpa.report.canvas import BLACK, BLUE, INK, new_drawing, plain, tidy, to_png
from hpa.report.formats import count_of, duration, number
from hpa.report.gallery import encode
from hpa.report.heatmaps import heat_map
from hpa.report.overlays import draw_cells
from hpa.report.page import Block, Card, Cards, Facts, Figure, Gallery, Note, Page, Section, Table, Tile, write_page
from hpa.report.run import whole_configuration

LONGEST = 760
"""Longest side of an overlay on the page, pixels."""

SUPERVISED = "supervised"
"""The method that learned from true labels of cells: no step of the chain but what its steps are measured by."""

RIGHT, WRONG = (90, 220, 120), (255, 120, 60)
"""RGB of the outlines of cells whose likeliest class is true of them, and of the others, where the truth is known."""


@dataclass(frozen=True, eq=False)
class LabelledCells:
    """An image with what was predicted of its cells.

    Attributes:
        image_id: shown below the picture.
        picture: RGB.
        cells: label map.
        predicted: by cell, names of its likeliest classes with their confidence, a line each.
        is_right: by cell, whether its likeliest class is true of it; empty where the truth is unknown.
        labels: names of the image's classes; empty where they are unknown.
    """

    image_id: str
    picture: Composite
    cells: LabelMap
    predicted: Mapping[int, str]
    is_right: Mapping[int, bool] = field(default_factory=dict)
    labels: Sequence[str] = ()


def pipeline_report(
    path: Path,
    methods: pd.DataFrame,
    per_class: pd.DataFrame,
    examples: Sequence[LabelledCells],
    steps: Mapping[str, float],
    summary: Mapping[str, str],
    config: Mapping[str, Any],
    warnings: Sequence[str] = (),
) -> Path:
    """Write the page and its figures.

    Args:
        path: of the HTML file; figures go to `figures/` beside it too.
        methods: method, map, low, high (95 % of resampled images), in the order of the steps, the last of which was
            submitted; `supervised` may stand anywhere and is shown last; empty without a truth.
        per_class: index class name, a column of average precision per method (NaN for a class without truth).
        examples: cells with their labels.
        steps: seconds of every step.
        summary: name and value of what is worth knowing.
        config: the resolved configuration.
        warnings: shown on top.
    """
    is_bound = methods["method"] == SUPERVISED
    methods = pd.concat([methods[~is_bound], methods[is_bound]])
    per_class = per_class[[*methods["method"]]]
    page = Page(
        title="From image labels to labelled cells",
        subtitle=summary.get("Images", ""),
        warnings=warnings,
        sections=[
            Section("At a glance", [_cards(methods, steps)]),
            *_methods(methods, per_class),
            Section("Cells with their labels", [_gallery(examples)]),
            Section("How this was made", [_steps(steps), Facts(summary), *whole_configuration(config)]),
        ],
    )
    return write_page(path, page, path.parent / "figures")


def _cards(methods: pd.DataFrame, steps: Mapping[str, float]) -> Cards:
    cards = []
    if len(methods):
        bound, methods = methods[methods["method"] == SUPERVISED], methods[methods["method"] != SUPERVISED]
        last, best = methods.iloc[-1], methods.loc[methods["map"].idxmax()]
        cards.append(Card("Submission", number(last["map"]), "mAP of the cells, the competition's measure"))
        cards.append(Card("Best method", str(best["method"]), f"mAP {number(best['map'])}"))
        baseline = methods[methods["method"] == "copy"]
        if len(baseline):
            gain = best["map"] - baseline["map"].iloc[0]
            cards.append(Card("Gained", f"{gain:+.3f}", "over giving every cell its image's probabilities"))
        if len(bound):
            share = f"{best['map'] / bound['map'].iloc[0]:.0%}".replace("%", " %")
            cards.append(Card("Of the upper bound", share, "of what training on true labels of cells reaches"))
    cards.append(Card("Time", duration(sum(steps.values())), count_of(len(steps), "step")))
    return Cards(cards)


def _methods(methods: pd.DataFrame, per_class: pd.DataFrame) -> list[Section]:
    if not len(methods):
        text = "The truth of these cells is unknown, so nothing can be scored here; look at the cells below."
        return [Section("Methods", [Note(text)])]
    gains = methods["map"].diff().where(methods["method"] != SUPERVISED)
    table = pd.DataFrame(
        {
            "Method": methods["method"],
            "mAP": methods["map"].map(number),
            "95 % of resampled images": [
                f"{number(row.low)} to {number(row.high)}" for row in methods.itertuples(index=False)
            ],
            "Against the step before": ["" if np.isnan(gain) else f"{gain:+.3f}" for gain in gains],
        }
    )
    known = per_class.dropna(how="all")
    texts = [[number(value, 2) for value in row] for row in known.to_numpy(float)]
    heat = heat_map(
        known.to_numpy(float), list(known.index), list(known.columns), texts, scale="average precision of cells"
    )
    caption = (
        "mAP is the mean over the classes of average precision, a detection counting as right when its mask has an IoU "
        "of 0.6 with a cell of that class. Whiskers: 95 % of the scores when the images are drawn again."
    )
    if SUPERVISED in set(methods["method"]):
        caption += (
            " Supervised learned from the true labels of cells, which nobody has of real images: the upper bound."
        )
    return [
        Section(
            "Methods",
            [
                Figure("methods", _bars(methods), "mAP by method", caption),
                Table("What each step gained", table, "", ("mAP", "Against the step before")),
            ],
        ),
        Section(
            "Classes",
            [
                Figure(
                    "classes",
                    heat,
                    "Average precision by class and method",
                    "Classes without a true cell are left out.",
                )
            ],
        ),
    ]


def _bars(methods: pd.DataFrame) -> bytes:
    drawing = new_drawing(height=0.9 + 0.42 * len(methods))
    axes = drawing.add_subplot()
    rows = np.arange(len(methods))[::-1]
    values = methods["map"].to_numpy(float)
    spread = np.stack([values - methods["low"], methods["high"] - values]).clip(0)
    axes.barh(rows, values, xerr=spread, color=BLUE, height=0.68, ecolor=BLACK, capsize=3)
    for row, value, high in zip(rows, values, np.fmax(methods["high"], values), strict=True):
        axes.text(high + 0.01, row, number(value), va="center", fontsize=8.5, color=INK)
    axes.set_yticks(rows, [plain(name) for name in methods["method"]])
    axes.set_xlim(0, min(1.08, 1.18 * float(np.nanmax(np.fmax(methods["high"], values)))) or 1)
    tidy(axes, x="mAP", grid="x")
    return to_png(drawing)


def _gallery(examples: Sequence[LabelledCells]) -> Block:
    if not examples:
        return Note("No examples were asked for.")
    tiles = []
    for example in examples:
        colours = {cell: RIGHT if right else WRONG for cell, right in example.is_right.items()}
        picture = draw_cells(example.picture, example.cells, None, colours, example.predicted, LONGEST)
        lines = [("Image label", ", ".join(example.labels))] if example.labels else []
        if example.is_right:
            lines.append(
                ("Likeliest class right", f"{sum(example.is_right.values())} of {len(example.is_right)} cells")
            )
        tiles.append(Tile(encode(picture, LONGEST), example.image_id, lines))
    caption = (
        "Each cell with its likeliest classes and their confidence. Where the truth is known, green outlines mean that "
        "the likeliest class is true of the cell, orange ones that it is not; otherwise outlines are white."
    )
    return Gallery("Cells", tiles, caption, tile_width=LONGEST // 2 + 130)


def _steps(steps: Mapping[str, float]) -> Table:
    frame = pd.DataFrame({"Step": list(steps), "Time": [duration(seconds) for seconds in steps.values()]})
    return Table("Time of each step", frame, "Steps that stood from an earlier call take no time.", ("Time",))
