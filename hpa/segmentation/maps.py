"""What every segmenter gives: probability maps of a network, and label maps of nuclei and cells with shared numbers."""

from dataclasses import dataclass

import numpy as np

from hpa.arrays import LabelMap, UInt8

BACKGROUND, BORDER, OBJECT = range(3)
"""Planes of a probability map: background, border between touching objects, object (as hpacellseg numbers them)."""


@dataclass(frozen=True)
class ProbabilityMaps:
    """What a network thinks of every pixel, possibly at a lower resolution than the image.

    Attributes:
        nuclei: probability × 255 of BACKGROUND, BORDER and OBJECT.
        cells: the same for whole cells; None from a network that knows nuclei only.
        height: of the image that the maps belong to, pixels.
        width: of that image, pixels.
    """

    nuclei: UInt8[np.ndarray, "3 map_height map_width"]
    cells: UInt8[np.ndarray, "3 map_height map_width"] | None
    height: int
    width: int


@dataclass(frozen=True)
class CellMaps:
    """Instances in one image, at its full size.

    Attributes:
        cells: cell numbers from 1 without gaps, 0 is background.
        nuclei: the same numbers, in the nuclei only; a cell without a nucleus has none.
    """

    cells: LabelMap
    nuclei: LabelMap
