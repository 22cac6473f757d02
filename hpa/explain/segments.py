"""Segments: the parts of an image that perturbation methods hide as one; superpixels or cells."""

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from skimage.segmentation import slic

from hpa.arrays import Bool, Float, Int64, Integer, UInt8
from hpa.explain.perturbation_config import CellSegments, SegmentsConfig, SuperpixelSegments, WholeImageSegment

AnyPixels: TypeAlias = UInt8[np.ndarray, "channels height width"] | Float[np.ndarray, "channels height width"]
Labels: TypeAlias = Integer[np.ndarray, "rows columns"]
Numbers: TypeAlias = Int64[np.ndarray, "height width"]


@dataclass(frozen=True)
class Segments:
    """The segments of one image.

    Attributes:
        numbers: number of each pixel's segment, 0 to the number of segments - 1, every one of them in use; -1 where a
            pixel belongs to none and is never hidden.
        cell_ids: of each segment, the cell's number in the label map; 0 for what is no cell.
    """

    numbers: Numbers
    cell_ids: Int64[np.ndarray, " segments"]

    def __len__(self) -> int:
        return len(self.cell_ids)

    @property
    def sizes(self) -> Int64[np.ndarray, " segments"]:
        """Pixels of each segment."""
        return np.bincount(self.numbers.ravel() + 1, minlength=len(self) + 1)[1:].astype(np.int64)


def build_segments(config: SegmentsConfig, image: AnyPixels, cell_map: Labels | None = None) -> Segments:
    """The segments of an image.

    Args:
        config: which.
        image: pixels in [0, 255].
        cell_map: for `cells`, the label map of the same field, of any size.

    Raises:
        ValueError: the label map is missing or nothing of it can be hidden.
    """
    match config:
        case SuperpixelSegments():
            return superpixels(image, config)
        case CellSegments():
            if cell_map is None:
                raise ValueError(
                    "segments.kind=cells needs the cells' label maps, but none was given; run `hpa segment_cells` and "
                    "give its output, or choose segments.kind=superpixels"
                )
            return cell_segments(cell_map, image, config)
        case WholeImageSegment():
            return Segments(np.zeros(image.shape[1:], np.int64), np.zeros(1, np.int64))


def superpixels(
    image: AnyPixels, config: SuperpixelSegments, where: Bool[np.ndarray, "height width"] | None = None
) -> Segments:
    """SLIC on all channels (Achanta et al. 2012), by scikit-image; the same image gives the same superpixels.

    Args:
        image: pixels in [0, 255], any number of channels: distances are between the raw values, not Lab colours.
        config: how many.
        where: the part of the image to be cut, everything by default; the rest belongs to no segment.
    """
    if where is not None and not where.any():
        return Segments(np.full(image.shape[1:], -1, np.int64), np.zeros(0, np.int64))
    labels = slic(
        np.moveaxis(np.asarray(image, np.float32) / 255, 0, -1),
        n_segments=config.count,
        compactness=config.compactness,
        sigma=config.sigma,
        convert2lab=False,
        channel_axis=-1,
        start_label=1,
        mask=where,
    )
    return _consecutive(labels, np.zeros(int(labels.max()) + 1, np.int64))


def cell_segments(cell_map: Labels, image: AnyPixels, config: CellSegments) -> Segments:
    """One segment per cell, and the background as the configuration says.

    Args:
        cell_map: 0 is background; brought to the image's size by its nearest numbers. A cell that no pixel of the
            image meets has no segment.
        image: for its size, and to cut the background along its structure.
        config: what becomes of the background.

    Raises:
        ValueError: there is no cell, and the background is kept: nothing could be hidden.
    """
    height, width = image.shape[1:]
    # A float64 holds every number of an integer map, which OpenCV resizes only in a few types.
    cells = cv2.resize(cell_map.astype(np.float64), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    cells = cells.astype(np.int64)
    cell_ids, places = np.unique(cells, return_inverse=True)
    numbers = places.reshape(cells.shape) + 1
    background = cells == 0
    match config.background:
        case "one":
            pass
        case "kept":
            if background.all():
                raise ValueError(
                    "the label map has no cell and the background is kept, so that nothing can be hidden; choose "
                    "background=one or background=superpixels"
                )
            numbers[background] = 0
        case "superpixels":
            pieces = superpixels(image, config.superpixels, background)
            numbers[background] = len(cell_ids) + 1 + pieces.numbers[background]
            cell_ids = np.append(cell_ids, np.zeros(len(pieces), np.int64))
    return _consecutive(numbers, np.append(0, cell_ids))


def that_change(segments: Segments, changed: Bool[np.ndarray, "height width"]) -> Segments:
    """The segments that hiding changes; the others can have no effect, and would only draw chance values.

    Args:
        segments: of one image.
        changed: pixels that look otherwise when they are hidden. Where there are none at all, nothing is left out.

    >>> found = that_change(Segments(np.array([[0, 1, 2]]), np.array([7, 8, 9])), np.array([[True, False, True]]))
    >>> found.numbers.tolist(), found.cell_ids.tolist()
    ([[0, -1, 1]], [7, 9])
    """
    kept = np.unique(segments.numbers[changed & (segments.numbers >= 0)])
    if len(kept) == 0:
        return segments
    places = np.full(len(segments) + 1, -1, np.int64)  # the last one is that of -1
    places[kept] = np.arange(len(kept))
    return Segments(places[segments.numbers], segments.cell_ids[kept])


def _consecutive(labels: Integer[np.ndarray, "height width"], cell_ids: Int64[np.ndarray, " labels"]) -> Segments:
    """Segments of labels from 1 on that may have gaps; 0 is no segment. `cell_ids` has an entry for every label."""
    used, places = np.unique(labels, return_inverse=True)
    numbers = places.reshape(labels.shape).astype(np.int64)
    if used[0] == 0:
        used, numbers = used[1:], numbers - 1
    return Segments(numbers, cell_ids[used])
