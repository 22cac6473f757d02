"""Connected regions and label maps: numbering, sharing out, filling, scaling; fast enough for whole fields of view."""

import cv2
import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from hpa.arrays import Bool, Int, Integer, LabelMap, Mask, Plane, UInt16

MAX_INSTANCES = 65535
"""Most instances in one image: the largest number that a label map holds."""

_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


def components(mask: Mask, min_area: float = 0, connectivity: int = 4) -> LabelMap:
    """Number the connected regions of a mask from 1 in scan order, small ones left out.

    Args:
        mask: foreground.
        min_area: regions of fewer pixels are background.
        connectivity: 4 or 8 neighbours.

    Raises:
        ValueError: more than 65535 regions.
    """
    regions = connected(mask, connectivity)
    return keep(regions, region_areas(regions) >= min_area)


def connected(mask: Mask, connectivity: int = 4) -> Integer[np.ndarray, "height width"]:
    """Number the connected regions of a mask from 1 in scan order, however many: uint16 where they fit, else int32."""
    count, regions = cv2.connectedComponents(mask.view(np.uint8), None, connectivity, cv2.CV_32S)
    return regions if count > MAX_INSTANCES + 1 else regions.astype(np.uint16)


def keep(regions: Integer[np.ndarray, "height width"], kept: np.ndarray) -> LabelMap:
    """Leave out regions and number the others from 1 without gaps, in the same order.

    Args:
        regions: numbers below len(kept); number 0 is background.
        kept: one bool for every number.

    Raises:
        ValueError: more than 65535 are kept.

    >>> keep(np.array([[1, 2, 3]], np.uint16), np.array([True, False, True, True])).tolist()
    [[0, 1, 2]]
    """
    kept = kept.copy()
    kept[0] = False
    count = int(kept.sum())
    if count > MAX_INSTANCES:
        raise ValueError(f"expected at most {MAX_INSTANCES} instances in an image, but got {count}")
    if count == len(kept) - 1:
        return regions.astype(np.uint16, copy=False)
    return renumber(regions, np.where(kept, np.cumsum(kept), 0))


def renumber(regions: Integer[np.ndarray, "height width"], numbers: np.ndarray) -> LabelMap:
    """Replace every number by `numbers[number]`."""
    replaced: LabelMap = np.take(numbers.astype(np.uint16), regions)
    return replaced


def region_areas(regions: Integer[np.ndarray, "height width"]) -> Int[np.ndarray, " count"]:
    """Pixels of every number from 0 to the highest."""
    count = int(regions.max(initial=0)) + 1
    if regions.dtype != np.uint16 or not regions.size:
        return np.bincount(regions.ravel(), minlength=count)
    # Counts are float32 in OpenCV, exact up to the 2^24 pixels of the largest image; far quicker than bincount.
    counts = cv2.calcHist([regions], [0], None, [count], [0, count])
    return np.asarray(counts.ravel().astype(np.int64))


def present(regions: Integer[np.ndarray, "height width"], where: Mask) -> Bool[np.ndarray, " count"]:
    """Which numbers, from 0 to the highest, have a pixel in a mask."""
    found = np.zeros(int(regions.max(initial=0)) + 1, bool)
    found[regions[where]] = True
    return found


def pairs(
    first: Integer[np.ndarray, "height width"], second: Integer[np.ndarray, "height width"]
) -> Int[np.ndarray, "pairs 2"]:
    """Every two regions (numbers above 0) of two maps that share a pixel, sorted."""
    narrow = first.dtype == second.dtype == np.uint16
    bits, wide = (16, np.dtype(np.uint32)) if narrow else (32, np.dtype(np.int64))
    key = np.left_shift(first.astype(wide).ravel(), bits, dtype=wide) | second.astype(wide).ravel()
    # Pixels of one pair come in runs, of which there are few: only their starts are sorted.
    is_start = np.concatenate([[True], key[1:] != key[:-1]])[: len(key)]
    distinct = np.unique(key[is_start]).astype(np.int64)
    both = np.stack([distinct >> bits, distinct & ((1 << bits) - 1)], axis=1)
    return both[(both > 0).all(axis=1)]


def share_out(mask: Mask, seeds: LabelMap, height: Plane, step: int = 1) -> LabelMap:
    """Give every region of a mask to the seeds inside it: a watershed, run only where two seeds share a region.

    Args:
        mask: what is given out.
        seeds: numbers; those outside the mask do not count.
        height: where two seeds share a region, pixels of large values are given out first.
        step: regions with several seeds are flooded on every `step`-th pixel only.

    Returns:
        The numbers of the seeds; regions without a seed are background.
    """
    regions = connected(mask)
    meetings = pairs(regions, seeds)
    owners = np.zeros(int(regions.max()) + 1, np.uint16)
    owners[meetings[:, 0]] = meetings[:, 1]
    numbers, counts = np.unique(meetings[:, 0], return_counts=True)
    contested = numbers[counts > 1]
    result = renumber(regions, owners)
    boxes = ndimage.find_objects(regions) if len(contested) else []
    for number in contested:
        box = boxes[number - 1]
        inside = regions[box] == number
        flooded = flood(inside, np.where(inside, seeds[box], 0).astype(np.uint16), height[box], step)
        np.copyto(result[box], flooded, where=inside)
    return result


def flood(mask: Mask, seeds: LabelMap, height: Plane, step: int = 1) -> LabelMap:
    """Watershed from seeds over a mask, from high to low.

    With a step above 1 it runs on every `step`-th pixel and each pixel then takes the nearest number; it falls back to
    all pixels where a seed would be lost.
    """
    if step > 1:
        coarse = np.ascontiguousarray(seeds[::step, ::step])
        if len(np.unique(coarse)) == len(np.unique(seeds)):
            low = flood(np.ascontiguousarray(mask[::step, ::step]), coarse, height[::step, ::step])
            spread = np.zeros_like(seeds)
            spread[::step, ::step] = low
            return np.where(mask, np.where(seeds > 0, seeds, nearest(spread)), 0).astype(np.uint16)
    flooded: np.ndarray = watershed(~height, seeds, mask=mask)  # type: ignore[no-untyped-call]
    return flooded.astype(np.uint16)


def nearest(labels: LabelMap, apart: bool = False) -> LabelMap:
    """Every pixel gets the number that is nearest to it; an empty map stays empty.

    Args:
        labels: numbers, 0 where there is none.
        apart: no two numbers touch, not even at a corner; this makes it quicker.
    """
    if not labels.any():
        return labels
    kind = cv2.DIST_LABEL_CCOMP if apart else cv2.DIST_LABEL_PIXEL
    _, index = cv2.distanceTransformWithLabels((labels == 0).view(np.uint8), cv2.DIST_L2, 5, labelType=kind)
    numbers = np.zeros(int(index.max()) + 1, np.uint16)
    if apart:
        index = index.astype(np.uint16) if len(numbers) <= MAX_INSTANCES else index
        meetings = pairs(index, labels)
        numbers[meetings[:, 0]] = meetings[:, 1]
    else:
        there = labels > 0
        numbers[index[there]] = labels[there]
    return renumber(index, numbers)


def shrink(labels: LabelMap) -> LabelMap:
    """Take away every pixel with a neighbour (of four) of another number, so that no two regions touch."""
    edge = cv2.erode(labels, _CROSS) != cv2.dilate(labels, _CROSS)
    return np.where(edge, 0, labels).astype(np.uint16)


def fill_holes(mask: Mask) -> Mask:
    """Fill background that is not connected (by four neighbours) with the outside of the image."""
    framed = cv2.copyMakeBorder(mask.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    cv2.floodFill(framed, None, (0, 0), 2)
    return np.asarray(framed[1:-1, 1:-1] != 2)


def close(mask: Mask, radius: float) -> Mask:
    """Morphological closing with a disk, radius in pixels: fills gaps and notches narrower than it."""
    reach = int(radius)
    if reach < 1:
        return mask
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = (rows**2 + columns**2 <= radius**2).astype(np.uint8)
    return cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_CLOSE, disk).view(bool)


def enlarge(labels: LabelMap, height: int, width: int) -> UInt16[np.ndarray, "new_height new_width"]:
    """Bring a label map to a larger size, staircases smoothed; no number appears that was not there."""
    if labels.shape == (height, width):
        return labels
    resized: np.ndarray = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    # The median of labels is one of them, and within two cells' border the one with more pixels.
    smoothed: np.ndarray = cv2.medianBlur(resized, 5)
    return smoothed
