"""Nuclei by classical means: how large they are in an image, and which pixels belong to which."""

from typing import Annotated, TypeAlias

import cv2
import numpy as np
import pydantic
from scipy import ndimage
from skimage.morphology import reconstruction

from hpa.arrays import FloatPlane, LabelMap, Mask, Plane, UInt16
from hpa.config import Config
from hpa.segmentation import regions

Share = Annotated[float, pydantic.Field(ge=0, le=1)]

Boxes: TypeAlias = list[tuple[slice, slice]]

_MOST_JOINED = 3.0
_ESTIMATION_SIDE = 1280
_LEAST_RADIUS, _SCALE_STEP = 3.0, 1.25
_STRONG, _STRONG_SHARE = 11, 0.4
_WORKING_RADIUS = 24.0


class NucleiConfig(Config):
    """How nuclei are found; every length follows the nucleus radius.

    Attributes:
        threshold: a nucleus is brighter than the background by this part of what Otsu's threshold is brighter.
        edge: where a nucleus ends, between its surroundings (0) and its own brightness (1).
        merge: two bright spots are one nucleus where the dip between them is shallower than this.
        convex: two neighbours are one nucleus where together they fill at least this part of their convex hull.
        min_area: smaller objects are dropped, as a part of a disk of the nucleus radius.
    """

    threshold: Share = 0.65
    edge: Share = 0.5
    merge: Annotated[float, pydantic.Field(gt=0)] = 0.06
    convex: Share = 0.95
    min_area: Share = 0.15


def estimate_radius(plane: Plane, bounds: tuple[float, float] | None = None) -> float:
    """Typical radius of the nuclei in an image of unknown magnification, pixels.

    Bright blobs are maxima of the scale-normalised Laplacian of Gaussian over space and scale (Lindeberg, Feature
    detection with automatic scale selection, 1998), here as differences of Gaussians; a disk of radius r answers most
    at a deviation of r / √2. The estimate is the median radius of the strong blobs.

    Args:
        plane: nuclei, bright on dark.
        bounds: smallest and largest radius that is possible, pixels; None for 3 to 1/12 of the shorter side.
    """
    reduction = min(1.0, _ESTIMATION_SIDE / max(plane.shape))
    bright = np.sqrt(blur(_scaled(plane, reduction), 1.0))
    height, width = bright.shape
    least, most = bounds or (_LEAST_RADIUS / reduction, max(12.0, min(plane.shape) / 12))
    steps = int(np.log(max(most / least, 1)) / np.log(_SCALE_STEP)) + 1
    noise = 0.0
    best = np.zeros(bright.shape, np.float32)
    best_radius = np.full(bright.shape, least, np.float32)
    for radius in least * _SCALE_STEP ** np.arange(steps):
        deviation = radius * reduction / np.sqrt(2)
        shrink = min(1.0, 4 / deviation)  # a blurred plane needs no more pixels
        reduced = _scaled(bright, shrink)
        answer = blur(reduced, deviation * shrink) - blur(reduced, deviation * shrink * 1.26)
        answer = cv2.resize(answer, (width, height), interpolation=cv2.INTER_LINEAR)
        if radius == least:
            noise = 1.4826 * float(np.median(np.abs(answer)))
        best_radius[answer > best] = radius
        best = np.maximum(best, answer)
    window = np.ones((7, 7), np.uint8)
    rows, columns = np.nonzero((best == cv2.dilate(best, window)) & (best > 0))
    if not len(rows):
        return float(least)
    strength, radii = best[rows, columns], best_radius[rows, columns]
    # Noise makes many weak blobs, weaker the larger they are; debris makes few strong ones.
    reference = np.sort(strength)[::-1][min(_STRONG, len(strength)) - 1]
    strong = (strength >= _STRONG_SHARE * reference) & (strength > 4 * noise * least / radii)
    strong |= strength == strength.max()
    strength, radii = strength[strong], radii[strong]
    order = np.argsort(radii)
    weight = np.cumsum((strength * np.sqrt(radii))[order])
    return float(radii[order][np.searchsorted(weight, weight[-1] / 2)])


def label_nuclei(plane: Plane, radius: float, config: NucleiConfig | None = None) -> LabelMap:
    """Number the nuclei of an image from 1.

    Args:
        plane: nuclei, bright on dark.
        radius: typical radius of a nucleus, pixels.
        config: thresholds.
    """
    config = config or NucleiConfig()
    zoom = min(1.0, _WORKING_RADIUS / radius)
    radius = radius * zoom
    # Square roots make the noise of photon counts even, and bring dim nuclei nearer to bright ones.
    bright = blur(np.sqrt(_scaled(plane, zoom)), radius * 0.08)
    otsu = otsu_threshold(bright)
    is_dark = bright <= otsu
    background = float(np.median(bright[is_dark]))
    noise = 1.4826 * float(np.median(np.abs(bright[is_dark] - background)))
    least = background + max(config.threshold * (otsu - background), 3 * noise)
    mask = _smooth_mask((bright > least) & (bright > blur(bright, 3 * radius)), radius)
    if not mask.any():
        return np.zeros(plane.shape, np.uint16)
    spots = _spots(bright, mask, background, max(otsu - background, 1e-3), radius)
    crests: FloatPlane = spots - reconstruction(spots - config.merge, spots)  # type: ignore[no-untyped-call]
    labels = regions.share_out(mask, regions.components((crests > 0.999 * config.merge) & mask), as_bytes(spots))
    labels = _rejoin(labels, config.convex, _MOST_JOINED * np.pi * radius**2)
    labels = _trim(labels, bright, otsu, radius, config.edge)
    labels = regions.keep(labels, regions.region_areas(labels) >= config.min_area * np.pi * radius**2)
    return regions.enlarge(labels, *plane.shape)


def otsu_threshold(values: FloatPlane) -> float:
    """Otsu's threshold over 256 steps between the lowest and the highest value."""
    lowest, highest = float(values.min()), float(values.max())
    step, _ = cv2.threshold(as_bytes(values), 0, 255, cv2.THRESH_OTSU)
    return lowest + step / 255 * (highest - lowest)


def blur(values: FloatPlane, deviation: float) -> FloatPlane:
    """Gaussian blur; deviation in pixels, below 0.3 nothing happens."""
    return cv2.GaussianBlur(values, (0, 0), deviation) if deviation > 0.3 else values


def _scaled(plane: np.ndarray, factor: float) -> FloatPlane:
    height, width = (max(1, round(side * factor)) for side in plane.shape)
    if (height, width) == plane.shape:
        return plane.astype(np.float32)
    return cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)


def _smooth_mask(mask: Mask, radius: float) -> Mask:
    """Even out the outline, fill holes, and cut threads and specks."""
    even = regions.fill_holes(blur(mask.astype(np.float32), radius * 0.12) > 0.5)
    side = 2 * max(1, int(radius * 0.25)) + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.morphologyEx(even.view(np.uint8), cv2.MORPH_OPEN, disk).view(bool)


def _spots(bright: FloatPlane, mask: Mask, background: float, contrast: float, radius: float) -> FloatPlane:
    """A landscape with one hill per nucleus: deep inside the mask, and brighter than its surroundings.

    Depth alone does not part nuclei that overlap widely, and brightness alone breaks those with bright texture.
    """
    framed = cv2.copyMakeBorder(mask.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)  # cut nuclei go on outside
    depth = blur(cv2.distanceTransform(framed, cv2.DIST_L2, 5)[1:-1, 1:-1], radius * 0.12) / radius
    light = (blur(bright, radius * 0.33) - background) / contrast
    surroundings = np.maximum(blur(light, radius * 2), 0.3)
    return np.asarray(np.minimum(depth, 1.2) + 0.75 * light / surroundings, np.float32)


def _rejoin(labels: LabelMap, convex: float, most: float) -> LabelMap:
    """Join neighbours that are convex together, up to an area: texture had parted them, as two nuclei leave a notch."""
    merged = labels.copy()
    boxes = ndimage.find_objects(merged)
    candidates = sorted(((_solidity(merged, boxes, pair)[0], pair) for pair in _neighbours(labels)), reverse=True)
    owner = list(range(len(boxes) + 1))
    for _, (first, second) in candidates:
        keep, gone = _root(owner, first), _root(owner, second)
        if keep == gone:
            continue
        solidity, area = _solidity(merged, boxes, (keep, gone))
        if solidity < convex or area > most:
            continue
        merged[boxes[gone - 1]][merged[boxes[gone - 1]] == gone] = keep
        boxes[keep - 1] = _around(boxes, (keep, gone))
        owner[gone] = keep
    return merged


def _root(owner: list[int], number: int) -> int:
    """The number that a joined region has now."""
    while owner[number] != number:
        number = owner[number]
    return number


def _neighbours(labels: LabelMap) -> list[tuple[int, int]]:
    """Pairs of numbers that share an edge, the lower first."""
    found = [
        regions.pairs(np.where(one != other, one, 0), other)
        for one, other in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1]))
    ]
    return sorted({(min(pair), max(pair)) for pairs in found for pair in pairs.tolist()})


def _around(boxes: Boxes, pair: tuple[int, int]) -> tuple[slice, slice]:
    """The box around two boxes."""
    (top, left), (other_top, other_left) = (boxes[number - 1] for number in pair)
    return (
        slice(min(top.start, other_top.start), max(top.stop, other_top.stop)),
        slice(min(left.start, other_left.start), max(left.stop, other_left.stop)),
    )


def _solidity(labels: LabelMap, boxes: Boxes, pair: tuple[int, int]) -> tuple[float, int]:
    """Two regions' part of their common convex hull, and their pixels."""
    crop = labels[_around(boxes, pair)]
    both = np.isin(crop, pair)
    area = int(both.sum())
    points = cv2.findNonZero(both.view(np.uint8))
    # Corners of pixels, not their centres, so that a small square is convex too.
    corners = np.concatenate([points + np.array(offset) for offset in ((0, 0), (0, 1), (1, 0), (1, 1))])
    hull = cv2.contourArea(cv2.convexHull(corners.astype(np.int32)))
    return area / hull, area


def _trim(labels: LabelMap, bright: FloatPlane, otsu: float, radius: float, edge: float) -> LabelMap:
    """Cut each nucleus where it falls below a part of its own brightness: no one threshold fits dim and bright ones."""
    number = labels.ravel()
    count = int(number.max()) + 1
    pixels = np.maximum(np.bincount(number, minlength=count), 1)
    mean = np.bincount(number, bright.ravel(), count) / pixels
    side = 2 * max(1, int(radius * 1.2)) + 1
    around = np.minimum(cv2.erode(bright, cv2.getStructuringElement(cv2.MORPH_RECT, (side, side))), otsu)
    surroundings = np.bincount(number, around.ravel(), count) / pixels
    upper = bright.ravel() > mean[number]
    sums = np.bincount(number[upper], bright.ravel()[upper], count)
    top = sums / np.maximum(np.bincount(number[upper], minlength=count), 1)
    level = (surroundings + edge * (top - surroundings)).astype(np.float32)
    kept: UInt16[np.ndarray, "height width"] = np.where(bright > level[labels], labels, 0).astype(np.uint16)
    filled = regions.fill_holes(kept > 0)
    return np.where(filled, labels, 0).astype(np.uint16)


def as_bytes(values: FloatPlane) -> Plane:
    """Values spread over 0 to 255."""
    lowest, highest = float(values.min()), float(values.max())
    return ((values - lowest) * (255 / max(highest - lowest, 1e-6))).astype(np.uint8)
