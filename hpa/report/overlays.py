"""Cells drawn into their image: outlines, numbers and short texts at the cells' middles."""

from collections.abc import Mapping
from typing import TypeAlias

import cv2
import numpy as np
from scipy import ndimage

from hpa.arrays import Bool, Composite, UInt8, UInt16

Labels: TypeAlias = UInt16[np.ndarray, "_ _"]
"""A label map of any size: fitting to the picture changes it."""

CELL = (255, 255, 255)
NUCLEUS = (120, 200, 255)
FLAGGED = (255, 150, 40)
"""RGB colours of outlines: cells, nuclei, cells that something is wrong with."""


def draw_cells(
    picture: Composite,
    cells: Labels,
    nuclei: Labels | None = None,
    colours: Mapping[int, tuple[int, int, int]] | None = None,
    texts: Mapping[int, str] | None = None,
    longest: int = 640,
) -> UInt8[np.ndarray, "_ _ 3"]:
    """An RGB picture, its longest side `longest` pixels (at most, where nothing is written), with every cell's outline.

    Args:
        picture: RGB.
        cells: of the picture's size.
        nuclei: drawn too where given.
        colours: RGB of cells that are not drawn in CELL.
        texts: written at the middle of cells; a line break starts a new line.
        longest: of the result.

    Raises:
        ValueError: the label maps have another size than the picture.
    """
    for name, label_map in (("cells", cells), ("nuclei", nuclei)):
        if label_map is not None and label_map.shape != picture.shape[:2]:
            raise ValueError(f"expected {name} of size {picture.shape[:2]}, but got {label_map.shape}")
    scale = longest / max(picture.shape[:2])
    if not texts:
        scale = min(1.0, scale)  # small pictures are enlarged for the sake of words only
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    drawn = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if scale <= 1 else cv2.INTER_CUBIC)
    small = _shrink(cells, height, width)
    if nuclei is not None:
        drawn[boundaries(_shrink(nuclei, height, width))] = NUCLEUS
    edge = boundaries(small)
    palette = np.full((int(cells.max()) + 1, 3), CELL, dtype=np.uint8)
    for cell, colour in (colours or {}).items():
        if 0 < cell < len(palette):
            palette[cell] = colour
    # A line two pixels wide: each side of a boundary in its own cell's colour.
    drawn[edge] = palette[small[edge]]
    for cell, middle in _middles(small, texts or {}).items():
        _write(drawn, (texts or {})[cell], middle)
    return drawn


def boundaries(label_map: Labels) -> Bool[np.ndarray, "_ _"]:
    """Pixels of instances that touch another instance or the background, above, below, left or right."""
    inside = label_map > 0
    edge = np.zeros(label_map.shape, dtype=bool)
    down, right = label_map[1:] != label_map[:-1], label_map[:, 1:] != label_map[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= right
    edge[:, :-1] |= right
    return edge & inside


def _shrink(label_map: Labels, height: int, width: int) -> Labels:
    # Nearest, as any mean of two cell numbers would be a third cell's.
    return np.asarray(cv2.resize(label_map, (width, height), interpolation=cv2.INTER_NEAREST_EXACT))


def _middles(label_map: Labels, texts: Mapping[int, str]) -> dict[int, tuple[int, int]]:
    """Row and column of the middle of each cell that has a text and is visible."""
    boxes = ndimage.find_objects(label_map)
    found = {}
    for cell in texts:
        if 0 < cell <= len(boxes) and (box := boxes[cell - 1]) is not None:
            rows, columns = np.nonzero(label_map[box] == cell)
            found[cell] = (int(box[0].start + rows.mean()), int(box[1].start + columns.mean()))
    return found


def _write(drawn: np.ndarray, text: str, middle: tuple[int, int]) -> None:
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.42
    lines = text.splitlines()
    for number, line in enumerate(lines):
        # OpenCV's fonts have ASCII only; anything else would be drawn as question marks.
        line = line.encode("ascii", "replace").decode()
        (width, height), _ = cv2.getTextSize(line, font, size, 1)
        # Of cells at the picture's edge the text moves inwards, as far as it fits.
        left = max(0, min(middle[1] - width // 2, drawn.shape[1] - width))
        at = (left, middle[0] + round((number - (len(lines) - 1) / 2) * (height + 5)) + height // 2)
        cv2.putText(drawn, line, at, font, size, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(drawn, line, at, font, size, (255, 255, 255), 1, cv2.LINE_AA)
