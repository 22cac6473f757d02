"""Pictures of attribution maps: colour on the grey protein channel, with the outlines of cells."""

from collections.abc import Collection, Sequence
from typing import TypeAlias

import cv2
import numpy as np

from hpa.arrays import Float32, LabelMap, Pixels
from hpa.report.gallery import Picture, protein_channel
from hpa.report.overlays import boundaries

Map: TypeAlias = Float32[np.ndarray, "_ _"]

FOR, AGAINST = (255, 176, 0), (64, 156, 255)
"""RGB of places that speak for a class and against it; orange and blue, which colour-blind readers tell apart."""

SHOWS, OTHER = (90, 230, 130), (200, 200, 200)
"""RGB of the outlines of cells that show the class in truth, and of other cells."""

_DIM = 0.5  # of the picture below, so that colours stand out
_LINE = 0.75  # how much an outline covers


def map_picture(
    values: Map,
    below: Map,
    cells: LabelMap | None = None,
    shown: Collection[int] = (),
    longest: int = 300,
    white: float | int = 0.005,
) -> Picture:
    """A map as colour on a grey picture.

    Args:
        values: of the map; orange where positive, blue where negative, the stronger the greater.
        below: grey picture, 0 to 1, of the same size.
        cells: outlined where given.
        shown: numbers of the cells that show the class in truth.
        longest: side of the result, pixels; smaller maps are enlarged smoothly.
        white: part of the places that have the strongest colour.

    Returns:
        RGB.
    """
    height, width = _size(values.shape, longest)
    grey = cv2.resize(below, (width, height), interpolation=cv2.INTER_LINEAR)
    picture = np.repeat(np.clip(grey, 0, 1)[..., None] * (255 * _DIM), 3, axis=2)
    high = float(np.quantile(np.abs(values), 1 - white)) or float(np.abs(values).max())
    if high > 0:
        strength = np.clip(
            cv2.resize(values / np.float32(high), (width, height), interpolation=cv2.INTER_LINEAR), -1, 1
        )
        for colour, part in ((FOR, strength), (AGAINST, -strength)):
            cover = np.clip(part, 0, 1)[..., None]
            picture = picture * (1 - cover) + np.array(colour, np.float32) * cover
    drawn: Picture = np.clip(picture, 0, 255).astype(np.uint8)
    return drawn if cells is None else outline(drawn, cells, shown)


def outline(picture: Picture, cells: LabelMap, shown: Collection[int] = ()) -> Picture:
    """A picture with thin outlines of cells, green for those that show the class in truth.

    Args:
        picture: RGB of any size.
        cells: of the same field, at its own scale.
        shown: numbers of these cells.
    """
    height, width = picture.shape[:2]
    large = np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST_EXACT))
    edge = boundaries(large)
    is_shown = np.isin(large, np.array(sorted(shown), np.uint16))
    drawn = picture.astype(np.float32)
    for colour, where in ((OTHER, edge & ~is_shown), (SHOWS, edge & is_shown)):
        drawn[where] = drawn[where] * (1 - _LINE) + np.array(colour, np.float32) * _LINE
    return drawn.astype(np.uint8)


def grey_below(pixels: Pixels, channels: Sequence[str]) -> Map:
    """What a map is drawn on, 0 to 1: the protein's channel, or the mean of all; its brightest pixels are white."""
    protein = protein_channel(channels)
    plane = pixels[: len(channels)].mean(axis=0) if protein is None else pixels[protein]
    return brightened(np.asarray(plane, np.float32))


def brightened(plane: Map) -> Map:
    """A plane from 0 to 1, such that its brightest pixels (1 in 500) are 1."""
    white = max(float(np.quantile(plane, 0.998)), 1.0)
    return np.clip(plane / np.float32(white), 0, 1)


def channel_picture(plane: Map, longest: int = 300) -> Picture:
    """One channel as a grey picture."""
    height, width = _size(plane.shape, longest)
    grey = cv2.resize(brightened(plane), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.repeat((np.clip(grey, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)


def enlarged(picture: Picture, longest: int = 300) -> Picture:
    """A colour picture at the size of the maps."""
    height, width = _size(picture.shape[:2], longest)
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR))


def _size(shape: tuple[int, ...], longest: int) -> tuple[int, int]:
    factor = longest / max(shape)
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))
