"""The page about a segmentation: overlays to look at, and what was measured of the cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hpa.arrays import Composite, LabelMap
from hpa.report.canvas import new_drawing, tidy, to_png
from hpa.report.formats import count_of, number, percent
from hpa.report.gallery import encode
from hpa.report.overlays import FLAGGED, draw_cells
from hpa.report.page import Block, Card, Cards, Facts, Figure, Gallery, Note, Page, Section, Table, Tile, write_page

FLAGS = {
    "is_small": "much smaller than the others",
    "is_large": "much larger than the others",
    "is_blurred": "out of focus",
    "is_without_nucleus": "without a nucleus",
}
"""Columns of the cell table that mark unusual cells, in words."""

LONGEST = 560
"""Longest side of an overlay on the page, pixels."""


@dataclass(frozen=True, eq=False)
class SegmentedExample:
    """An image with its cells.

    Attributes:
        image_id: shown below the picture.
        picture: RGB.
        cells: cell numbers.
        nuclei: the same numbers in the nuclei.
        flagged: cells drawn in another colour, with what is unusual about each.
    """

    image_id: str
    picture: Composite
    cells: LabelMap
    nuclei: LabelMap
    flagged: Mapping[int, Sequence[str]]


def segmentation_report(
    path: Path,
    cells: pd.DataFrame,
    images: pd.DataFrame,
    examples: Sequence[SegmentedExample],
    summary: Mapping[str, str],
    warnings: Sequence[str] = (),
) -> Path:
    """Write the page and its figures.

    Args:
        path: of the HTML file; figures go to `figures/` beside it too.
        cells: the cell table: image_id, cell_id, area, nucleus_area, touches_border and any of FLAGS.
        images: image_id, height, width and `cells`, the number of cells in each.
        examples: drawn with outlines.
        summary: name and value of settings worth knowing.
        warnings: shown on top.
    """
    page = Page(
        title="Cells",
        subtitle=f"{count_of(len(cells), 'cell')} in {count_of(len(images), 'image')}",
        warnings=warnings,
        sections=[
            Section("At a glance", [_cards(cells, images)]),
            Section("Examples", [_gallery(examples)]),
            Section("Cells per image and their sizes", _sizes(cells, images)),
            Section("Unusual cells", _unusual(cells)),
            Section("How this was made", [Facts(summary)]),
        ],
    )
    return write_page(path, page, path.parent / "figures")


def _cards(cells: pd.DataFrame, images: pd.DataFrame) -> Cards:
    per_image = images["cells"]
    empty = int((per_image == 0).sum())
    at_border = float(cells["touches_border"].mean()) if len(cells) else float("nan")
    return Cards(
        [
            Card("Cells", f"{len(cells):,}", f"in {count_of(len(images), 'image')}"),
            Card(
                "Cells per image",
                number(float(per_image.median()), 2) if len(images) else "–",
                f"median; {int(per_image.min())} to {int(per_image.max())}" if len(images) else "",
            ),
            Card("At the image's edge", percent(at_border), "of all cells, part of them unseen"),
            Card("Images without cells", f"{empty:,}", "look at these first" if empty else "none"),
        ]
    )


def _gallery(examples: Sequence[SegmentedExample]) -> Block:
    if not examples:
        return Note("No examples were asked for.")
    tiles = []
    for example in examples:
        picture = draw_cells(
            example.picture,
            example.cells,
            example.nuclei,
            dict.fromkeys(example.flagged, FLAGGED),
            {cell: str(cell) for cell in np.unique(example.cells)[1:].tolist()},
            LONGEST,
        )
        unusual = [f"{cell}: {', '.join(why)}" for cell, why in example.flagged.items()]
        found = count_of(int(np.unique(example.cells[example.cells > 0]).size), "cell")
        lines = [("Found", found), *([("Unusual", "; ".join(unusual))] if unusual else [])]
        tiles.append(Tile(encode(picture, LONGEST), example.image_id, lines))
    caption = (
        "Cell outlines in white, nuclei in light blue, unusual cells in orange; the numbers are the cells' IDs in the "
        "label maps and tables."
    )
    return Gallery("Outlines", tiles, caption, tile_width=LONGEST // 2 + 120)


def _sizes(cells: pd.DataFrame, images: pd.DataFrame) -> list[Block]:
    if not len(cells):
        return [Note("No cells were found.")]
    drawing = new_drawing(height=3.2)
    left, right = drawing.subplots(1, 2)
    left.hist(images["cells"], bins=min(30, max(1, int(images["cells"].max()))), color="#4c72b0")
    tidy(left, x="cells in an image", y="images")
    whole = cells[~cells["touches_border"].astype(bool)]
    # Areas spread over two decades: a log scale shows the small ones too.
    edges = np.geomspace(max(1, cells["area"].min()), max(2, cells["area"].max()), 40)
    for part, colour, name in ((whole, "#4c72b0", "inside"), (cells, "#bbbbbb", "all, with those at the edge")):
        right.hist(part["area"], bins=edges, histtype="step", linewidth=1.6, color=colour, label=name)
    right.set_xscale("log")
    right.legend(frameon=False, fontsize=8)
    tidy(right, x="area of a cell, pixels", y="cells")
    caption = (
        "Left: how many cells the images hold. Right: their areas; cells that the image's edge cuts are smaller. A "
        "second hump at small areas means fragments, one at large areas cells that were not told apart."
    )
    return [Figure("sizes", to_png(drawing), "Numbers and areas", caption)]


def _unusual(cells: pd.DataFrame) -> list[Block]:
    rows = [
        {"What": words, "Cells": f"{int(cells[flag].sum()):,}", "Share": percent(float(cells[flag].mean()))}
        for flag, words in FLAGS.items()
        if flag in cells and len(cells)
    ]
    if not rows:
        return [Note("Nothing was measured that could mark a cell as unusual.")]
    caption = "Sizes are compared with the other cells of the image; nothing is left out because of it."
    return [Table("Marks in the cell table", pd.DataFrame(rows), caption, ("Cells", "Share"))]
