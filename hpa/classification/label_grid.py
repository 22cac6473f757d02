"""Label maps at a network's scale: as square as its images, and on a coarser grid that misses no cell."""

from typing import TypeAlias

import numpy as np

from hpa.arrays import Int64, LabelMap, UInt16
from hpa.images import Fit

SquareMap: TypeAlias = UInt16[np.ndarray, "square_height square_width"]


def square_label_map(cell_map: LabelMap, fit: Fit) -> SquareMap:
    """The part of a label map that a square image shows, at the label map's own scale; see `hpa.images.resize`.

    >>> square_label_map(np.array([[1, 2, 3, 4]], np.uint16), "pad").tolist()
    [[0, 0, 0, 0], [1, 2, 3, 4], [0, 0, 0, 0], [0, 0, 0, 0]]
    """
    height, width = cell_map.shape
    match fit:
        case "stretch":
            return cell_map
        case "pad":
            side = max(height, width)
            top, left = (side - height) // 2, (side - width) // 2
            return np.pad(cell_map, ((top, side - height - top), (left, side - width - left)))
        case "crop":
            side = min(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            return cell_map[top : top + side, left : left + side]


def shrink_label_map(cell_map: SquareMap, size: int) -> UInt16[np.ndarray, "size size"]:
    """A label map at another size: the number at the middle of each new pixel; small cells may be lost."""
    rows, columns = (((np.arange(size) + 0.5) * side / size).astype(np.int64) for side in cell_map.shape)
    shrunk: LabelMap = cell_map[rows[:, None], columns]
    return shrunk


def grid_points(
    cell_map: SquareMap, resolution: int
) -> tuple[Int64[np.ndarray, " cells"], Int64[np.ndarray, " points"], Int64[np.ndarray, " points"]]:
    """Which points of a square grid over a label map lie in which cell; no cell is without one.

    Args:
        cell_map: 0 is background.
        resolution: side of the grid.

    Returns:
        The cell numbers in rising order; per point the row of its cell in them, rising; per point its flat position in
        the grid. A cell that the grid misses has the point nearest to the middle one of its pixels, which may be
        another cell's too.
    """
    grid = shrink_label_map(cell_map, resolution).ravel()
    present = np.bincount(cell_map.ravel(), minlength=1) > 0
    present[0] = False
    cell_ids = np.flatnonzero(present)
    places = np.flatnonzero(grid)
    numbers = grid[places].astype(np.int64)
    lost = cell_ids[np.bincount(numbers, minlength=len(present))[cell_ids] == 0]
    for cell_id in lost:  # rare: cells narrower than a few pixels of the full map
        rows, columns = np.nonzero(cell_map == cell_id)
        middle = len(rows) // 2
        row, column = rows[middle] * resolution // cell_map.shape[0], columns[middle] * resolution // cell_map.shape[1]
        places = np.append(places, row * resolution + column)
        numbers = np.append(numbers, cell_id)
    order = np.argsort(numbers, kind="stable")
    return cell_ids, np.searchsorted(cell_ids, numbers[order]), places[order]
